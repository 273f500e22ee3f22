import { useState } from 'react';
import { Button } from 'pf/Button';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { FormSelect, FormSelectOption } from 'pf/FormSelect';
import { Label } from 'pf/Label';
import { PageSection } from 'pf/Page';
import { TextInput } from 'pf/TextInput';
import { ChangeList } from '../parts/changelist';
import type { Change } from '../parts/changes';
import { count, number } from '../parts/format';
import { Pager, Records, usePages, type Column } from '../parts/records';
import { Loaded, PageHead, When } from '../parts/states';

interface Row {
  id: number;
  time: string;
  actor: string;
  uid: number | null;
  origin: string | null;
  action: string;
  target: string | null;
  outcome: string;
  detail: string | null;
  changes: Change[];
  revision: number | null;
}

const PAGE = 50;

/** What is done, as a sentence says it. What is not here is shown by its name. */
const actions: Record<string, string> = {
  'settings.change': 'changed the settings',
  'settings.restore': 'restored settings',
  'settings.confirm': 'confirmed a change of the settings',
  'settings.revert': 'took back a change of the settings',
  'tls.upload': 'uploaded a certificate',
  'tls.delete': 'removed a certificate',
  'connection.disconnect': 'disconnected a client',
  'queue.retry': 'retried messages',
  'queue.hold': 'held messages',
  'queue.release': 'released messages',
  'queue.delete': 'deleted messages',
  'queue.bounce': 'gave messages up',
  'queue.redirect': 'redirected messages',
  'queue.suspend': 'suspended a destination',
  'queue.resume': 'resumed a destination',
  'console.login': 'logged in',
  'admins.add': 'added an account',
  'admins.change': 'changed an account',
  'admins.password': 'changed their password',
  'admins.remove': 'removed an account',
  'admins.second_factor': 'changed their second factor',
  'tokens.add': 'made a token',
  'tokens.remove': 'revoked a token',
};

const groups: [string, string][] = [
  ['', 'Everything'], ['settings', 'Settings'], ['tls', 'Certificates'], ['queue', 'Queue'], ['connection', 'Connections'],
  ['console', 'Log-ins'], ['admins', 'Accounts'], ['tokens', 'Tokens'],
];

const outcomes: Record<string, 'green' | 'orange' | 'red' | 'grey'> = { done: 'green', refused: 'orange', failed: 'red' };

function What({ row }: { row: Row }) {
  const [first, ...rest] = row.changes;
  return (
    <>
      <span title={row.action}>{actions[row.action] ?? row.action}</span>{row.target && <>: <span className="pt-code">{row.target}</span></>}
      {row.revision !== null && <> <Label isCompact color="blue">revision {number(row.revision)}</Label></>}
      {row.detail && <span className="pt-records__sub">{row.detail}</span>}
      {first && (
        <details className="pt-detail">
          <summary>{count(rest.length + 1, 'setting', 'settings')} changed</summary>
          <ChangeList changes={row.changes} />
        </details>
      )}
    </>
  );
}

const columns: Column<Row>[] = [
  { title: 'When', kind: 'tight', cell: (row) => <><When at={row.time} /><span className="pt-records__sub"><When at={row.time} relative /></span></> },
  { title: 'Who', kind: 'head', cell: (row) => row.actor },
  { title: 'From where', cell: (row) => row.origin ?? '–' },
  { title: 'What', cell: (row) => <What row={row} /> },
  { title: 'Outcome', kind: 'tight', cell: (row) => <Label isCompact color={outcomes[row.outcome] ?? 'grey'}>{row.outcome}</Label> },
];

/** "2026-11-24T08:00" of this place, as the API wants it; nothing where it is no time. */
function moment(local: string): string | undefined {
  const at = new Date(local);
  return local && !Number.isNaN(at.getTime()) ? at.toISOString() : undefined;
}

interface Filter { actor: string; action: string; since: string; until: string }
const none: Filter = { actor: '', action: '', since: '', until: '' };

export default function Audit() {
  const [draft, setDraft] = useState(none);
  const [filter, setFilter] = useState(none);
  const filtered = JSON.stringify(filter) !== JSON.stringify(none);
  const pages = usePages<Row>('/audit', PAGE, {
    actor: filter.actor.trim(), action: filter.action, since: moment(filter.since), until: moment(filter.until),
  });
  const clear = () => { setDraft(none); setFilter(none); };

  return (
    <>
      <PageHead title="Audit log">Who did what, when and from where: every change, and every log-in.</PageHead>
      <PageSection>
        <form className="pt-tools" role="search" onSubmit={(event) => { event.preventDefault(); setFilter(draft); pages.query.reload(); }}>
          <div className="pt-tools__field">
            <label htmlFor="audit-actor">Who</label>
            <TextInput id="audit-actor" value={draft.actor} onChange={(_, actor) => setDraft({ ...draft, actor })} spellCheck={false} />
          </div>
          <div className="pt-tools__field">
            <label htmlFor="audit-action">What</label>
            <FormSelect id="audit-action" value={draft.action} onChange={(_, action) => setDraft({ ...draft, action })}>
              {groups.map(([value, title]) => <FormSelectOption key={value} value={value} label={title} />)}
            </FormSelect>
          </div>
          <div className="pt-tools__field">
            <label htmlFor="audit-since">Since</label>
            <TextInput id="audit-since" type="datetime-local" value={draft.since} onChange={(_, since) => setDraft({ ...draft, since })} />
          </div>
          <div className="pt-tools__field">
            <label htmlFor="audit-until">Until</label>
            <TextInput id="audit-until" type="datetime-local" value={draft.until} onChange={(_, until) => setDraft({ ...draft, until })} />
          </div>
          <Button type="submit" variant="secondary">Filter</Button>
          {filtered && <Button variant="link" onClick={clear}>Clear the filter</Button>}
        </form>
        <Loaded query={pages.query} what="the audit log">
          {(data) => data.items.length === 0
            ? (
              <EmptyState titleText="Nothing of that kind was done" headingLevel="h2">
                <EmptyStateBody>{filtered ? 'Clear the filter, or widen it.' : 'What people and programs change appears here.'}</EmptyStateBody>
              </EmptyState>
            )
            : <Records label="Audit log" columns={columns} rows={data.items} rowKey={(row) => String(row.id)} />}
        </Loaded>
        <Pager pages={pages} what="entries" />
      </PageSection>
    </>
  );
}
