import { Alert } from 'pf/Alert';
import { count, number } from '../../parts/format';
import { When } from '../../parts/states';

interface PreviewRow {
  client: string;
  helo: string | null;
  connections: number;
  messages: number;
  last_seen: string;
  rule: string | null;
  list: string | null;
  entry: string | null;
  comment: string | null;
  reply: string | null;
}

interface Side {
  clients: number;
  connections: number;
  messages: number;
  items: PreviewRow[];
}

export interface PreviewData {
  clients: number;
  refused: Side;
  let_in: Side;
  error?: string;
}

const why = (row: PreviewRow) => [row.rule, row.entry && `entry ${row.entry}`, row.comment].filter(Boolean).join(': ');

function Clients({ title, side, withRule }: { title: string; side: Side; withRule: boolean }) {
  if (side.clients === 0) return null;
  return (
    <div>
      <h3 className="pt-review__side">{title}: {count(side.clients, 'client', 'clients')},{' '}
        {count(side.connections, 'connection', 'connections')}, {count(side.messages, 'message', 'messages')}</h3>
      <div className="pt-table__scroll pt-review__rows" tabIndex={0} role="region" aria-label={title}>
        <table className="pt-table">
          <thead>
            <tr>
              <th scope="col">Client</th><th scope="col">HELO</th><th scope="col" className="pt-table__hits">Connections</th>
              <th scope="col" className="pt-table__hits">Messages</th><th scope="col">Last seen</th>{withRule && <th scope="col">Rule</th>}
            </tr>
          </thead>
          <tbody>
            {side.items.map((row) => (
              <tr key={row.client}>
                <th scope="row" className="pt-mono">{row.client}</th>
                <td className="pt-table__text">{row.helo}</td>
                <td className="pt-table__hits">{number(row.connections)}</td>
                <td className="pt-table__hits">{number(row.messages)}</td>
                <td><When at={row.last_seen} relative /></td>
                {withRule && <td className="pt-table__text">{why(row)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {side.clients > side.items.length && <p className="pt-muted">… and {count(side.clients - side.items.length, 'client', 'clients')} more, with less traffic.</p>}
    </div>
  );
}

/** Who of the last days would be cut off or let in, those with the most traffic first. */
export function Preview({ preview }: { preview: PreviewData }) {
  if (preview.error) return <Alert isInline variant="warning" title={`Cannot tell what it means for clients: ${preview.error}`} />;
  if (preview.refused.clients + preview.let_in.clients === 0) {
    return (
      <Alert isInline isPlain variant="success" title={preview.clients === 0
        ? 'No client was here in the last days whom this could concern.'
        : `Nothing changes for the ${count(preview.clients, 'client', 'clients')} of the last days.`} />
    );
  }
  return (
    <>
      <Clients title="Would be cut off" side={preview.refused} withRule />
      <Clients title="Would be let in" side={preview.let_in} withRule={false} />
    </>
  );
}
