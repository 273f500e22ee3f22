import { useState, type FormEvent } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { ActionGroup, Form, FormGroup, FormHelperText } from 'pf/Form';
import { HelperText, HelperTextItem } from 'pf/HelperText';
import { TextInput } from 'pf/TextInput';
import { ApiError, post, setCsrf, type FieldError } from '../api/client';
import { useQuery } from '../parts/query';
import { go } from '../parts/router';
import { Loading } from '../parts/states';
import { Gate } from './gate';

const PASSWORD_MIN = 8;

/** The first administrator, by the link that the start printed. */
export function SetUp({ onEntered }: { onEntered: () => Promise<void> }) {
  const [token] = useState(() => new URLSearchParams(window.location.search).get('token') ?? '');
  const link = useQuery<{ needed: boolean; valid: boolean }>('/setup', 0, { token });

  if (link.error) return <Gate title="The console does not answer"><Alert isInline variant="danger" title={link.error.message} /></Gate>;
  if (!link.data) return <Gate><Loading what="the set-up" /></Gate>;
  if (!link.data.valid) {
    return (
      <Gate title="This link is of no use">
        <p>It is spent, or it is of an earlier start. Log in, or make an account on the gateway’s host:</p>
        <p><code>postern admin add NAME</code></p>
        <Button onClick={() => go('/login', true)}>Log in</Button>
      </Gate>
    );
  }
  return <Gate title="The first administrator"><SetUpForm token={token} onEntered={onEntered} /></Gate>;
}

function SetUpForm({ token, onEntered }: { token: string; onEntered: () => Promise<void> }) {
  const [name, setName] = useState('admin');
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [errors, setErrors] = useState<FieldError[]>([]);
  const [wrong, setWrong] = useState('');
  const [busy, setBusy] = useState(false);
  const short = password !== '' && password.length < PASSWORD_MIN;
  const differs = again !== '' && again !== password;
  const of = (pointer: string) => errors.find((e) => e.pointer === pointer)?.detail;

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (short || again !== password) return;
    setBusy(true);
    setWrong('');
    setErrors([]);
    try {
      const answer = await post<{ csrf: string } | undefined>('/setup', { token, name, password });
      if (answer) setCsrf(answer.csrf);
      await onEntered();
    } catch (error) {
      if (error instanceof ApiError && error.errors.length) setErrors(error.errors);
      else setWrong(error instanceof ApiError ? error.message : String(error));
    } finally {
      setBusy(false);
    }
  };

  const help = (text: string | undefined, bad: boolean) => text && (
    <FormHelperText>
      <HelperText isLiveRegion><HelperTextItem variant={bad ? 'error' : 'default'}>{text}</HelperTextItem></HelperText>
    </FormHelperText>
  );
  return (
    <Form onSubmit={submit} aria-label="The first administrator">
      {wrong && <Alert isInline variant="danger" title={wrong} isLiveRegion />}
      <FormGroup label="Name" fieldId="name" isRequired>
        <TextInput id="name" value={name} onChange={(_, v) => setName(v)} isRequired
          autoComplete="username" autoCapitalize="none" spellCheck={false} autoFocus
          validated={of('/name') ? 'error' : 'default'} />
        {help(of('/name'), true)}
      </FormGroup>
      <FormGroup label="Password" fieldId="password" isRequired>
        <TextInput id="password" type="password" value={password} isRequired
          onChange={(_, v) => setPassword(v)} autoComplete="new-password"
          validated={of('/password') || short ? 'error' : 'default'} />
        {help(of('/password') ?? `At least ${PASSWORD_MIN} characters.`, !!of('/password') || short)}
      </FormGroup>
      <FormGroup label="The same again" fieldId="again" isRequired>
        <TextInput id="again" type="password" value={again} isRequired onChange={(_, v) => setAgain(v)}
          autoComplete="new-password" validated={differs ? 'error' : 'default'} />
        {help(differs ? 'The two passwords differ.' : undefined, true)}
      </FormGroup>
      <ActionGroup>
        <Button type="submit" isBlock isLoading={busy}
          isDisabled={busy || !name || !password || short || again !== password}>Make the account</Button>
      </ActionGroup>
    </Form>
  );
}
