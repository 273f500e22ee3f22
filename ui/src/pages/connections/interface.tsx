import { Card, CardBody, CardTitle } from 'pf/Card';
import { Form } from 'pf/Form';
import { FormSelect, FormSelectOption } from 'pf/FormSelect';
import { Radio } from 'pf/Radio';
import { TextInput } from 'pf/TextInput';
import type { Interface, Page, Status } from '../../api/types';
import { number } from '../../parts/format';
import { useQuery } from '../../parts/query';
import type { Section } from './section';
import { Field, Help } from './field';

const RFC_MINUTES = 5;

/** The addresses of this host that can be listened on, and the one in force even if it is gone. */
function options(interfaces: Interface[], chosen: string): { value: string; label: string }[] {
  const known = interfaces.filter((one) => one.selectable && !one.loopback)
    .map((one) => ({ value: one.address, label: `${one.address} (${one.interface})` }));
  const all = [{ value: 'loopback', label: 'Loopback address' }, { value: 'all', label: 'All interfaces' }, ...known];
  if (!all.some((one) => one.value === chosen)) all.push({ value: chosen, label: `${chosen} (not on this host)` });
  return all;
}

export function SmtpInterface({ draft, set, errors, changed, readOnly }: Section) {
  const interfaces = useQuery<Page<Interface>>('/interfaces');
  const status = useQuery<Status>('/status');
  const of = (key: string) => errors[`/connections/interface/${key}`];
  const differs = (key: string) => changed.has(`/connections/interface/${key}`);
  const below = !of('idle_timeout_minutes') && Number(draft.idle) < RFC_MINUTES;
  const system = status.data?.sessions.system_limit;

  return (
    <Card component="section" aria-labelledby="interface-title">
      <CardTitle component="h2"><span id="interface-title">SMTP Interface</span></CardTitle>
      <CardBody>
        <Form isHorizontal onSubmit={(event) => event.preventDefault()}>
          <Field id="address" label="IP address" changed={differs('address')} error={of('address')}>
            <FormSelect id="address" value={draft.address} isDisabled={readOnly} className="pt-medium"
              validated={of('address') ? 'error' : 'default'} aria-describedby="address-help"
              onChange={(_, value) => set({ address: value })}>
              {options(interfaces.data?.items ?? [], draft.address).map((one) => <FormSelectOption key={one.value} {...one} />)}
            </FormSelect>
          </Field>
          <Field id="port" label="Port" changed={differs('port')} error={of('port')}>
            <TextInput id="port" value={draft.port} isDisabled={readOnly} className="pt-short" inputMode="numeric"
              validated={of('port') ? 'error' : 'default'} aria-describedby="port-help" onChange={(_, value) => set({ port: value })} />
          </Field>
          <Field id="idle" label="Disconnect after" changed={differs('idle_timeout_minutes')} error={of('idle_timeout_minutes')}
            help={below && 'RFC 5321 asks for five minutes: slow clients may be cut off.'}>
            <span className="pt-inline">
              <TextInput id="idle" value={draft.idle} isDisabled={readOnly} className="pt-short" inputMode="numeric"
                aria-label="Disconnect after minutes of inactivity" aria-describedby="idle-help"
                validated={of('idle_timeout_minutes') ? 'error' : below ? 'warning' : 'default'} onChange={(_, value) => set({ idle: value })} />
              minutes of inactivity
            </span>
          </Field>
          <Field id="limit" label="Simultaneous connections" role="radiogroup" changed={differs('max_connections')}
            help={system !== undefined && `The system allows ${number(system)}.`}>
            <Radio id="limit-none" name="limit" label="No limit" isChecked={!draft.limited} isDisabled={readOnly} onChange={() => set({ limited: false })} />
            <span className="pt-inline">
              <Radio id="limit-some" name="limit" label="Allow up to" isChecked={draft.limited} isDisabled={readOnly} onChange={() => set({ limited: true })} />
              <TextInput id="max" value={draft.max} isDisabled={readOnly || !draft.limited} className="pt-short" inputMode="numeric"
                aria-label="Allow up to connections" aria-describedby="max-help"
                validated={of('max_connections') ? 'error' : 'default'} onChange={(_, value) => set({ max: value })} />
              connections
            </span>
            <Help id="max-help" error={of('max_connections')} />
          </Field>
        </Form>
      </CardBody>
    </Card>
  );
}

