import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { PageSection } from 'pf/Page';
import { ApiError, ask, get, patch } from '../../api/client';
import type { Connections as InForce, Page, Settings } from '../../api/types';
import { number } from '../../parts/format';
import { isAttended } from '../../parts/query';
import { useGuard } from '../../parts/router';
import { useIsAdministrator } from '../../parts/session';
import { Loading, PageHead } from '../../parts/states';
import { tell, tellError } from '../../parts/toasts';
import { pendingChanged } from '../../shell/pending';
import { ConnectionControl } from './control';
import { changes, complaints, draftOf, isChanged, listChanged, patchOf, rebase, type Draft, type ListDraft } from './draft';
import { SmtpInterface } from './interface';
import { MergeNotice, type Merged } from './merge';
import { Probe } from './probe';
import { dryRun, needsLook, Review } from './review';
import { TransportLayerSecurity } from './tls';

const LOOK_MS = 5000;

interface Base {
  connections: InForce;
  etag: string;
}

async function load(): Promise<Base> {
  const { data, etag } = await ask<Settings>('GET', '/settings', { query: { lists: false } });
  return { connections: data.connections, etag: etag ?? '' };
}

const revisionOf = (etag: string) => etag.replace(/"/g, '');

interface Revision {
  revision: number;
  author: string | null;
  comment: string | null;
}

/** Entries to be removed that somebody else has removed already are no errors: they are forgotten. */
function withoutGone(list: ListDraft, error: ApiError, name: string): ListDraft | null {
  const keys = [...list.remove.keys()];
  const gone = error.errors.map((one) => new RegExp(`^/connections/control/${name}_list/remove/(\\d+)$`).exec(one.pointer)?.[1])
    .flatMap((index) => (index === undefined ? [] : [keys[Number(index)] ?? '']));
  if (gone.length === 0) return null;
  return { ...list, remove: new Map([...list.remove].filter(([network]) => !gone.includes(network))) };
}

export default function Connections() {
  const [base, setBase] = useState<Base | null>(null);
  const [draft, setDraft] = useState<Draft | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);

  const start = useCallback(async () => {
    try {
      const got = await load();
      setBase(got);
      setDraft(draftOf(got.connections));
      setFailure(null);
    } catch (error) {
      setFailure(error instanceof ApiError ? error : new ApiError(0, String(error)));
    }
  }, []);
  useEffect(() => { void start(); }, [start]);

  return (
    <>
      <PageHead title="Connections">Where this gateway listens, who may connect, and over which encryption.</PageHead>
      {failure && !base && (
        <PageSection>
          <Alert isInline variant="danger" title="Cannot load the settings" actionLinks={<Button variant="link" isInline onClick={() => void start()}>Try again</Button>}>
            {failure.message}
          </Alert>
        </PageSection>
      )}
      {base && draft ? <Editor base={base} setBase={setBase} draft={draft} setDraft={setDraft} /> : !failure && <Loading what="the settings" />}
    </>
  );
}

