import { Alert } from 'pf/Alert';
import { Card, CardBody, CardTitle } from 'pf/Card';
import { Label } from 'pf/Label';
import { PageSection } from 'pf/Page';
import { Gallery } from 'pf-layouts/Gallery';
import type { ReactNode } from 'react';
import type { Status } from '../api/types';
import { count, date, number, octets } from '../parts/format';
import { useQuery } from '../parts/query';
import { Records, type Column } from '../parts/records';
import { Link } from '../parts/router';
import { Loaded, PageHead, When } from '../parts/states';

interface Destination {
  destination: string;
  ready: number;
  deferred: number;
  delivering: number;
  held: number;
  connections: number;
  rests_until: string | null;
  error: string | null;
  suspended: boolean;
}
interface Certificate { id: string; kind: 'ca' | 'server'; subject: string; key_type: string; expires: string; days_left: number }

type Whole = Status & {
  queue: Destination[];
  tls: { incoming: 'off' | 'offered' | 'required'; certificates: Certificate[]; handshakes: number; failed_handshakes: number; messages: number; alarm: string | null };
};

const REFRESH_MS = 3000;
const SOON_DAYS = 30;
const DESTINATIONS = 20;

function Facts({ title, facts }: { title: string; facts: [string, ReactNode][] }) {
  return (
    <Card>
      <CardTitle component="h2">{title}</CardTitle>
      <CardBody>
        <dl className="pt-facts-grid">
          {facts.map(([term, value], i) => <div key={i} className="pt-facts-grid__row"><dt>{term}</dt><dd>{value}</dd></div>)}
        </dl>
      </CardBody>
    </Card>
  );
}

function Tile({ title, value, href }: { title: string; value: string; href?: string }) {
  return (
    <Card isCompact>
      <CardBody>
        <div className="pt-big">{value}</div>
        <div className="pt-muted">{href ? <Link href={href}>{title}</Link> : title}</div>
      </CardBody>
    </Card>
  );
}

function Health({ status }: { status: Whole }) {
  if (status.health === 'green') return <Alert isInline variant="success" title="All is well: mail comes in and goes out." />;
  return (
    <>
      {status.warnings.length === 0 && <Alert isInline variant={status.health === 'red' ? 'danger' : 'warning'} title={status.spool.fault ?? 'Something is wrong: see what is not listening below.'} />}
      {status.warnings.map((warning, i) => (
        <Alert key={i} isInline variant={status.health === 'red' ? 'danger' : 'warning'} title={warning.text}>{warning.remedy}</Alert>
      ))}
    </>
  );
}

const columns: Column<Destination>[] = [
  { title: 'Destination', kind: 'head', cell: (row) => row.destination },
  { title: 'Waiting', kind: 'number', cell: (row) => number(row.ready) },
  { title: 'Deferred', kind: 'number', cell: (row) => number(row.deferred) },
  { title: 'Delivering', kind: 'number', cell: (row) => number(row.delivering) },
  { title: 'Held', kind: 'number', cell: (row) => number(row.held) },
  { title: 'How it is', cell: (row) => (
    <>
      {row.suspended && <Label isCompact color="purple">suspended</Label>} {row.error}
      {row.rests_until && <span className="pt-records__sub">tried again <When at={row.rests_until} relative /></span>}
    </>
  ) },
];

function expiry(one: Certificate): ReactNode {
  const colour = one.days_left < 0 ? 'red' : one.days_left < SOON_DAYS ? 'orange' : 'green';
  return <><Label isCompact color={colour}>{one.days_left < 0 ? 'expired' : count(one.days_left, 'day left', 'days left')}</Label> {one.subject}, {one.key_type}, until {date(one.expires)}</>;
}

const tlsWords = { off: 'not offered', offered: 'offered', required: 'required' };

function Shown({ status }: { status: Whole }) {
  const used = status.spool.disk_size ? 1 - status.spool.disk_free / status.spool.disk_size : 0;
  const busy = [...status.queue].filter((one) => one.ready + one.deferred + one.delivering + one.held > 0 || one.error || one.suspended);
  return (
    <>
      <div className="pt-stack pt-gap-below"><Health status={status} /></div>
      <div className="pt-tiles">
        <Tile title="messages accepted" value={number(status.messages.accepted)} />
        <Tile title="recipients delivered" value={number(status.messages.delivered)} />
        <Tile title="in the queue" value={number(status.spool.messages)} href="/queue" />
        <Tile title="clients connected" value={number(status.sessions.now)} href="/live" />
      </div>
      <Gallery hasGutter minWidths={{ default: 'min(100%, 22rem)' }} className="pt-gap-below">
        <Facts title="Listening" facts={status.listeners.map((one) => [one.address,
          one.listening ? <Label key="l" isCompact color="green">open</Label> : <><Label isCompact color="red">closed</Label> {one.error}</>])} />
        <Facts title="Clients" facts={[
          ['Since the start', number(status.sessions.total)],
          ['At a time', status.sessions.limit === null ? `no limit (the system allows ${number(status.sessions.system_limit)})` : `at most ${number(status.sessions.limit)}`],
        ]} />
        <Facts title="Transport Layer Security" facts={[
          ['From clients', tlsWords[status.tls.incoming]],
          ['Handshakes', `${number(status.tls.handshakes)}, ${number(status.tls.failed_handshakes)} failed`],
          ...status.tls.certificates.map((one): [string, ReactNode] => [one.kind === 'ca' ? 'CA' : 'Certificate', expiry(one)]),
        ]} />
        <Facts title="This gateway" facts={[
          ['Version', status.version],
          ['Started', <When key="s" at={status.started} relative />],
          ['Settings', <Link key="r" href="/history">revision {number(status.revision)}</Link>],
          ['Disk', <><meter key="m" min={0} max={1} value={used} high={0.9} aria-label="Part of the disk that is used" className="pt-disk" /> {octets(status.spool.disk_free)} free of {octets(status.spool.disk_size)}</>],
        ]} />
      </Gallery>
      {busy.length > 0 && (
        <Card>
          <CardTitle component="h2">Destinations with mail</CardTitle>
          <CardBody>
            <Records label="Destinations" columns={columns} rows={busy.slice(0, DESTINATIONS)} rowKey={(row) => row.destination} />
            {busy.length > DESTINATIONS && <p className="pt-muted">… and {number(busy.length - DESTINATIONS)} more</p>}
          </CardBody>
        </Card>
      )}
    </>
  );
}

export default function Overview() {
  const status = useQuery<Whole>('/status', REFRESH_MS);
  return (
    <>
      <PageHead title="Overview" />
      <PageSection><Loaded query={status} what="the status">{(data) => <Shown status={data} />}</Loaded></PageSection>
    </>
  );
}
