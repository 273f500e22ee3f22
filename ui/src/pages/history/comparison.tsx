import { useEffect, useMemo, useState } from 'react';
import { Button } from 'pf/Button';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { NumberInput } from 'pf/NumberInput';
import { Switch } from 'pf/Switch';
import { ChangeList } from '../../parts/changelist';
import { differences } from '../../parts/changes';
import { useQuery, type Query } from '../../parts/query';
import { Loaded, Loading, When } from '../../parts/states';
import type { Revision } from './index';

export type Full = Revision & { document: unknown };

/** Waits a moment, so that not each press of a button asks. */
function useSettled(value: number): number {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(value), 250);
    return () => window.clearTimeout(timer);
  }, [value]);
  return settled;
}

/** A revision once it is the one that was asked for. */
const arrived = (query: Query<Full>, revision: number) =>
  query.data?.revision === revision ? query.data : undefined;

function Chosen({ label, value, newest, onChange }: { label: string; value: number; newest: number; onChange: (value: number) => void }) {
  const within = (n: number) => Math.min(newest, Math.max(1, Math.trunc(n) || 1));
  return (
    <div className="pt-tools__field">
      <label htmlFor={`compare-${label}`}>{label}</label>
      <NumberInput value={value} min={1} max={newest} inputProps={{ id: `compare-${label}` }} inputAriaLabel={`${label} revision`} widthChars={5}
        minusBtnAriaLabel={`${label} the former revision`} plusBtnAriaLabel={`${label} the next revision`}
        onMinus={() => onChange(within(value - 1))} onPlus={() => onChange(within(value + 1))}
        onChange={(event) => onChange(within(Number((event.target as HTMLInputElement).value)))} />
    </div>
  );
}

function Raw({ from, to }: { from: Full; to: Full }) {
  return (
    <div className="pt-raw">
      {[from, to].map((one) => (
        <div key={one.revision}>
          <h3>Revision {one.revision}</h3>
          <pre tabIndex={0} aria-label={`Document of revision ${one.revision}`}>{JSON.stringify(one.document, null, 2)}</pre>
        </div>
      ))}
    </div>
  );
}

export function Differences({ from, to }: { from: Full; to: Full }) {
  const changes = useMemo(() => differences(from.document, to.document), [from, to]);
  if (changes.length === 0) return <p>The two are the same.</p>;
  return <ChangeList changes={changes} />;
}

export function Comparison({ from: first, to: second, newest, onClose }: {
  from: number; to: number; newest: number; onClose: () => void;
}) {
  const [from, setFrom] = useState(first);
  const [to, setTo] = useState(second);
  const [raw, setRaw] = useState(false);
  const a = useSettled(from);
  const b = useSettled(to);
  const before = useQuery<Full>(`/settings/revisions/${a}`);
  const after = useQuery<Full>(`/settings/revisions/${b}`);
  const failed = before.error ? before : after;
  const one = arrived(before, from);
  const other = arrived(after, to);

  return (
    <Modal isOpen variant="large" onClose={onClose} aria-labelledby="compare-title" aria-describedby="compare-body">
      <ModalHeader title={`From revision ${from} to revision ${to}`} labelId="compare-title"
        description={other && <>{other.author}, <When at={other.time} />{other.comment && `: ${other.comment}`}</>} />
      <ModalBody id="compare-body">
        <div className="pt-tools">
          <Chosen label="From" value={from} newest={newest} onChange={setFrom} />
          <Chosen label="To" value={to} newest={newest} onChange={setTo} />
          <Button variant="secondary" onClick={() => { setFrom(to); setTo(from); }}>Swap</Button>
          <span className="pt-tools__end"><Switch id="compare-raw" label="As JSON" isChecked={raw} onChange={(_, on) => setRaw(on)} /></span>
        </div>
        {failed.error ? <Loaded query={failed} what="the revision">{() => null}</Loaded>
          : !one || !other ? <Loading what="the revisions" />
          : raw ? <Raw from={one} to={other} /> : <Differences from={one} to={other} />}
      </ModalBody>
      <ModalFooter><Button onClick={onClose}>Close</Button></ModalFooter>
    </Modal>
  );
}