function Editor({ base, setBase, draft, setDraft }: {
  base: Base; setBase: (base: Base) => void; draft: Draft; setDraft: (draft: Draft) => void;
}) {
  const readOnly = !useIsAdministrator();
  const [refused, setRefused] = useState<Record<string, string>>({});
  const [merged, setMerged] = useState<Merged | null>(null);
  const [reviewing, setReviewing] = useState(false);
  const [busy, setBusy] = useState(false);
  const [leaving, setLeaving] = useState<(() => void) | null>(null);
  const latest = useRef({ base, draft });
  latest.current = { base, draft };

  const dirty = isChanged(draft, base.connections);
  const mine = useMemo(() => complaints(draft), [draft]);
  const errors = useMemo(() => ({ ...refused, ...mine }), [refused, mine]);
  const changed = useMemo(() => new Set(changes(draft, base.connections).map((one) => one.pointer)), [draft, base]);
  const set = useCallback((part: Partial<Draft>) => {
    setDraft({ ...latest.current.draft, ...part });
    setRefused({});
  }, [setDraft]);
  useGuard(useMemo(() => (dirty ? (go) => setLeaving(() => go) : null), [dirty]));

  /** Somebody else may have saved: what is untouched here follows, what is not is merged, and said. */
  const follow = useCallback(async () => {
    const now = await load();
    const { base: old, draft: before } = latest.current;
    if (now.etag === old.etag) return;
    if (!isChanged(before, old.connections)) {
      setDraft(draftOf(now.connections));
    } else {
      const { items } = await get<Page<Revision>>('/settings/revisions', { query: { limit: 1 } });
      const { draft: next, taken, clashes } = rebase(before, old.connections, now.connections);
      setMerged({
        revision: number(Number(revisionOf(now.etag))), author: items[0]?.author ?? null, comment: items[0]?.comment ?? null,
        taken, clashes, listsToo: listChanged(next.lists.deny) || listChanged(next.lists.permit),
      });
      setReviewing(false);
      setDraft(next);
    }
    setBase(now);
  }, [setBase, setDraft]);

  useEffect(() => {
    const timer = window.setInterval(() => { if (isAttended() && !busy) follow().catch(() => {}); }, LOOK_MS);
    return () => window.clearInterval(timer);
  }, [follow, busy]);

  const refuse = useCallback((error: ApiError) => {
    setReviewing(false);
    if (error.status === 412) {
      follow().catch((failure: unknown) => tellError('Cannot load the settings', failure));
      return;
    }
    const { draft: now } = latest.current;
    const deny = withoutGone(now.lists.deny, error, 'deny'), permit = withoutGone(now.lists.permit, error, 'permit');
    if (deny || permit) {
      setDraft({ ...now, lists: { deny: deny ?? now.lists.deny, permit: permit ?? now.lists.permit } });
      tell('warning', 'Some entries that you wanted to remove are not in the list any more', ['They are taken out of your changes. Save again.']);
      return;
    }
    setRefused(Object.fromEntries(error.errors.map((one) => [one.pointer, one.detail])));
    tellError('The changes were not saved, and nothing has changed', error);
  }, [follow, setDraft]);

  const store = async (confirm: string[], within: number | null, comment: string) => {
    setBusy(true);
    try {
      const body = { ...patchOf(draft, base.connections), ...(confirm.length ? { confirm } : {}) };
      const done = await patch<{ revision: number; warnings: { detail: string }[] }>('/settings', body,
        { ifMatch: base.etag, query: { confirm_within: within ?? undefined, comment } });
      const now = await load();
      setBase(now);
      setDraft(draftOf(now.connections));
      setMerged(null);
      setReviewing(false);
      setRefused({});
      tell(done.warnings.length ? 'warning' : 'success', `Saved: revision ${number(done.revision)} is in force.`, done.warnings.map((one) => one.detail));
      pendingChanged();
    } catch (error) {
      if (error instanceof ApiError) refuse(error);
      else throw error;
    } finally {
      setBusy(false);
    }
  };

  /** Saves at once what concerns nobody; all else is shown before. */
  const save = async () => {
    setBusy(true);
    try {
      if (needsLook(await dryRun(draft, base.connections, base.etag))) setReviewing(true);
      else await store([], null, '');
    } catch (error) {
      if (error instanceof ApiError && error.confirmable.length) setReviewing(true);
      else if (error instanceof ApiError) refuse(error);
      else throw error;
    } finally {
      setBusy(false);
    }
  };
  const cancel = () => {
    setDraft(draftOf(base.connections));
    setRefused({});
    setMerged(null);
  };
  const wrong = Object.keys(mine).length;
  const section = { draft, set, errors, changed, readOnly };
  return (
    <>
      <PageSection>
        <div className="pt-stack pt-sections">
          {readOnly && <Alert isInline variant="info" title="You may look at these settings; an administrator may change them." />}
          {merged && (
            <MergeNotice merged={merged} draft={draft} onClose={() => setMerged(null)}
              onTake={(part, clash) => { set(part); setMerged({ ...merged, clashes: merged.clashes.filter((one) => one !== clash) }); }} />
          )}
          <SmtpInterface {...section} />
          <ConnectionControl {...section} revision={base.etag} />
          <Probe draft={draft} base={base.connections} changed={dirty && wrong === 0} />
          <TransportLayerSecurity {...section} revision={base.etag} />
        </div>
      </PageSection>
      {!readOnly && (
        <div className="pt-foot" role="region" aria-label="Save or cancel">
          <Button onClick={() => void save()} isDisabled={!dirty || wrong > 0 || busy} isLoading={busy && !reviewing}>Save</Button>
          <Button variant="secondary" onClick={cancel} isDisabled={!dirty || busy}>Cancel</Button>
          <Button variant="secondary" onClick={() => setReviewing(true)} isDisabled={!dirty || wrong > 0 || busy}>Review changes</Button>
          <span className="pt-foot__state" role="status">
            {wrong > 0 ? 'Something cannot be saved as it is: look for what is marked in red.' : dirty ? 'There are unsaved changes.' : ''}
          </span>
        </div>
      )}
      {reviewing && (
        <Review draft={draft} base={base.connections} etag={base.etag} busy={busy} onRefused={refuse} onClose={() => setReviewing(false)}
          onSave={(confirm, within, comment) => void store(confirm, within, comment)} />
      )}
      {leaving && (
        <Modal isOpen variant="small" onClose={() => setLeaving(null)} aria-labelledby="leave-title">
          <ModalHeader title="Leave without saving?" labelId="leave-title" />
          <ModalBody>The changes on this page are not saved and would be lost.</ModalBody>
          <ModalFooter>
            <Button variant="danger" onClick={() => { setLeaving(null); leaving(); }}>Leave, and discard them</Button>
            <Button variant="link" onClick={() => setLeaving(null)}>Stay</Button>
          </ModalFooter>
        </Modal>
      )}
    </>
  );
}
