import { useEffect, useState, type ReactNode } from 'react';
import { Button } from 'pf/Button';
import type { Options } from '../api/client';
import type { Page } from '../api/types';
import { number } from './format';
import { useQuery, type Query } from './query';

export interface Column<T> {
  title: string;
  cell: (row: T) => ReactNode;
  /** tight: as wide as its text; number: to the end; actions: its title is for screen readers. */
  kind?: 'head' | 'tight' | 'number' | 'actions';
}

const style = { head: 'pt-records__tight', tight: 'pt-records__tight', number: 'pt-records__number', actions: 'pt-records__actions' };

/** A table that is one card a row where it is narrow. Its roles are said, since CSS would take them. */
export function Records<T>({ label, columns, rows, rowKey }: {
  label: string; columns: Column<T>[]; rows: T[]; rowKey: (row: T) => string;
}) {
  return (
    <div className="pt-records__scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="pt-records" role="table" aria-label={label}>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((one) => (
              <th key={one.title} role="columnheader" scope="col" className={one.kind && style[one.kind]}>
                {one.kind === 'actions' ? <span className="pf-v6-screen-reader">{one.title}</span> : one.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <tr key={rowKey(row)} role="row" data-key={rowKey(row)}>
              {columns.map((one) => {
                const content = one.cell(row);
                const empty = content === null || content === '' ? ' pt-records__empty' : '';
                const className = `${one.kind ? style[one.kind] : ''}${empty}`;
                return one.kind === 'head'
                  ? <th key={one.title} role="rowheader" scope="row" data-label={one.title} className={className}><span>{content}</span></th>
                  : <td key={one.title} role="cell" data-label={one.title} className={className}>{one.kind === 'actions' ? content : <span>{content}</span>}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export interface Pages<T> {
  query: Query<Page<T>>;
  /** How many rows stand before this page. */
  before: number;
  next: (() => void) | null;
  former: (() => void) | null;
  first: () => void;
}

/** A list of the API by its cursors, a page at a time; another filter begins anew. */
export function usePages<T>(path: string | null, limit: number, filter: Options['query'] = {}, everyMs = 0): Pages<T> {
  const [cursors, setCursors] = useState<string[]>([]);
  const what = JSON.stringify([path, filter]);
  const [asked, setAsked] = useState(what);
  if (asked !== what) {
    setAsked(what);
    setCursors([]);
  }
  const cursor = asked === what ? cursors.at(-1) : undefined;
  const query = useQuery<Page<T>>(path, everyMs, { ...filter, limit, cursor });
  const next = query.data?.next;
  const empty = query.data?.items.length === 0 && cursors.length > 0;

  // The last page has emptied meanwhile.
  useEffect(() => { if (empty && !query.loading) setCursors((all) => all.slice(0, -1)); }, [empty, query.loading]);
  return {
    query,
    before: cursors.length * limit,
    next: next ? () => setCursors([...cursors, next]) : null,
    former: cursors.length ? () => setCursors(cursors.slice(0, -1)) : null,
    first: () => setCursors([]),
  };
}

export function Pager<T>({ pages, what }: { pages: Pages<T>; what: string }) {
  const { data } = pages.query;
  if (!data || data.items.length === 0) return null;
  return (
    <nav className="pt-pager" aria-label={`Pages of ${what}`}>
      <span role="status">{number(pages.before + 1)} – {number(pages.before + data.items.length)} of {number(Math.max(data.total, pages.before + data.items.length))} {what}</span>
      {(pages.next || pages.former) && (
        <span>
          <Button variant="link" isDisabled={!pages.former} onClick={() => pages.former?.()}>Previous page</Button>
          <Button variant="link" isDisabled={!pages.next} onClick={() => pages.next?.()}>Next page</Button>
        </span>
      )}
    </nav>
  );
}
