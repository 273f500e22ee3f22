import { useState } from 'react';
import { Button } from 'pf/Button';
import { Dropdown, DropdownItem, DropdownList } from 'pf/Dropdown';
import { Label } from 'pf/Label';
import { MenuToggle } from 'pf/MenuToggle';
import { PageSection } from 'pf/Page';
import MoreIcon from 'icons/rh-ui-ellipsis-vertical-icon';
import { patch, post, remove, type FieldError } from '../../api/client';
import type { Page, Role } from '../../api/types';
import { Dialog } from '../../parts/dialog';
import { Choice, Input } from '../../parts/input';
import { useQuery } from '../../parts/query';
import { Records, type Column } from '../../parts/records';
import { useMe } from '../../parts/session';
import { Loaded, When } from '../../parts/states';
import { tell } from '../../parts/toasts';
import { errorAt, useNewPassword } from './password';
import { colours, roles } from './roles';

interface Account { name: string; role: Role; created: string; second_factor: boolean }
type Deed = 'role' | 'password' | 'second' | 'remove';
interface DeedProps { account: Account; onClose: () => void; onDone: () => void }

const pathOf = (account: Account) => `/admins/${encodeURIComponent(account.name)}`;

function Add({ onClose, onDone }: { onClose: () => void; onDone: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const [errors, setErrors] = useState<FieldError[]>([]);
  const fresh = useNewPassword();
  const add = async () => {
    await post('/admins', { name, role, password: fresh.password });
    tell('success', `${name} may log in.`);
    onDone();
  };
  return (
    <Dialog title="Add an account" action="Add" ready={!!name && !!fresh.password} onClose={onClose} onDo={add} onErrors={setErrors}>
      <Input id="account-name" label="Name" value={name} onChange={setName} isRequired autoCapitalize="none" autoComplete="off" spellCheck={false} error={errorAt(errors, '/name')} />
      <Choice id="account-role" label="Role" options={roles} value={role} onChange={setRole} error={errorAt(errors, '/role')} />
      {fresh.fields(errorAt(errors, '/password'))}
    </Dialog>
  );
}

function ChangeRole({ account, onClose, onDone }: DeedProps) {
  const [role, setRole] = useState(account.role);
  const change = async () => {
    await patch(pathOf(account), { role });
    tell('success', `${account.name} is ${role} now.`);
    onDone();
  };
  return (
    <Dialog title={`Change the role of ${account.name}`} action="Change" ready={role !== account.role} onClose={onClose} onDo={change}>
      <Choice id="account-role" label="Role" options={roles} value={role} onChange={setRole} help="Their sessions end, and their tokens can do no more than the new role." />
    </Dialog>
  );
}

function ResetPassword({ account, onClose, onDone }: DeedProps) {
  const [errors, setErrors] = useState<FieldError[]>([]);
  const fresh = useNewPassword();
  const reset = async () => {
    await patch(pathOf(account), { password: fresh.password });
    tell('success', `The password of ${account.name} is changed, and their sessions have ended.`);
    onDone();
  };
  return (
    <Dialog title={`Reset the password of ${account.name}`} action="Reset" ready={!!fresh.password} onClose={onClose} onDo={reset} onErrors={setErrors}>
      <p>All sessions of the account end. Tell them the new password by a way that you trust.</p>
      {fresh.fields(errorAt(errors, '/password'))}
    </Dialog>
  );
}

function ResetSecond({ account, onClose, onDone }: DeedProps) {
  const reset = async () => {
    await patch(pathOf(account), { second_factor: false });
    tell('success', `${account.name} logs in by the password alone now.`);
    onDone();
  };
  return (
    <Dialog title={`Turn off the second factor of ${account.name}?`} action="Turn it off" danger onClose={onClose} onDo={reset}>
      <p>For who has lost the device and the recovery codes. Be sure that it is they who ask.</p>
    </Dialog>
  );
}

function Remove({ account, onClose, onDone }: DeedProps) {
  const act = async () => {
    await remove(pathOf(account));
    tell('success', `The account ${account.name} is removed.`);
    onDone();
  };
  return (
    <Dialog title={`Remove the account ${account.name}?`} action="Remove" danger onClose={onClose} onDo={act}>
      <p>Its sessions end and its tokens stop working, at once. What it did stays in the audit log.</p>
    </Dialog>
  );
}

const dialogs = { role: ChangeRole, password: ResetPassword, second: ResetSecond, remove: Remove };

function Menu({ account, onSelect }: { account: Account; onSelect: (deed: Deed) => void }) {
  const [open, setOpen] = useState(false);
  return (
    <Dropdown isOpen={open} onOpenChange={setOpen} popperProps={{ position: 'right' }}
      onSelect={(_, value) => { setOpen(false); onSelect(value as Deed); }}
      toggle={(ref) => (
        <MenuToggle ref={ref} variant="plain" isExpanded={open} onClick={() => setOpen(!open)} aria-label={`Actions for ${account.name}`} icon={<MoreIcon />} />
      )}>
      <DropdownList>
        <DropdownItem value="role">Change role</DropdownItem>
        <DropdownItem value="password">Reset password</DropdownItem>
        {account.second_factor && <DropdownItem value="second">Turn off the second factor</DropdownItem>}
        <DropdownItem value="remove" isDanger>Remove</DropdownItem>
      </DropdownList>
    </Dropdown>
  );
}

/** Who may log in. */
export function Accounts() {
  const me = useMe();
  const list = useQuery<Page<Account>>('/admins', 15000);
  const [adding, setAdding] = useState(false);
  const [deed, setDeed] = useState<[Deed, Account] | null>(null);
  const done = () => { setAdding(false); setDeed(null); list.reload(); };
  const Open = deed && dialogs[deed[0]];

  const columns: Column<Account>[] = [
    { title: 'Name', kind: 'head', cell: (row) => <>{row.name} {row.name === me.name && <Label isCompact variant="outline">you</Label>}</> },
    { title: 'Role', cell: (row) => <Label isCompact color={colours[row.role]}>{row.role}</Label> },
    { title: 'Second factor', cell: (row) => row.second_factor ? 'on' : 'off' },
    { title: 'Made', kind: 'tight', cell: (row) => <When at={row.created} /> },
    { title: 'Actions', kind: 'actions', cell: (row) => row.name !== me.name && <Menu account={row} onSelect={(one) => setDeed([one, row])} /> },
  ];
  return (
    <PageSection>
      <div className="pt-section-head"><h2>Accounts</h2><Button variant="secondary" onClick={() => setAdding(true)}>Add an account</Button></div>
      <Loaded query={list} what="the accounts">
        {(data) => <Records label="Accounts" columns={columns} rows={data.items} rowKey={(row) => row.name} />}
      </Loaded>
      {adding && <Add onClose={() => setAdding(false)} onDone={done} />}
      {deed && Open && <Open account={deed[1]} onClose={() => setDeed(null)} onDone={done} />}
    </PageSection>
  );
}
