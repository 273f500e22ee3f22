import { useState } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { Label } from 'pf/Label';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { PageSection } from 'pf/Page';
import { post, remove, type FieldError } from '../../api/client';
import type { Page, Role } from '../../api/types';
import { Copy } from '../../parts/copy';
import { Dialog } from '../../parts/dialog';
import { Choice, Input } from '../../parts/input';
import { useQuery } from '../../parts/query';
import { Records, type Column } from '../../parts/records';
import { useIsAdministrator, useMe } from '../../parts/session';
import { Loaded, When } from '../../parts/states';
import { tell } from '../../parts/toasts';
import { errorAt } from './password';
import { colours, upTo } from './roles';

interface Token { id: string; name: string; owner: string; role: Role; created: string; expires: string | null }

const DAY_MS = 86400000;
const lives = [['30', '30 days'], ['90', '90 days'], ['365', 'One year'], ['date', 'Until a day of choice'], ['never', 'No end']] as const;
type Life = typeof lives[number][0];

/** RFC 3339, null for never; undefined where the day is none that is to come. */
function expiryOf(life: Life, day: string): string | null | undefined {
  if (life === 'never') return null;
  const at = life === 'date' ? new Date(`${day}T23:59:59`) : new Date(Date.now() + Number(life) * DAY_MS);
  return Number.isNaN(at.getTime()) || at.getTime() <= Date.now() ? undefined : at.toISOString();
}

function Make({ onClose, onMade }: { onClose: () => void; onMade: (made: Token & { token: string }) => void }) {
  const me = useMe();
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const [life, setLife] = useState<Life>('90');
  const [day, setDay] = useState('');
  const [errors, setErrors] = useState<FieldError[]>([]);
  const expires = expiryOf(life, day);
  return (
    <Dialog title="Make a token" action="Make" ready={!!name && expires !== undefined} onClose={onClose} onErrors={setErrors}
      onDo={async () => onMade(await post<Token & { token: string }>('/tokens', { name, role, expires }))}>
      <Input id="token-name" label="Name" value={name} onChange={setName} isRequired spellCheck={false} autoComplete="off"
        error={errorAt(errors, '/name')} help="What it is for, such as the program that will use it." />
      <Choice id="token-role" label="Role" options={upTo(me.role)} value={role} onChange={setRole} error={errorAt(errors, '/role')} help="Give it no more than it needs." />
      <Choice id="token-life" label="Good for" options={lives} value={life} onChange={setLife} error={errorAt(errors, '/expires')} />
      {life === 'date' && <Input id="token-day" label="Last day" type="date" value={day} onChange={setDay} isRequired error={day && expires === undefined ? 'That day is over.' : undefined} />}
    </Dialog>
  );
}

function Made({ made, onClose }: { made: Token & { token: string }; onClose: () => void }) {
  return (
    <Modal isOpen variant="medium" aria-labelledby="made-title" aria-describedby="made-body">
      <ModalHeader title={`The token ${made.name}`} labelId="made-title" />
      <ModalBody id="made-body">
        <div className="pt-stack">
          <Alert isInline variant="warning" title="Copy it now">It is shown this one time; only its digest is kept.</Alert>
          <div className="pt-secret"><code aria-label="Token">{made.token}</code><Copy text={made.token} what="the token" /></div>
          <p className="pt-muted">Programs send it as <code>Authorization: Bearer TOKEN</code>.</p>
        </div>
      </ModalBody>
      <ModalFooter><Button onClick={onClose}>I have copied it</Button></ModalFooter>
    </Modal>
  );
}

function Revoke({ token, onClose, onDone }: { token: Token; onClose: () => void; onDone: () => void }) {
  const act = async () => {
    await remove(`/tokens/${encodeURIComponent(token.id)}`);
    tell('success', `The token ${token.name} is revoked.`);
    onDone();
  };
  return (
    <Dialog title={`Revoke the token ${token.name}?`} action="Revoke" danger onClose={onClose} onDo={act}>
      <p>Programs that use it are refused at once. It cannot be had back.</p>
    </Dialog>
  );
}

/** What programs log in with: one's own, for administrators those of all. */
export function Tokens() {
  const everybody = useIsAdministrator();
  const list = useQuery<Page<Token>>('/tokens', 15000);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<(Token & { token: string }) | null>(null);
  const [revoked, setRevoked] = useState<Token | null>(null);

  const columns: Column<Token>[] = [
    { title: 'Name', kind: 'head', cell: (row) => row.name },
    ...(everybody ? [{ title: 'Owner', cell: (row: Token) => row.owner }] : []),
    { title: 'Role', cell: (row) => <Label isCompact color={colours[row.role]}>{row.role}</Label> },
    { title: 'Made', kind: 'tight', cell: (row) => <When at={row.created} /> },
    { title: 'Expires', kind: 'tight', cell: (row) => !row.expires ? 'never' : (
      <><When at={row.expires} /> {new Date(row.expires).getTime() < Date.now() && <Label isCompact color="orange">expired</Label>}</>
    ) },
    { title: 'Actions', kind: 'actions', cell: (row) => (
      <Button variant="secondary" size="sm" isDanger aria-label={`Revoke ${row.name}`} onClick={() => setRevoked(row)}>Revoke</Button>
    ) },
  ];
  return (
    <PageSection>
      <div className="pt-section-head"><h2>Tokens</h2><Button variant="secondary" onClick={() => setMaking(true)}>Make a token</Button></div>
      <Loaded query={list} what="the tokens">
        {(data) => data.items.length === 0
          ? <EmptyState titleText="There are no tokens" headingLevel="h3"><EmptyStateBody>A monitoring system or a script needs one; make it with the role <em>viewer</em> unless it changes something.</EmptyStateBody></EmptyState>
          : <Records label="Tokens" columns={columns} rows={data.items} rowKey={(row) => row.id} />}
      </Loaded>
      {making && <Make onClose={() => setMaking(false)} onMade={(one) => { setMaking(false); setMade(one); list.reload(); }} />}
      {made && <Made made={made} onClose={() => setMade(null)} />}
      {revoked && <Revoke token={revoked} onClose={() => setRevoked(null)} onDone={() => { setRevoked(null); list.reload(); }} />}
    </PageSection>
  );
}
