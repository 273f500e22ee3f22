import { useState } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { post, put, remove, setCsrf, type FieldError } from '../../api/client';
import { Dialog } from '../../parts/dialog';
import { Input } from '../../parts/input';
import { Copy } from '../../parts/copy';
import { tell } from '../../parts/toasts';
import { errorAt } from './password';

interface Offer { key: string; uri: string }

const grouped = (key: string) => key.match(/.{1,4}/g)?.join(' ') ?? key;

function Password({ value, onChange, errors }: { value: string; onChange: (value: string) => void; errors: FieldError[] }) {
  return (
    <Input id="own-password" label="Your password" type="password" autoComplete="current-password" isRequired
      value={value} onChange={onChange} error={errorAt(errors, '/password')} />
  );
}

function Code({ value, onChange, errors, help }: { value: string; onChange: (value: string) => void; errors: FieldError[]; help: string }) {
  return (
    <Input id="own-code" label="Code" autoComplete="one-time-code" inputMode="text" spellCheck={false} isRequired
      value={value} onChange={onChange} error={errorAt(errors, '/code')} help={help} />
  );
}

/** Password, key, first code, recovery codes. */
export function Enrol({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [password, setPassword] = useState('');
  const [offer, setOffer] = useState<Offer | null>(null);
  const [code, setCode] = useState('');
  const [errors, setErrors] = useState<FieldError[]>([]);
  const [spares, setSpares] = useState<string[] | null>(null);

  const confirm = async () => {
    const answer = await put<{ recovery_codes: string[]; csrf?: string }>('/me/second-factor', { code: code.replaceAll(' ', '') });
    if (answer.csrf) setCsrf(answer.csrf);
    setSpares(answer.recovery_codes);
  };
  if (spares) return <RecoveryCodes codes={spares} onClose={onDone} />;
  if (!offer) {
    return (
      <Dialog title="Add a second factor" action="Next" ready={!!password} onClose={onClose} onErrors={setErrors}
        onDo={async () => setOffer(await post<Offer>('/me/second-factor', { password }))}>
        <p>From then on a log-in needs a code of six digits too, from an authenticator on your phone or in your password manager.</p>
        <Password value={password} onChange={setPassword} errors={errors} />
      </Dialog>
    );
  }
  return (
    <Dialog title="Add it to your authenticator" action="Turn it on" ready={code.replaceAll(' ', '').length === 6} onClose={onClose} onErrors={setErrors} onDo={confirm}>
      <p>On this device, <a href={offer.uri}>open it in your authenticator</a>. On another, enter this key there by hand
        (by time, six digits, 30 seconds):</p>
      <div className="pt-secret"><code aria-label="Key">{grouped(offer.key)}</code><Copy text={offer.key} what="the key" /></div>
      <Code value={code} onChange={setCode} errors={errors} help="The six digits that it shows now. The clocks of both must be right." />
    </Dialog>
  );
}

function RecoveryCodes({ codes, onClose }: { codes: string[]; onClose: () => void }) {
  return (
    <Modal isOpen variant="small" aria-labelledby="spares-title" aria-describedby="spares-body">
      <ModalHeader title="The second factor is on" labelId="spares-title" />
      <ModalBody id="spares-body">
        <div className="pt-stack">
          <Alert isInline variant="warning" title="Keep these recovery codes, away from the device">
            Each opens your account once when the device is lost. They are shown this one time.
          </Alert>
          <ul className="pt-codes" aria-label="Recovery codes">{codes.map((code) => <li key={code}>{code}</li>)}</ul>
          <div><Copy text={codes.join('\n')} what="the recovery codes" /></div>
        </div>
      </ModalBody>
      <ModalFooter><Button onClick={onClose}>I have kept them</Button></ModalFooter>
    </Modal>
  );
}

export function Disable({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const [errors, setErrors] = useState<FieldError[]>([]);
  const act = async () => {
    const answer = await remove<{ csrf: string } | undefined>('/me/second-factor', { body: { password, code: code.replaceAll(' ', '') } });
    if (answer) setCsrf(answer.csrf);
    tell('success', 'The second factor is off.');
    onDone();
  };
  return (
    <Dialog title="Turn the second factor off?" action="Turn it off" danger ready={!!password && !!code} onClose={onClose} onErrors={setErrors} onDo={act}>
      <p>Then your password alone opens your account. Its recovery codes are void.</p>
      <Password value={password} onChange={setPassword} errors={errors} />
      <Code value={code} onChange={setCode} errors={errors} help="From the authenticator, or one of the recovery codes." />
    </Dialog>
  );
}
