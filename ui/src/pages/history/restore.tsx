import { useState } from 'react';
import { Alert } from 'pf/Alert';
import { Checkbox } from 'pf/Checkbox';
import { post } from '../../api/client';
import type { Warning } from '../../api/types';
import { Dialog } from '../../parts/dialog';
import { number } from '../../parts/format';
import { Input } from '../../parts/input';
import { useQuery } from '../../parts/query';
import { Loading } from '../../parts/states';
import { tell } from '../../parts/toasts';
import { pendingChanged } from '../../shell/pending';
import { Differences, type Full } from './comparison';
import type { Revision } from './index';

const WAIT_S = 60;

const questions: Record<string, string> = {
  empty_permit_list: 'Its permit list is empty, so no client at all may connect. I mean that.',
  open_relay: 'With it anybody can send mail to anywhere through this gateway. I mean that.',
  expired_certificate: 'Its certificate has expired, and clients that verify will refuse it. I want it all the same.',
};

/** Puts a former revision into force again, after a look at what that changes. */
export function Restore({ revision, current, onClose, onStale, onDone }: {
  revision: Revision; current: number; onClose: () => void; onStale: () => void; onDone: () => void;
}) {
  const [base, setBase] = useState(current);
  const now = useQuery<Full>(`/settings/revisions/${base}`);
  const then = useQuery<Full>(`/settings/revisions/${revision.revision}`);
  const [comment, setComment] = useState('');
  const [careful, setCareful] = useState(false);
  const [asked, setAsked] = useState<string[]>([]);
  const [confirmed, setConfirmed] = useState<string[]>([]);
  const [stale, setStale] = useState(false);
  const name = `revision ${number(revision.revision)}`;

  const restore = async () => {
    const answer = await post<{ revision: number; warnings: Warning[] }>(
      `/settings/revisions/${revision.revision}/restore`, confirmed.length ? { confirm: confirmed } : undefined,
      { ifMatch: `"${base}"`, query: { comment, confirm_within: careful ? WAIT_S : undefined } });
    pendingChanged();
    tell('success', `The settings of ${name} are in force, as revision ${number(answer.revision)}.`);
    if (answer.warnings.length) tell('warning', 'They have consequences', answer.warnings.map((one) => one.detail));
    onDone();
  };
  return (
    <Dialog title={`Restore ${name}?`} action="Restore" danger wide onClose={onClose} onDo={restore}
      ready={!!now.data && !!then.data && asked.every((word) => confirmed.includes(word))}
      onError={(error) => {
        if (error.status === 412) {
          const head = Number(error.etag?.replaceAll('"', ''));
          setStale(true);
          if (head) setBase(head);
          onStale();
          return true;
        }
        setAsked(error.confirmable);
        return error.confirmable.length > 0;
      }}>
      {stale && (
        <Alert isInline variant="warning" isLiveRegion title="Somebody has changed the settings meanwhile">
          <p>Nothing was restored. Below is what would change now; restore again if that is what you want.</p>
        </Alert>
      )}
      <p>Its settings are put into force at once, as a new revision. This changes:</p>
      {now.error || then.error
        ? <Alert isInline variant="danger" title="Cannot load the revisions">{(now.error ?? then.error)?.message}</Alert>
        : now.data?.revision === base && then.data
          ? <div className="pt-restore" tabIndex={0} role="region" aria-label="What would change"><Differences from={now.data} to={then.data} /></div>
          : <Loading what="what would change" />}
      <Input id="restore-comment" label="Comment" value={comment} onChange={setComment} maxLength={200} help="Why, for those who read the history." />
      <Checkbox id="restore-careful" isChecked={careful} onChange={(_, on) => setCareful(on)}
        label={`Go back by itself unless I confirm within ${WAIT_S} seconds`} />
      {asked.map((word) => (
        <Alert key={word} isInline variant="danger" title="This needs your word" isLiveRegion>
          <Checkbox id={`confirm-${word}`} label={questions[word] ?? `I confirm: ${word.replaceAll('_', ' ')}.`}
            isChecked={confirmed.includes(word)}
            onChange={(_, on) => setConfirmed(on ? [...confirmed, word] : confirmed.filter((one) => one !== word))} />
        </Alert>
      ))}
    </Dialog>
  );
}
