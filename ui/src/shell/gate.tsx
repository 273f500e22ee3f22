import { useEffect, useState, type FormEvent, type ReactNode } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Card, CardBody } from 'pf/Card';
import { Form, FormGroup, ActionGroup } from 'pf/Form';
import { TextInput } from 'pf/TextInput';
import { Title } from 'pf/Title';
import { ApiError, post, setCsrf } from '../api/client';
import { Mark } from './mark';

/** What stands before the console: one card in the middle. */
export function Gate({ title, children }: { title?: string; children: ReactNode }) {
  useEffect(() => { document.title = title ? `${title} · Postern` : 'Postern'; }, [title]);
  return (
    <main className="pt-gate">
      <div className="pt-gate__brand"><Mark /> Postern</div>
      <Card className="pt-gate__card">
        <CardBody>
          {title && <Title headingLevel="h1" size="xl">{title}</Title>}
          {children}
        </CardBody>
      </Card>
    </main>
  );
}

/** Name and password, or the password alone of somebody who was here before; and a code, once the
 * answer has asked for it. */
export function LogInForm({ name: fixed, onEntered }: { name?: string; onEntered: () => Promise<void> }) {
  const [name, setName] = useState(fixed ?? '');
  const [password, setPassword] = useState('');
  const [code, setCode] = useState<string | null>(null);
  const [wrong, setWrong] = useState('');
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      setCsrf((await post<{ csrf: string }>('/login', code ? { name, password, code } : { name, password })).csrf);
      await onEntered();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401 && error.errors[0]?.pointer === '/code') {
        setWrong(code ? `The code ${error.errors[0].detail}.` : '');
        setCode('');
      } else {
        setWrong(error instanceof ApiError ? error.message : String(error));
        setPassword('');
      }
    } finally {
      setBusy(false);
    }
  };

  return (
    <Form onSubmit={submit} aria-label="Log in">
      {wrong && <Alert isInline variant="danger" title={wrong} isLiveRegion />}
      <FormGroup label="Name" fieldId="name" isRequired>
        <TextInput id="name" name="name" value={name} onChange={(_, v) => setName(v)} isRequired
          readOnlyVariant={fixed ? 'default' : undefined} autoComplete="username" autoCapitalize="none"
          spellCheck={false} autoFocus={!fixed} />
      </FormGroup>
      <FormGroup label="Password" fieldId="password" isRequired>
        <TextInput id="password" name="password" type="password" value={password} isRequired
          onChange={(_, v) => setPassword(v)} autoComplete="current-password" autoFocus={!!fixed} />
      </FormGroup>
      {code !== null && (
        <FormGroup label="Code of the authenticator, or a recovery code" fieldId="code" isRequired>
          <TextInput id="code" name="code" value={code} onChange={(_, v) => setCode(v)} isRequired
            autoComplete="one-time-code" autoCapitalize="none" spellCheck={false} autoFocus />
        </FormGroup>
      )}
      <ActionGroup>
        <Button type="submit" isBlock isLoading={busy} isDisabled={busy || !name || !password || code === ''}>Log in</Button>
      </ActionGroup>
    </Form>
  );
}

export function LogIn({ onEntered }: { onEntered: () => Promise<void> }) {
  return (
    <Gate title="Log in">
      <LogInForm onEntered={onEntered} />
      <p className="pt-muted pt-gate__note">
        A forgotten password is replaced on the gateway’s host: <code>postern admin passwd NAME</code>
      </p>
    </Gate>
  );
}

export function NobodyYet() {
  return (
    <Gate title="Nobody has an account yet">
      <p>Open the link that the gateway printed when it started, on the line that begins
        with <code>setup</code>, or make the first account on its host:</p>
      <p><code>postern admin add NAME</code></p>
      <Button component="a" href="/login">I have made one: log in</Button>
    </Gate>
  );
}

export function Unreachable({ onRetry }: { onRetry: () => Promise<void> }) {
  return (
    <Gate title="The console does not answer">
      <p>It may be starting. Where it goes on like this, look on the gateway’s host:</p>
      <p><code>postern doctor</code></p>
      <Button onClick={() => void onRetry()}>Try again</Button>
    </Gate>
  );
}
