import { useEffect, useState } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Checkbox } from 'pf/Checkbox';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { TextInput } from 'pf/TextInput';
import { ApiError, patch } from '../../api/client';
import type { Connections, ListName, Warning } from '../../api/types';
import { count } from '../../parts/format';
import { Loading } from '../../parts/states';
import { changes, listChanged, patchOf, type Draft, type ListDraft } from './draft';
import { Preview, type PreviewData } from './preview';

export interface DryRun {
  preview: PreviewData;
  warnings: Warning[];
}

/** A warning that somebody would be locked out begins in capitals. */
const isLoud = (warning: Warning) => /^THIS /.test(warning.detail);

/** True where saving should not go without a look. */
export const needsLook = (run: DryRun): boolean => run.warnings.some(isLoud) || run.preview.refused.clients > 0;

export const dryRun = (draft: Draft, base: Connections, etag: string, confirm: string[] = [], signal?: AbortSignal): Promise<DryRun> =>
  patch<DryRun>('/settings', { ...patchOf(draft, base), ...(confirm.length ? { confirm } : {}) },
    { query: { dry_run: true, preview: true }, ifMatch: etag, signal });

const questions: Record<string, string> = {
  empty_permit_list: 'The permit list is empty, so no client at all may connect. I mean that.',
  open_relay: 'Anybody could send mail to anywhere through this gateway. I mean that.',
  expired_certificate: 'The certificate has expired, and clients that verify will refuse it. I want it all the same.',
};
const WAIT_S = 60;
const ENTRIES_SHOWN = 200;

function ListDiff({ name, list }: { name: ListName; list: ListDraft }) {
  if (!listChanged(list)) return null;
  const lines = [...[...list.remove.keys()].map((one) => ['−', one, ''] as const),
    ...[...list.add.values()].map((one) => ['+', one.network, one.comment] as const)];
  return (
    <div>
      <h3 className="pt-review__side">{name === 'deny' ? 'Deny list' : 'Permit list'}</h3>
      {list.file && (
        <p>{list.file.replace ? 'Replaced by' : 'Added from'} {list.file.names.join(', ')}: {count(list.file.report.added, 'entry', 'entries')}</p>
      )}
      {lines.length > 0 && (
        <ul className="pt-diff" tabIndex={0} aria-label={`Changes of the ${name} list`}>
          {lines.slice(0, ENTRIES_SHOWN).map(([sign, network, comment]) => (
            <li key={sign + network} className={sign === '+' ? 'pt-diff__add' : 'pt-diff__remove'}>
              <span className="pt-mono">{sign} {network}</span> {comment}
            </li>
          ))}
          {lines.length > ENTRIES_SHOWN && <li>… and {count(lines.length - ENTRIES_SHOWN, 'entry', 'entries')} more</li>}
        </ul>
      )}
    </div>
  );
}

/** What would change, what that means, and the ways to save it. */
export function Review({ draft, base, etag, busy, onSave, onClose, onRefused }: {
  draft: Draft; base: Connections; etag: string; busy: boolean;
  onSave: (confirm: string[], within: number | null, comment: string) => void; onClose: () => void; onRefused: (error: ApiError) => void;
}) {
  const [run, setRun] = useState<DryRun | null>(null);
  const [asked, setAsked] = useState<string[]>([]);
  const [confirmed, setConfirmed] = useState<string[]>([]);
  const [wait, setWait] = useState(String(WAIT_S));
  const [comment, setComment] = useState('');

  useEffect(() => {
    const stop = new AbortController();
    const check = async () => {
      try {
        setRun(await dryRun(draft, base, etag, [], stop.signal));
      } catch (error) {
        if (stop.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        const words = error.confirmable;
        if (words.length === 0) { onRefused(error); return; }
        setAsked(words);
        setRun(await dryRun(draft, base, etag, words, stop.signal));
      }
    };
    check().catch((error: unknown) => { if (!stop.signal.aborted && error instanceof ApiError) onRefused(error); });
    return () => stop.abort();
  }, [draft, base, etag, onRefused]);

  const all = asked.every((word) => confirmed.includes(word));
  const seconds = Number(wait);
  const timed = Number.isInteger(seconds) && seconds >= 5 && seconds <= 86400;
  const ready = run !== null && all && !busy;
  return (
    <Modal isOpen variant="large" onClose={onClose} aria-labelledby="review-title">
      <ModalHeader title="Review changes" labelId="review-title" />
      <ModalBody>
        <div className="pt-stack">
          {run?.warnings.map((one, i) => (
            <Alert key={i} isInline variant={isLoud(one) ? 'danger' : 'warning'} title={one.detail} />
          ))}
          {changes(draft, base).length > 0 && (
            <div className="pt-table__scroll" tabIndex={0} role="region" aria-label="Changed settings">
              <table className="pt-table">
                <thead><tr><th scope="col">Setting</th><th scope="col">In force</th><th scope="col">Afterwards</th></tr></thead>
                <tbody>
                  {changes(draft, base).map((one) => (
                    <tr key={one.pointer}>
                      <th scope="row">{one.label}</th>
                      <td><del>{one.from}</del></td>
                      <td><ins>{one.to}</ins></td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          <ListDiff name="deny" list={draft.lists.deny} />
          <ListDiff name="permit" list={draft.lists.permit} />
          {run ? <Preview preview={run.preview} /> : <Loading what="what it means for clients" />}
          {asked.map((word) => (
            <Alert key={word} isInline variant="danger" title="This must be confirmed">
              <Checkbox id={`confirm-${word}`} label={questions[word] ?? word} isChecked={confirmed.includes(word)}
                onChange={(_, on) => setConfirmed(on ? [...confirmed, word] : confirmed.filter((one) => one !== word))} />
            </Alert>
          ))}
          <label className="pt-review__comment" htmlFor="review-comment">Comment, for the history
            <TextInput id="review-comment" value={comment} maxLength={200} onChange={(_, value) => setComment(value)} />
          </label>
        </div>
      </ModalBody>
      <ModalFooter className="pt-review__foot">
        <Button onClick={() => onSave(confirmed, null, comment)} isDisabled={!ready} isLoading={busy}>Save</Button>
        <span className="pt-inline">
          <Button variant="secondary" onClick={() => onSave(confirmed, seconds, comment)} isDisabled={!ready || !timed}>
            Save, and go back by itself unless I confirm within {timed ? wait : '…'} s
          </Button>
          <TextInput id="review-wait" value={wait} onChange={(_, value) => setWait(value)} aria-label="Seconds to confirm within"
            className="pt-short" inputMode="numeric" validated={timed ? 'default' : 'error'} />
        </span>
        <Button variant="link" onClick={onClose}>Back</Button>
      </ModalFooter>
    </Modal>
  );
}
