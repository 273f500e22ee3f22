import { useEffect, useState } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Card, CardBody, CardTitle } from 'pf/Card';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { FormGroup } from 'pf/Form';
import { Pagination } from 'pf/Pagination';
import { Radio } from 'pf/Radio';
import { SearchInput } from 'pf/SearchInput';
import { Progress } from 'pf/Progress';
import { get, target } from '../../api/client';
import type { Entry, ListName, Mode, Page } from '../../api/types';
import { count, number } from '../../parts/format';
import { useQuery } from '../../parts/query';
import { Loaded } from '../../parts/states';
import { tell, tellError } from '../../parts/toasts';
import { AddForm } from './addform';
import { emptyList, modes, type ListDraft, type NewEntry } from './draft';
import { EditEntry } from './editentry';
import { Changed, Help } from './field';
import { ImportFile } from './import';
import type { Section } from './section';
import { EntryTable, type Order } from './table';

const SEARCH_MS = 250;
const PAGE_MAX = 1000;

function useSettled(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(value), SEARCH_MS);
    return () => window.clearTimeout(timer);
  }, [value]);
  return settled;
}

/** Which of the entries to be added a search shows; the server's own search is for the others. */
function shown(list: ListDraft, items: Entry[] | undefined, q: string): NewEntry[] {
  const there = new Set(items?.map((one) => one.network));
  const text = q.trim().toLowerCase();
  return [...list.add.values()].filter((one) => !there.has(one.network) && (text === '' ||
    one.network.toLowerCase().includes(text) || one.comment.toLowerCase().includes(text)));
}

export function ConnectionControl({ revision, ...section }: Section & { revision: string }) {
  const { draft, set, errors, changed, readOnly } = section;
  const name: ListName = draft.mode === 'accept_all_except' ? 'deny' : 'permit';
  const setList = (list: ListDraft) => set({ lists: { ...draft.lists, [name]: list } });
  const wrong = Object.entries(errors).filter(([pointer]) => pointer.startsWith(`/connections/control/${name}_list`)).map(([, detail]) => detail);
  return (
    <Card component="section" aria-labelledby="control-title">
      <CardTitle component="h2"><span id="control-title">Connection Control</span></CardTitle>
      <CardBody>
        <div className="pt-stack">
          <FormGroup role="radiogroup" fieldId="mode" label="Clients that may connect" labelInfo={<Changed when={changed.has('/connections/control/mode')} />}>
            {(Object.keys(modes) as Mode[]).map((mode) => (
              <Radio key={mode} id={`mode-${mode}`} name="mode" label={modes[mode]} isChecked={draft.mode === mode} isDisabled={readOnly} onChange={() => set({ mode })} />
            ))}
            <Help id="mode-help" error={errors['/connections/control/mode']}>
              Each of the two has a list of its own, which is kept while the other one counts.
            </Help>
          </FormGroup>
          {wrong.map((detail, i) => <Alert key={i} isInline variant="danger" title={detail} />)}
          <List key={name} name={name} list={draft.lists[name]} onChange={setList} readOnly={readOnly} revision={revision} />
        </div>
      </CardBody>
    </Card>
  );
}

