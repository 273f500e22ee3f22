import { Alert } from 'pf/Alert';
import { Card, CardBody, CardTitle } from 'pf/Card';
import { DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm } from 'pf/DescriptionList';
import { PageSection } from 'pf/Page';
import { Gallery } from 'pf-layouts/Gallery';
import type { ReactNode } from 'react';
import type { Status } from '../api/types';
import { count, number, octets } from '../parts/format';
import { useQuery } from '../parts/query';
import { Loaded, PageHead, When } from '../parts/states';

const REFRESH_MS = 3000;

function Facts({ title, facts }: { title: string; facts: [string, ReactNode][] }) {
  return (
    <Card>
      <CardTitle component="h2">{title}</CardTitle>
      <CardBody>
        <DescriptionList isHorizontal isCompact>
          {facts.map(([term, value]) => (
            <DescriptionListGroup key={term}>
              <DescriptionListTerm>{term}</DescriptionListTerm>
              <DescriptionListDescription>{value}</DescriptionListDescription>
            </DescriptionListGroup>
          ))}
        </DescriptionList>
      </CardBody>
    </Card>
  );
}

function Shown({ status }: { status: Status }) {
  return (
    <>
      <div className="pt-stack pt-gap-below">
        {status.warnings.map((warning, i) => (
          <Alert key={i} isInline variant={status.health === 'red' ? 'danger' : 'warning'}
            title={typeof warning === 'string' ? warning : warning.detail} />
        ))}
      </div>
      <Gallery hasGutter minWidths={{ default: '20rem' }}>
        <Facts title="Mail" facts={[
          ['Accepted', count(status.messages.accepted, 'message', 'messages')],
          ['Delivered', count(status.messages.delivered, 'recipient', 'recipients')],
          ['Kept now', count(status.spool.messages, 'message', 'messages')],
        ]} />
        <Facts title="Clients" facts={[
          ['Connected', number(status.sessions.now)],
          ['Since the start', number(status.sessions.total)],
          ['At a time', number(status.sessions.limit ?? status.sessions.system_limit)],
        ]} />
        <Facts title="Listening" facts={status.listeners.map((one) => [one.address, one.listening ? 'yes' : one.error ?? 'no'])} />
        <Facts title="This gateway" facts={[
          ['Version', status.version],
          ['Started', <When key="s" at={status.started} />],
          ['Settings', `revision ${number(status.revision)}`],
          ['Disk free', `${octets(status.spool.disk_free)} of ${octets(status.spool.disk_size)}`],
        ]} />
      </Gallery>
    </>
  );
}

export default function Overview() {
  const status = useQuery<Status>('/status', REFRESH_MS);
  return (
    <>
      <PageHead title="Overview" />
      <PageSection><Loaded query={status} what="the status">{(data) => <Shown status={data} />}</Loaded></PageSection>
    </>
  );
}
