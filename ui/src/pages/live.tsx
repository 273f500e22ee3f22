import { useState, type FormEvent } from 'react';
import { Button } from 'pf/Button';
import { Checkbox } from 'pf/Checkbox';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { Label } from 'pf/Label';
import { PageSection } from 'pf/Page';
import { Switch } from 'pf/Switch';
import { TextInput } from 'pf/TextInput';
import RefreshIcon from 'icons/rh-ui-refresh-icon';
import { remove } from '../api/client';
import { Dialog } from '../parts/dialog';
import { count, number, octets } from '../parts/format';
import { Pager, Records, usePages, type Column } from '../parts/records';
import { useIsAdministrator } from '../parts/session';
import { Loaded, PageHead, When } from '../parts/states';
import { tell } from '../parts/toasts';

interface Connection {
  id: string;
  client: string;
  port: number;
  since: string;
  state: string;
  ends: string | null;
  helo: string | null;
  protocol: string | null;
  tls: { version: string; cipher: string; certificate: { subject: string; verified: boolean; error: string | null } | null } | null;
  messages: number;
  octets_in: number;
  octets_out: number;
  idle_seconds: number;
}

const PAGE = 50;
const REFRESH_MS = 2000;
const QUIET_S = 60;

function Secured({ tls }: { tls: Connection['tls'] }) {
  if (!tls) return <Label isCompact color="grey">in clear</Label>;
  return (
    <>
      <Label isCompact color="green">{tls.version}</Label>
      <span className="pt-records__sub">{tls.cipher}</span>
      {tls.certificate && (
        <span className="pt-records__sub">
          {tls.certificate.subject} – {tls.certificate.verified ? 'verified' : `not verified: ${tls.certificate.error}`}
        </span>
      )}
    </>
  );
}

const columns: Column<Connection>[] = [
  { title: 'Client', kind: 'head', cell: (row) => (
    <><span className="pt-code">{row.client}</span><span className="pt-records__sub pt-live__helo">{row.helo ?? 'has not said its name'}</span></>
  ) },
  { title: 'State', cell: (row) => (
    <>
      {row.state}
      {row.idle_seconds >= QUIET_S && <span className="pt-records__sub">silent for {number(row.idle_seconds)} s</span>}
      {row.ends && <span className="pt-records__sub"><Label isCompact color="orange">ends: {row.ends}</Label></span>}
    </>
  ) },
  { title: 'TLS', cell: (row) => <Secured tls={row.tls} /> },
  { title: 'Since', kind: 'tight', cell: (row) => <When at={row.since} relative /> },
  { title: 'Messages', kind: 'number', cell: (row) => number(row.messages) },
  { title: 'Received', kind: 'number', cell: (row) => octets(row.octets_in) },
  { title: 'Sent', kind: 'number', cell: (row) => octets(row.octets_out) },
];

function Disconnect({ one, onClose, onDone }: { one: Connection; onClose: () => void; onDone: () => void }) {
  const [now, setNow] = useState(false);
  const act = async () => {
    const answer = await remove<{ disconnected: boolean }>(`/connections/live/${one.id}`, { query: { now: now || undefined } });
    tell('success', answer.disconnected ? `${one.client} is disconnected.` : `${one.client} is disconnected with its next command.`);
    onDone();
  };
  return (
    <Dialog title={`Disconnect ${one.client}?`} action="Disconnect" danger onClose={onClose} onDo={act}>
      <p>The client ({one.helo ?? 'which has not said its name'}) gets <code>421</code> and may connect again. To keep it out, deny its address under Connections.</p>
      <Checkbox id="disconnect-now" isChecked={now} onChange={(_, on) => setNow(on)} label="At once, even in the middle of a message"
        description="Otherwise a message that is being sent may end, and the client is told at its next command. What was not accepted yet stays with the client." />
    </Dialog>
  );
}

export default function Live() {
  const may = useIsAdministrator();
  const [wish, setWish] = useState('');
  const [address, setAddress] = useState('');
  const [auto, setAuto] = useState(true);
  const [leaving, setLeaving] = useState<Connection | null>(null);
  const pages = usePages<Connection>('/connections/live', PAGE, { address }, auto ? REFRESH_MS : 0);

  const filter = (event: FormEvent) => {
    event.preventDefault();
    setAddress(wish.trim());
  };
  const all: Column<Connection>[] = may ? [...columns, { title: 'Actions', kind: 'actions', cell: (row) => (
    <Button variant="secondary" size="sm" isDanger aria-label={`Disconnect ${row.client}, port ${row.port}`} onClick={() => setLeaving(row)}>Disconnect</Button>
  ) }] : columns;
  return (
    <>
      <PageHead title="Live connections">The clients that are connected now, and what they are doing.</PageHead>
      <PageSection>
        <form className="pt-tools" onSubmit={filter} role="search">
          <div className="pt-tools__field pt-tools__grow">
            <label htmlFor="live-address">Address or group</label>
            <TextInput id="live-address" value={wish} onChange={(_, v) => { setWish(v); if (!v) setAddress(''); }} placeholder="192.0.2.0/24" spellCheck={false} />
          </div>
          <Button type="submit" variant="secondary">Filter</Button>
          <span className="pt-tools__end">
            <Switch id="live-auto" label="Refresh by itself" isChecked={auto} onChange={(_, on) => setAuto(on)} />
            <Button variant="plain" icon={<RefreshIcon />} aria-label="Refresh" onClick={pages.query.reload} />
          </span>
        </form>
        <Loaded query={pages.query} what="the connections">
          {(data) => data.items.length === 0
            ? (
              <EmptyState titleText={address ? 'Nobody is connected from there' : 'Nobody is connected'} headingLevel="h2">
                <EmptyStateBody>{address ? 'Clear the filter to see all clients.' : 'Clients appear here as they connect.'}</EmptyStateBody>
              </EmptyState>
            )
            : (
              <>
                <p className="pt-muted pt-gap-below" role="status">{count(data.total, 'client is', 'clients are')} connected{address && ` from ${address}`}.</p>
                <Records label="Live connections" columns={all} rows={data.items} rowKey={(row) => row.id} />
              </>
            )}
        </Loaded>
        {(pages.next || pages.former) && <Pager pages={pages} what="connections" />}
      </PageSection>
      {leaving && <Disconnect one={leaving} onClose={() => setLeaving(null)} onDone={() => { setLeaving(null); pages.query.reload(); }} />}
    </>
  );
}
