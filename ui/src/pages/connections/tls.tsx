import { useEffect, useState } from 'react';
import { Button } from 'pf/Button';
import { Card, CardBody, CardTitle } from 'pf/Card';
import { Checkbox } from 'pf/Checkbox';
import { FormGroup } from 'pf/Form';
import { InputGroupItem } from 'pf/InputGroup';
import { TextInput } from 'pf/TextInput';
import { ApiError, post } from '../../api/client';
import { useQuery } from '../../parts/query';
import { Loaded } from '../../parts/states';
import { CertificateFacts, type Certificate } from './certificate';
import { Changed, Help } from './field';
import { FileField } from './filefield';
import type { Section } from './section';
import { Served, type Server } from './served';

type Part = 'ca_certificate' | 'private_key' | 'certificate';
const parts: [Part, string][] = [
  ['ca_certificate', 'CA certificate'], ['private_key', 'Private key'], ['certificate', 'SMTP server certification'],
];
const names = Object.fromEntries(parts) as Record<Part, string>;

/** PEM as it is, DER in base64: as the API takes it. */
async function content(file: File): Promise<string> {
  const octets = new Uint8Array(await file.arrayBuffer());
  const text = new TextDecoder('utf-8', { fatal: false }).decode(octets);
  if (text.includes('-----BEGIN') || /^[\x20-\x7e\s]*$/.test(text)) return text;
  return btoa(Array.from(octets, (octet) => String.fromCharCode(octet)).join(''));
}

function Upload({ onStaged }: { onStaged: (certificate: Certificate) => void }) {
  const [files, setFiles] = useState<Partial<Record<Part, File>>>({});
  const [sent, setSent] = useState<Partial<Record<Part, File>>>({});
  const [passphrase, setPassphrase] = useState('');
  const [asked, setAsked] = useState(false);
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [busy, setBusy] = useState(false);
  const [done, setDone] = useState<Certificate | null>(null);

  const check = async (ready: Partial<Record<Part, File>>) => {
    setErrors({});
    setDone(null);
    if (!ready.certificate || !ready.private_key) return;
    setBusy(true);
    try {
      const body: Record<string, string> = passphrase ? { passphrase } : {};
      for (const [part] of parts) {
        const file = ready[part];
        if (file) body[part] = await content(file);
      }
      const staged = await post<Certificate>('/tls/certificates', body);
      setDone(staged);
      onStaged(staged);
    } catch (error) {
      const problem = error instanceof ApiError ? error : new ApiError(0, String(error));
      const found = Object.fromEntries(problem.errors.map((one) => [one.pointer.slice(1), one.detail]));
      if (problem.errors.some((one) => /passphrase/i.test(one.detail + one.pointer))) setAsked(true);
      setErrors(problem.errors.length ? found : { certificate: problem.message });
      setSent({});
    } finally {
      setBusy(false);
    }
  };
  const upload = (part: Part) => {
    const ready = { ...sent, [part]: files[part] };
    setSent(ready);
    void check(ready);
  };
  const waits = (part: Part): string | undefined => {
    if (!sent[part] || done || busy) return undefined;
    if (part === 'certificate') return `Checked together with the ${names.private_key.toLowerCase()}: upload that too.`;
    if (part === 'private_key') return `Checked together with the ${names.certificate}: upload that too.`;
    return `Completes the chain of the ${names.certificate}: upload that and its private key too.`;
  };
  return (
    <div className="pt-stack">
      {parts.map(([part, label]) => (
        <div key={part}>
          <FileField id={part} label={label} file={files[part] ?? null} accept=".pem,.crt,.cer,.der,.key,.p7b"
            onFile={(file) => { setFiles({ ...files, [part]: file }); setSent({ ...sent, [part]: undefined }); setDone(null); }}>
            <InputGroupItem>
              <Button variant="control" isDisabled={!files[part] || busy} isLoading={busy && !!sent[part]} onClick={() => upload(part)} aria-label={`Upload ${label}`}>Upload</Button>
            </InputGroupItem>
          </FileField>
          <Help id={`${part}-help`} error={errors[part]}>{waits(part) ?? (done && sent[part] ? 'Uploaded and checked.' : undefined)}</Help>
        </div>
      ))}
      {asked && (
        <FormGroup label="Passphrase of the private key" fieldId="passphrase">
          <TextInput id="passphrase" type="password" value={passphrase} autoComplete="off" onChange={(_, value) => setPassphrase(value)} className="pt-medium" />
          <Help id="passphrase-help" error={errors.passphrase}>Then upload the key again.</Help>
        </FormGroup>
      )}
      {done && <CertificateFacts certificate={done} title="Uploaded, in force once you save" />}
    </div>
  );
}

const keyKind = (one: Certificate) => one.key_type.split(' ')[0];

/** The new one in place of that with the same kind of key; one with another kind stays beside it. */
function beside(staged: Certificate, server: Server | undefined): string | string[] {
  const others = server?.configured.certificates.filter((one) => keyKind(one) !== keyKind(staged)) ?? [];
  return others.length ? [...others.map((one) => one.id), staged.id] : staged.id;
}

export function TransportLayerSecurity({ draft, set, errors, changed, readOnly, revision }: Section & { revision: string }) {
  const server = useQuery<Server>('/tls/server');
  const { reload } = server;
  useEffect(() => reload(), [revision, reload]);
  const of = (key: string) => errors[`/connections/tls/${key}`];
  return (
    <Card component="section" aria-labelledby="tls-title">
      <CardTitle component="h2"><span id="tls-title">Transport Layer Security</span></CardTitle>
      <CardBody>
        <div className="pt-stack">
          <div>
            <span className="pt-inline">
              <Checkbox id="incoming" label="Enable Incoming Transport Layer Security" isChecked={draft.incoming} isDisabled={readOnly}
                onChange={(_, on) => set({ incoming: on })} aria-describedby="incoming-help" />
              <Changed when={changed.has('/connections/tls/incoming')} />
            </span>
            <Help id="incoming-help" error={of('incoming')} />
            <span className="pt-inline pt-indent">
              <Checkbox id="required" label="Only accept SMTP connection by TLS" isChecked={draft.required && draft.incoming}
                isDisabled={readOnly || !draft.incoming} onChange={(_, on) => set({ required: on })} aria-describedby="required-help" />
              <Changed when={changed.has('/connections/tls/incoming_required')} />
            </span>
            <Help id="required-help" error={of('incoming_required')} />
          </div>
          <div className="pt-columns">
            {!readOnly && (
              <div>
                <Upload onStaged={(staged) => set({ certificate: beside(staged, server.data) })} />
                <Changed when={changed.has('/connections/tls/certificate')} />
                <Help id="certificate-error" error={of('certificate')} />
              </div>
            )}
            <div><Loaded query={server} what="the certificates">{(data) => <Served server={data} onAgain={server.reload} />}</Loaded></div>
          </div>
          <div>
            <span className="pt-inline">
              <Checkbox id="outgoing" label="Enable Outgoing Transport Layer Security" isChecked={draft.outgoing} isDisabled={readOnly} onChange={(_, on) => set({ outgoing: on })} />
              <Changed when={changed.has('/connections/tls/outgoing')} />
            </span>
          </div>
        </div>
      </CardBody>
    </Card>
  );
}
