import { useState } from 'react';
import { Button } from 'pf/Button';
import { Checkbox } from 'pf/Checkbox';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { FormSelect, FormSelectOption } from 'pf/FormSelect';
import { Label } from 'pf/Label';
import { PageSection } from 'pf/Page';
import { TextInput } from 'pf/TextInput';
import type { Page } from '../../api/types';
import { count, number, octets } from '../../parts/format';
import { Pager, Records, usePages, type Column } from '../../parts/records';
import { useIsOperator } from '../../parts/session';
import { Loaded, PageHead, When } from '../../parts/states';
import { Act, verbs, type Verb } from './act';
import { Message } from './message';
import { colourOf, senderOf, stateOf, type Queued } from './model';

const PAGE = 50;
const REFRESH_MS = 5000;

const states = [['', 'Any'], ['queued', 'Queued'], ['deferred', 'Deferred'], ['delivering', 'Delivering'], ['in_doubt', 'In doubt'], ['held', 'Held']] as const;
const ages = [['', 'Any'], ['1h', 'Older than 1 hour'], ['6h', 'Older than 6 hours'], ['1d', 'Older than 1 day'], ['3d', 'Older than 3 days']] as const;

const none = { sender: '', recipient: '', destination: '', state: '', older_than: '' };

function Recipients({ row }: { row: Queued }) {
  const [first] = row.recipients;
  return (
    <>
      {first?.address ?? '–'}{row.recipient_count > 1 && ` and ${number(row.recipient_count - 1)} more`}
      {first?.reply && <span className="pt-records__sub">{first.reply}</span>}
    </>
  );
}

export default function Queue() {
  const may = useIsOperator();
  const [draft, setDraft] = useState(none);
  const [filter, setFilter] = useState(none);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [shown, setShown] = useState<string | null>(null);
  const [act, setAct] = useState<{ verb: Verb; ids: string[] } | null>(null);
  const pages = usePages<Queued>('/queue', PAGE, filter, REFRESH_MS);
  const items = pages.query.data?.items ?? [];
  const chosen = items.filter((one) => selected.has(one.id)).map((one) => one.id);
  const filtered = Object.values(filter).some(Boolean);

  const choose = (ids: string[], on: boolean) => setSelected((before) => {
    const after = new Set(before);
    for (const id of ids) if (on) after.add(id); else after.delete(id);
    return after;
  });
  const field = (key: 'sender' | 'recipient' | 'destination', title: string) => (
    <div className="pt-tools__field">
      <label htmlFor={`queue-${key}`}>{title}</label>
      <TextInput id={`queue-${key}`} value={draft[key]} onChange={(_, v) => setDraft({ ...draft, [key]: v })} spellCheck={false} />
    </div>
  );
  const choice = (key: 'state' | 'older_than', title: string, options: readonly (readonly [string, string])[]) => (
    <div className="pt-tools__field">
      <label htmlFor={`queue-${key}`}>{title}</label>
      <FormSelect id={`queue-${key}`} value={draft[key]} onChange={(_, v) => setDraft({ ...draft, [key]: v })}>
        {options.map(([value, name]) => <FormSelectOption key={value} value={value} label={name} />)}
      </FormSelect>
    </div>
  );
  const columns: Column<Queued>[] = [
    ...(may ? [{ title: 'Select', kind: 'tight' as const, cell: (row: Queued) => (
      <Checkbox id={`select-${row.id}`} aria-label={`Select ${row.id}`} isChecked={selected.has(row.id)} onChange={(_, on) => choose([row.id], on)} />
    ) }] : []),
    { title: 'Message', kind: 'head', cell: (row) => <Button variant="link" isInline className="pt-code" onClick={() => setShown(row.id)}>{row.id}</Button> },
    { title: 'Sender', cell: (row) => senderOf(row) },
    { title: 'Recipients', cell: (row) => <Recipients row={row} /> },
    { title: 'State', kind: 'tight', cell: (row) => <Label isCompact color={colourOf(stateOf(row))}>{stateOf(row).replace('_', ' ')}</Label> },
    { title: 'Received', kind: 'tight', cell: (row) => <When at={row.received} relative /> },
    { title: 'Next attempt', kind: 'tight', cell: (row) => {
      const next = row.held ? null : row.recipients.map((one) => one.next_attempt).filter((at) => at !== null).sort()[0];
      return next ? <When at={next} relative /> : '–';
    } },
    { title: 'Size', kind: 'number', cell: (row) => octets(row.size) },
  ];
  const allChosen = items.length > 0 && chosen.length === items.length;
  return (
    <>
      <PageHead title="Queue">Mail that was accepted and is not delivered yet.</PageHead>
      <PageSection>
        <form className="pt-tools" role="search" onSubmit={(event) => { event.preventDefault(); setSelected(new Set()); setFilter(draft); pages.query.reload(); }}>
          {field('sender', 'Sender')}{field('recipient', 'Recipient')}{field('destination', 'Destination')}
          {choice('state', 'State', states)}{choice('older_than', 'Age', ages)}
          <Button type="submit" variant="secondary">Filter</Button>
          {filtered && <Button variant="link" onClick={() => { setDraft(none); setFilter(none); }}>Clear the filter</Button>}
        </form>
        {may && items.length > 0 && (
          <div className="pt-tools" role="group" aria-label="Selected messages">
            <Checkbox id="select-page" label={chosen.length ? `${count(chosen.length, 'message', 'messages')} selected` : 'Select this page'} isChecked={allChosen}
              onChange={(_, on) => choose(items.map((one) => one.id), on)} />
            {(Object.keys(verbs) as Verb[]).map((verb) => (
              <Button key={verb} size="sm" variant="secondary" isDanger={verbs[verb].danger} isDisabled={chosen.length === 0} onClick={() => setAct({ verb, ids: chosen })}>{verbs[verb].title}</Button>
            ))}
          </div>
        )}
        <Loaded query={pages.query} what="the queue">
          {(data: Page<Queued> & { loading?: boolean }) => (
            <>
              {data.loading && <p role="status">Messages of before the start are still being loaded.</p>}
              {data.items.length === 0
                ? (
                  <EmptyState titleText={filtered ? 'No message is like that' : 'The queue is empty'} headingLevel="h2">
                    <EmptyStateBody>{filtered ? 'Clear the filter, or widen it.' : 'All that was accepted is delivered. Mail that has to wait appears here.'}</EmptyStateBody>
                  </EmptyState>
                )
                : <Records label="Queued messages" columns={columns} rows={data.items} rowKey={(row) => row.id} />}
            </>
          )}
        </Loaded>
        <Pager pages={pages} what="messages" />
      </PageSection>
      {shown && !act && <Message id={shown} onClose={() => setShown(null)} onAct={(verb) => setAct({ verb, ids: [shown] })} />}
      {act && <Act {...act} onClose={() => setAct(null)} onDone={() => { setAct(null); setShown(null); setSelected(new Set()); pages.query.reload(); }} />}
    </>
  );
}
