import { useState, type FormEvent } from 'react';
import { Button } from 'pf/Button';
import { Card, CardBody, CardTitle } from 'pf/Card';
import { Checkbox } from 'pf/Checkbox';
import { Form } from 'pf/Form';
import { Label } from 'pf/Label';
import { TextInput } from 'pf/TextInput';
import { ApiError, post } from '../../api/client';
import type { Connections } from '../../api/types';
import { complaint, parseAddress } from '../../parts/network';
import { patchOf, type Draft } from './draft';
import { Help } from './field';

interface Step {
  step: number;
  at: string;
  rule: string;
  outcome: string;
  decisive: boolean;
  entry: string | null;
  comment: string | null;
  text: string;
}

interface Explanation {
  address: string;
  draft: boolean;
  decision: 'accept' | 'deny' | 'defer';
  rule: string | null;
  reply: { code: number; status: string | null; text: string };
  steps: Step[];
}

const LET_IN_STEPS = 'connection';

/** Would this address be let in? The answer of the code that decides, rule by rule. */
export function Probe({ draft, base, changed }: { draft: Draft; base: Connections; changed: boolean }) {
  const [address, setAddress] = useState('');
  const [withDraft, setWithDraft] = useState(true);
  const [answer, setAnswer] = useState<Explanation | null>(null);
  const [wrong, setWrong] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const bad = complaint(() => parseAddress(address));
    setWrong(bad);
    setAnswer(null);
    if (bad) return;
    setBusy(true);
    try {
      setAnswer(await post<Explanation>('/explain', {
        address: address.trim(), ...(changed && withDraft ? { patch: patchOf(draft, base) } : {}),
      }));
    } catch (error) {
      setWrong(error instanceof ApiError ? error.sentences.join(' ') : String(error));
    } finally {
      setBusy(false);
    }
  };
  const steps = answer?.steps.filter((one) => one.at === LET_IN_STEPS || one.decisive) ?? [];
  const refusal = answer?.steps.find((one) => one.at === LET_IN_STEPS && one.outcome === 'refused');
  const letIn = answer !== null && !refusal;
  return (
    <Card component="section" aria-labelledby="probe-title">
      <CardTitle component="h2"><span id="probe-title">Would this address be let in?</span></CardTitle>
      <CardBody>
        <Form onSubmit={(event) => void submit(event)} aria-label="Would this address be let in?" noValidate>
          <div>
            <div className="pt-inline">
              <TextInput id="probe" value={address} onChange={(_, value) => setAddress(value)} placeholder="192.0.2.1" className="pt-medium"
                aria-label="Address of a client" aria-describedby="probe-help" autoComplete="off" spellCheck={false} validated={wrong ? 'error' : 'default'} />
              <Button type="submit" variant="secondary" isLoading={busy} isDisabled={busy || address.trim() === ''}>Ask</Button>
              {changed && <Checkbox id="probe-draft" label="with my unsaved changes" isChecked={withDraft} onChange={(_, on) => setWithDraft(on)} />}
            </div>
            <Help id="probe-help" error={wrong} />
          </div>
          <div role="status">
            {answer && (
              <div className="pt-stack">
                <p>
                  <Label color={letIn ? 'green' : 'red'}>{letIn ? 'Let in' : 'Refused'}</Label>{' '}
                  <strong className="pt-mono">{answer.address}</strong>{answer.draft && ' under the unsaved changes'}
                  {!letIn && <>: <code>{answer.reply.code} {answer.reply.status} {answer.reply.text}</code></>}
                </p>
                <ol className="pt-steps">
                  {steps.map((one, i) => (
                    <li key={i} className={`pt-steps__${one.outcome}`}>
                      <strong>{one.rule}</strong>: {one.outcome}{one.entry && <> by <span className="pt-mono">{one.entry}</span></>}
                      <span className="pt-muted"> · {one.text}{one.comment && ` · ${one.comment}`}</span>
                    </li>
                  ))}
                </ol>
              </div>
            )}
          </div>
        </Form>
      </CardBody>
    </Card>
  );
}
