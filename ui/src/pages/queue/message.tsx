import { Button } from 'pf/Button';
import { Label } from 'pf/Label';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { target } from '../../api/client';
import { number, octets } from '../../parts/format';
import { useQuery } from '../../parts/query';
import { Records, type Column } from '../../parts/records';
import { useIsOperator } from '../../parts/session';
import { Loaded, When } from '../../parts/states';
import { verbs, type Verb } from './act';
import { colourOf, senderOf, type Queued, type Recipient } from './model';

const columns: Column<Recipient>[] = [
  { title: 'Recipient', kind: 'head', cell: (row) => row.address },
  { title: 'State', kind: 'tight', cell: (row) => (
    <><Label isCompact color={colourOf(row.state)}>{row.state.replace('_', ' ')}</Label>{row.suspended && <> <Label isCompact color="purple">suspended</Label></>}</>
  ) },
  { title: 'Destination', cell: (row) => <>{row.destination ?? '–'}{row.redirected_to && <span className="pt-records__sub">redirected to {row.redirected_to}</span>}</> },
  { title: 'Attempts', kind: 'number', cell: (row) => number(row.attempts) },
  { title: 'Next attempt', kind: 'tight', cell: (row) => row.next_attempt ? <When at={row.next_attempt} relative /> : '–' },
  { title: 'Last reply', cell: (row) => row.reply ? <span className="pt-code">{row.code} {row.reply}</span> : '–' },
];

/** One message of the queue: where it came from, and how it stands with each recipient. */
export function Message({ id, onClose, onAct }: { id: string; onClose: () => void; onAct: (verb: Verb) => void }) {
  const may = useIsOperator();
  const query = useQuery<Queued & { next_recipient: number | null }>(`/queue/${id}`, 5000);
  const gone = query.error?.status === 404;
  return (
    <Modal isOpen variant="large" onClose={onClose} aria-labelledby="message-title" aria-describedby="message-body">
      <ModalHeader title={`Message ${id}`} labelId="message-title" />
      <ModalBody id="message-body">
        {gone ? <p>It is not in the queue any more: delivered, given up, or deleted.</p> : (
          <Loaded query={query} what="the message">
            {(data) => (
              <>
                <dl className="pt-facts-grid pt-gap-below">
                  <dt>Sender</dt><dd>{senderOf(data)}</dd>
                  <dt>Received</dt><dd><When at={data.received} /> (<When at={data.received} relative />)</dd>
                  <dt>From</dt><dd>{data.client ?? 'this gateway'}{data.helo && `, which called itself ${data.helo}`}</dd>
                  <dt>Size</dt><dd>{octets(data.size)}</dd>
                  <dt>Recipients</dt><dd>{number(data.waiting_count)} of {number(data.recipient_count)} waiting{data.held && <> <Label isCompact color="purple">held</Label></>}</dd>
                </dl>
                <Records label="Recipients" columns={columns} rows={data.recipients} rowKey={(row) => row.address} />
                {data.next_recipient !== null && <p className="pt-muted">These are the first {number(data.recipients.length)}.</p>}
              </>
            )}
          </Loaded>
        )}
      </ModalBody>
      <ModalFooter className="pt-footer">
        {may && !gone && query.data && (Object.keys(verbs) as Verb[])
          .filter((verb) => verb !== (query.data?.held ? 'hold' : 'release'))
          .map((verb) => <Button key={verb} variant="secondary" isDanger={verbs[verb].danger} onClick={() => onAct(verb)}>{verbs[verb].title}</Button>)}
        {!gone && <Button variant="link" component="a" href={target(`/queue/${id}/content`)} download={`${id}.eml`}>Download</Button>}
        <Button variant={may && !gone ? 'link' : 'primary'} onClick={onClose}>Close</Button>
      </ModalFooter>
    </Modal>
  );
}
