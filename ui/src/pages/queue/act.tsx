import { post } from '../../api/client';
import { Dialog } from '../../parts/dialog';
import { count } from '../../parts/format';
import { tell } from '../../parts/toasts';

export const verbs = {
  retry: { title: 'Retry now', danger: false, done: 'will be tried now', says: 'They are tried at once, whatever the next attempt was. Held ones stay held.' },
  hold: { title: 'Hold', danger: false, done: 'held', says: 'They are kept, and not tried until they are released.' },
  release: { title: 'Release', danger: false, done: 'released', says: 'Held ones are delivered as usual again.' },
  bounce: { title: 'Bounce', danger: true, done: 'given up', says: 'They are given up, and their senders are told by a bounce. This cannot be undone.' },
  delete: { title: 'Delete', danger: true, done: 'deleted', says: 'They are gone, and nobody is told. This cannot be undone.' },
} as const;
export type Verb = keyof typeof verbs;

const SHOWN = 5;

export function Act({ verb, ids, onClose, onDone }: { verb: Verb; ids: string[]; onClose: () => void; onDone: () => void }) {
  const { title, danger, done, says } = verbs[verb];
  const act = async () => {
    const answer = await post<{ count: number }>(`/queue/${verb}`, { ids });
    if (answer.count === ids.length) tell('success', `${count(answer.count, 'message', 'messages')} ${done}.`);
    else tell('info', `${count(answer.count, 'message', 'messages')} ${done}; the others are gone from the queue, or were so already.`);
    onDone();
  };
  return (
    <Dialog title={`${title}: ${count(ids.length, 'message', 'messages')}?`} action={title} danger={danger} onClose={onClose} onDo={act}>
      <p>{says}</p>
      <p className="pt-code">{ids.slice(0, SHOWN).join(', ')}{ids.length > SHOWN && ` and ${ids.length - SHOWN} more`}</p>
    </Dialog>
  );
}
