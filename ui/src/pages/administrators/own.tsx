import { useState } from 'react';
import { Button } from 'pf/Button';
import { Label } from 'pf/Label';
import { PageSection } from 'pf/Page';
import { post, put, setCsrf, type FieldError } from '../../api/client';
import type { Me } from '../../api/types';
import { Dialog } from '../../parts/dialog';
import { number } from '../../parts/format';
import { Input } from '../../parts/input';
import { useQuery } from '../../parts/query';
import { Loaded } from '../../parts/states';
import { tell } from '../../parts/toasts';
import { errorAt, useNewPassword } from './password';
import { colours } from './roles';
import { Disable, Enrol } from './second';

type Own = Me & { second_factor: boolean; recovery_codes: number };

function ChangePassword({ onClose }: { onClose: () => void }) {
  const [password, setPassword] = useState('');
  const [errors, setErrors] = useState<FieldError[]>([]);
  const fresh = useNewPassword();
  const change = async () => {
    const answer = await put<{ csrf: string } | undefined>('/me/password', { password, new_password: fresh.password });
    if (answer) setCsrf(answer.csrf);
    tell('success', 'Your password is changed. Your other sessions have ended.');
    onClose();
  };
  return (
    <Dialog title="Change your password" action="Change" ready={!!password && !!fresh.password} onClose={onClose} onDo={change} onErrors={setErrors}>
      <Input id="old-password" label="Your password now" type="password" autoComplete="current-password" isRequired value={password} onChange={setPassword} error={errorAt(errors, '/password')} />
      {fresh.fields(errorAt(errors, '/new_password'))}
    </Dialog>
  );
}

function LogOutEverywhere({ onClose }: { onClose: () => void }) {
  const act = async () => {
    await post('/logout', undefined, { query: { everywhere: true } });
    window.location.assign('/login');
  };
  return (
    <Dialog title="Log out everywhere?" action="Log out everywhere" danger onClose={onClose} onDo={act}>
      <p>All sessions of your account end, this one too. Tokens stay.</p>
    </Dialog>
  );
}

/** One's own account. */
export function Own() {
  const me = useQuery<Own>('/me');
  const [open, setOpen] = useState<'password' | 'enrol' | 'disable' | 'everywhere' | null>(null);
  const close = () => setOpen(null);
  const changed = () => { close(); me.reload(); };
  return (
    <PageSection>
      <div className="pt-section-head"><h2>Your account</h2></div>
      <Loaded query={me} what="your account">
        {(data) => (
          <>
            <dl className="pt-facts-grid pt-gap-below">
              <dt>Name</dt><dd>{data.name}</dd>
              <dt>Role</dt><dd><Label isCompact color={colours[data.role]}>{data.role}</Label></dd>
              <dt>Second factor</dt>
              <dd>
                {data.second_factor
                  ? <><Label isCompact color="green">on</Label> {number(data.recovery_codes)} recovery codes left</>
                  : <><Label isCompact color="grey">off</Label> Add one, so that a stolen password alone opens nothing.</>}
              </dd>
            </dl>
            <div className="pt-tools">
              <Button variant="secondary" onClick={() => setOpen('password')}>Change password</Button>
              {data.second_factor
                ? <Button variant="secondary" onClick={() => setOpen('disable')}>Turn the second factor off</Button>
                : <Button variant="secondary" onClick={() => setOpen('enrol')}>Add a second factor</Button>}
              <Button variant="secondary" isDanger onClick={() => setOpen('everywhere')}>Log out everywhere</Button>
            </div>
          </>
        )}
      </Loaded>
      {open === 'password' && <ChangePassword onClose={close} />}
      {open === 'enrol' && <Enrol onClose={close} onDone={changed} />}
      {open === 'disable' && <Disable onClose={close} onDone={changed} />}
      {open === 'everywhere' && <LogOutEverywhere onClose={close} />}
    </PageSection>
  );
}