function List({ name, list, onChange, readOnly, revision }: {
  name: ListName; list: ListDraft; onChange: (list: ListDraft) => void; readOnly: boolean; revision: string;
}) {
  const path = `/connections/lists/${name}`;
  const [search, setSearch] = useState('');
  const [page, setPage] = useState(1);
  const [perPage, setPerPage] = useState(20);
  const [order, setOrder] = useState<Order>({ key: '', descending: false });
  const [selected, setSelected] = useState<ReadonlyMap<string, Entry>>(new Map());
  const [editing, setEditing] = useState<NewEntry | null>(null);
  const [importing, setImporting] = useState(false);
  const [progress, setProgress] = useState<number | null>(null);
  const q = useSettled(search);
  const sort = order.key ? { sort: order.key, order: order.descending ? 'desc' : 'asc' } : {};
  const query = useQuery<Page<Entry>>(path, 10000, { q, ...sort, limit: perPage, cursor: (page - 1) * perPage });
  const { reload } = query;
  useEffect(() => reload(), [revision, reload]);
  useEffect(() => setPage(1), [q, order, perPage]);

  const select = (entries: Entry[], on: boolean) => setSelected((before) => {
    const next = new Map(before);
    for (const entry of entries) if (on) next.set(entry.network, entry); else next.delete(entry.network);
    return next;
  });
  const selectAll = async (total: number) => {
    const found: Entry[] = [];
    try {
      for (let cursor: string | null = '0'; cursor !== null;) {
        setProgress((found.length / Math.max(total, 1)) * 100);
        const got: Page<Entry> = await get(path, { query: { q, limit: PAGE_MAX, cursor } });
        found.push(...got.items);
        cursor = got.next;
      }
      select(found.filter((one) => !list.remove.has(one.network)), true);
    } catch (error) {
      tellError('Could not select all entries', error);
    } finally {
      setProgress(null);
    }
  };
  const remove = (entries: Entry[]) => {
    const next = { ...list, add: new Map(list.add), remove: new Map(list.remove) };
    for (const entry of entries) { next.add.delete(entry.network); next.remove.set(entry.network, entry); }
    onChange(next);
    setSelected(new Map());
  };
  const undo = (network: string) => {
    const next = { ...list, add: new Map(list.add), remove: new Map(list.remove) };
    next.add.delete(network);
    next.remove.delete(network);
    onChange(next);
  };
  const put = (entry: NewEntry) => {
    const next = { ...list, add: new Map(list.add).set(entry.network, entry), remove: new Map(list.remove) };
    next.remove.delete(entry.network);
    onChange(next);
  };
  const add = async (entry: NewEntry) => {
    setPage(1);
    setSearch('');
    put(entry);
    const found = await get<Page<Entry>>(path, { query: { q: entry.network, limit: PAGE_MAX } }).catch(() => null);
    const there = found?.items.find((one) => one.network === entry.network);
    const cover = found?.items.find((one) => one.network !== entry.network && !one.expired);
    if (there && !entry.comment && !entry.expires && !there.expired) {
      tell('info', `${entry.network} is in the list already.`);
      undo(entry.network);
    } else if (cover) {
      tell('info', `${entry.network} has addresses in common with ${cover.network}, which is in the list.`);
    }
  };

  const total = query.data?.total ?? 0;
  const added = page === 1 ? shown(list, query.data?.items, q) : [];
  const title = name === 'deny' ? 'Deny list' : 'Permit list';
  const empty = total === 0 && added.length === 0 && !list.file;
  return (
    <div className={readOnly ? 'pt-list' : 'pt-list pt-list--editable'}>
      {!readOnly && <AddForm onAdd={(entry) => void add(entry)} />}
      <div className="pt-list__main">
        <h3 className="pt-list__title">{title} <span className="pt-muted pt-number">{q ? `${number(total)} found` : count(total, 'entry', 'entries')}</span></h3>
        <div className="pt-list__tools">
          <SearchInput placeholder="Address, group or text" aria-label={`Search the ${title.toLowerCase()}`} value={search}
            onChange={(_, value) => setSearch(value)} onClear={() => setSearch('')} className="pt-list__search" />
          {!readOnly && <Button variant="secondary" onClick={() => setImporting(true)}>Import from file</Button>}
          <Button variant="link" component="a" href={target(path)} onClick={(event: React.MouseEvent) => { event.preventDefault(); void download(path, `${name}-list.txt`); }}>Export</Button>
        </div>
        {selected.size > 0 && (
          <div className="pt-list__tools" role="status">
            <span>{number(selected.size)} selected</span>
            <Button size="sm" variant="danger" onClick={() => remove([...selected.values()])}>Remove {number(selected.size)}</Button>
            {selected.size < total && <Button size="sm" variant="link" onClick={() => void selectAll(total)}>Select all {number(total)}{q && ' found'}</Button>}
            <Button size="sm" variant="link" onClick={() => setSelected(new Map())}>Select none</Button>
          </div>
        )}
        {progress !== null && <Progress value={progress} size="sm" aria-label="Selecting entries" />}
        {list.file && (
          <Alert isInline isPlain variant="info"
            title={`${list.file.names.join(', ')}: ${count(list.file.report.added, 'entry', 'entries')} ${list.file.replace ? 'replace the list' : 'will be added'} when you save`}
            actionLinks={<Button variant="link" isInline onClick={() => onChange({ ...list, file: null })}>Take back</Button>} />
        )}
        <Loaded query={query} what="the list">
          {(data) => empty ? (
            <EmptyState titleText={q ? 'Nothing found' : `The ${title.toLowerCase()} is empty`} headingLevel="h4" variant="sm">
              <EmptyStateBody>
                {q ? 'An address finds all entries that hold it; any other text is looked for in entries and comments.'
                  : name === 'deny' ? 'Every client may connect. Add the addresses that may not, or import a file.'
                    : 'No client may connect while this list counts. Add the addresses that may, or import a file.'}
              </EmptyStateBody>
            </EmptyState>
          ) : (
            <EntryTable list={list} items={data.items} added={added} order={order} onOrder={setOrder} selected={selected} onSelect={select}
              onEdit={setEditing} onRemove={remove} onUndo={undo} readOnly={readOnly} label={title} />
          )}
        </Loaded>
        {total > 20 && (
          <Pagination itemCount={total} page={page} perPage={perPage} onSetPage={(_, n) => setPage(n)} onPerPageSelect={(_, n) => setPerPage(n)}
            perPageOptions={[20, 50, 100, 500].map((value) => ({ title: String(value), value }))} isCompact variant="bottom" />
        )}
      </div>
      {editing && <EditEntry entry={editing} onClose={() => setEditing(null)} onDone={(entry) => { put(entry); setEditing(null); }} />}
      {importing && (
        <ImportFile list={name} staged={list.file} onClose={() => setImporting(false)}
          onStage={(file) => { onChange(file.replace ? { ...emptyList(), file } : { ...list, file }); setImporting(false); }} />
      )}
    </div>
  );
}

/** The whole list in the file format, to keep or to import elsewhere. */
async function download(path: string, name: string): Promise<void> {
  try {
    const text = await get<string>(path, { accept: 'text/plain' });
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
    link.download = name;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    tellError('Could not export the list', error);
  }
}
