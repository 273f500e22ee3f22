import { Button } from 'pf/Button';
import { Checkbox } from 'pf/Checkbox';
import { Label } from 'pf/Label';
import type { ReactNode } from 'react';
import PenIcon from 'icons/rh-ui-edit-icon';
import TrashIcon from 'icons/rh-ui-trash-icon';
import UndoIcon from 'icons/rh-ui-close-icon';
import type { Entry } from '../../api/types';
import { number } from '../../parts/format';
import { When } from '../../parts/states';
import type { ListDraft, NewEntry } from './draft';

export interface Order {
  key: string;
  descending: boolean;
}

const columns: [string, string][] = [
  ['network', 'Address'], ['comment', 'Comment'], ['expires', 'Expires'], ['hits', 'Hits'], ['last_hit', 'Last hit'],
];

function Heading({ name, title, order, onOrder }: { name: string; title: string; order: Order; onOrder: (order: Order) => void }) {
  const mine = order.key === name;
  return (
    <th scope="col" className={`pt-table__${name}`} aria-sort={mine ? (order.descending ? 'descending' : 'ascending') : 'none'}>
      <button type="button" className="pt-table__sort" onClick={() => onOrder({ key: name, descending: mine ? !order.descending : name === 'hits' || name === 'last_hit' })}>
        {title}<span aria-hidden="true">{mine ? (order.descending ? ' ▾' : ' ▴') : ''}</span>
      </button>
    </th>
  );
}

function Actions({ network, children }: { network: string; children: ReactNode }) {
  return <td className="pt-table__actions"><span role="group" aria-label={`Actions for ${network}`}>{children}</span></td>;
}

interface Props {
  list: ListDraft;
  items: Entry[];
  /** Entries to be added stand first, on the first page. */
  added: NewEntry[];
  order: Order;
  onOrder: (order: Order) => void;
  selected: ReadonlyMap<string, Entry>;
  onSelect: (entries: Entry[], on: boolean) => void;
  onEdit: (entry: NewEntry) => void;
  onRemove: (entries: Entry[]) => void;
  onUndo: (network: string) => void;
  readOnly: boolean;
  label: string;
}

export function EntryTable(props: Props) {
  const { list, items, added, selected, readOnly } = props;
  const selectable = items.filter((one) => !list.remove.has(one.network) && !list.file?.replace);
  const all = selectable.length > 0 && selectable.every((one) => selected.has(one.network));
  return (
    <div className="pt-table__scroll" tabIndex={0} role="region" aria-label={props.label}>
      <table className="pt-table">
        <thead>
          <tr>
            {!readOnly && (
              <th scope="col" className="pt-table__check">
                <Checkbox id="select-page" aria-label="Select all entries of this page" isChecked={all}
                  isDisabled={selectable.length === 0} onChange={(_, on) => props.onSelect(selectable, on)} />
              </th>
            )}
            {columns.map(([name, title]) => <Heading key={name} name={name} title={title} order={props.order} onOrder={props.onOrder} />)}
            {!readOnly && <th scope="col" className="pt-table__actions"><span className="pf-v6-screen-reader">Actions</span></th>}
          </tr>
        </thead>
        <tbody>
          {added.map((entry) => (
            <tr key={`new ${entry.network}`} className="pt-table__new">
              {!readOnly && <td />}
              <th scope="row"><span className="pt-mono">{entry.network}</span> <Label isCompact color="green">new</Label></th>
              <td className="pt-table__text">{entry.comment}</td>
              <td>{entry.expires ? <When at={entry.expires} /> : 'never'}</td>
              <td /><td />
              <Actions network={entry.network}>
                <Button variant="plain" icon={<PenIcon />} aria-label={`Edit ${entry.network}`} onClick={() => props.onEdit(entry)} />
                <Button variant="plain" icon={<UndoIcon />} aria-label={`Take back ${entry.network}`} onClick={() => props.onUndo(entry.network)} />
              </Actions>
            </tr>
          ))}
          {items.map((entry) => <Row key={entry.network} entry={entry} {...props} />)}
        </tbody>
      </table>
    </div>
  );
}

function Row({ entry, list, selected, onSelect, onEdit, onRemove, onUndo, readOnly }: { entry: Entry } & Props) {
  const edited = list.add.get(entry.network);
  const removed = list.remove.has(entry.network) || !!list.file?.replace;
  const comment = edited ? edited.comment : entry.comment;
  const expires = edited ? edited.expires : entry.expires;
  return (
    <tr className={removed ? 'pt-table__removed' : undefined}>
      {!readOnly && (
        <td className="pt-table__check">
          <Checkbox id={`select-${entry.network}`} aria-label={`Select ${entry.network}`} isChecked={selected.has(entry.network)}
            isDisabled={removed} onChange={(_, on) => onSelect([entry], on)} />
        </td>
      )}
      <th scope="row">
        <span className="pt-mono">{entry.network}</span>{' '}
        {removed ? <Label isCompact color="red">removed</Label> : edited ? <Label isCompact color="blue">changed</Label>
          : entry.expired ? <Label isCompact color="grey">expired</Label> : null}
      </th>
      <td className="pt-table__text">{comment}</td>
      <td>{expires ? <When at={expires} /> : 'never'}</td>
      <td className="pt-table__hits">{number(entry.hits)}</td>
      <td>{entry.last_hit ? <When at={entry.last_hit} relative /> : '–'}</td>
      {!readOnly && (
        <Actions network={entry.network}>
          {!removed && (
            <>
              <Button variant="plain" icon={<PenIcon />} aria-label={`Edit ${entry.network}`}
                onClick={() => onEdit({ network: entry.network, comment: comment ?? '', expires })} />
              <Button variant="plain" icon={<TrashIcon />} aria-label={`Remove ${entry.network}`} onClick={() => onRemove([entry])} />
            </>
          )}
          {(list.remove.has(entry.network) || (edited && !removed)) && (
            <Button variant="plain" icon={<UndoIcon />} aria-label={`Take back the change of ${entry.network}`} onClick={() => onUndo(entry.network)} />
          )}
        </Actions>
      )}
    </tr>
  );
}
