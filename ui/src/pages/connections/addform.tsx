import { useState, type FormEvent } from 'react';
import { Button } from 'pf/Button';
import { ExpandableSection } from 'pf/ExpandableSection';
import { Form, FormGroup } from 'pf/Form';
import { FormSelect, FormSelectOption } from 'pf/FormSelect';
import { Radio } from 'pf/Radio';
import { TextInput } from 'pf/TextInput';
import { complaint, group, parseAddress, parseMask, single, type Family } from '../../parts/network';
import { Help } from './field';
import type { NewEntry } from './draft';

/** A local time of <input type="datetime-local"> as the API wants it. */
export const toExpiry = (local: string): string | null => (local ? new Date(local).toISOString() : null);
export function fromExpiry(expires: string | null): string {
  if (!expires) return '';
  const at = new Date(expires);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

/** Single computer or group of computers; >> puts it into the list. */
export function AddForm({ onAdd }: { onAdd: (entry: NewEntry) => void }) {
  const [kind, setKind] = useState<'single' | 'group'>('single');
  const [family, setFamily] = useState<Family>(4);
  const [address, setAddress] = useState('');
  const [mask, setMask] = useState('');
  const [comment, setComment] = useState('');
  const [expires, setExpires] = useState('');
  const [tried, setTried] = useState(false);

  const wrongAddress = complaint(() => (kind === 'single' ? single(address) : parseAddress(address, family)));
  const wrongMask = kind === 'group' ? complaint(() => parseMask(mask, family)) : null;
  const past = expires !== '' && new Date(expires) <= new Date();
  const good = !wrongAddress && !wrongMask && !past;
  const made = good && kind === 'group' ? group(address, mask, family) : null;

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (!good) return;
    onAdd({ network: made?.network ?? single(address), comment: comment.trim(), expires: toExpiry(expires) });
    setAddress('');
    setMask('');
    setComment('');
    setExpires('');
    setTried(false);
    document.getElementById('entry-address')?.focus();
  };
  const shown = (wrong: string | null, text: string) => (tried || text !== '' ? wrong : null);

  return (
    <Form className="pt-add" onSubmit={submit} aria-label="Add to the list" noValidate>
      <FormGroup role="radiogroup" fieldId="kind" label="Add" className="pt-add__kind">
        <Radio id="kind-single" name="kind" label="Single computer" isChecked={kind === 'single'} onChange={() => setKind('single')} />
        <Radio id="kind-group" name="kind" label="Group of computers" isChecked={kind === 'group'} onChange={() => setKind('group')} />
      </FormGroup>
      {kind === 'group' && (
        <FormGroup label="IP version" fieldId="family">
          <FormSelect id="family" value={family} onChange={(_, value) => { setFamily(Number(value) as Family); setMask(''); }}>
            <FormSelectOption value={4} label="IPv4" />
            <FormSelectOption value={6} label="IPv6" />
          </FormSelect>
        </FormGroup>
      )}
      <FormGroup label={kind === 'single' ? 'IP address' : 'Subnet address'} fieldId="entry-address">
        <TextInput id="entry-address" value={address} onChange={(_, v) => setAddress(v)} autoComplete="off" spellCheck={false}
          placeholder={kind === 'single' || family === 4 ? '192.0.2.1' : '2001:db8::'} aria-describedby="entry-address-help"
          validated={shown(wrongAddress, address) ? 'error' : 'default'} />
        <Help id="entry-address-help" error={shown(wrongAddress, address)} />
      </FormGroup>
      {kind === 'group' && (
        <FormGroup label={family === 4 ? 'Mask or prefix' : 'Prefix'} fieldId="entry-mask">
          <TextInput id="entry-mask" value={mask} onChange={(_, v) => setMask(v)} autoComplete="off" spellCheck={false}
            placeholder={family === 4 ? '255.255.255.0' : '32'} aria-describedby="entry-mask-help"
            validated={shown(wrongMask, mask) ? 'error' : 'default'} />
          <Help id="entry-mask-help" error={shown(wrongMask, mask)}>{made?.cleared && `Becomes ${made.network}: host bits are cleared.`}</Help>
        </FormGroup>
      )}
      <ExpandableSection toggleText="Comment and expiry">
        <FormGroup label="Comment" fieldId="entry-comment">
          <TextInput id="entry-comment" value={comment} maxLength={500} onChange={(_, v) => setComment(v)} autoComplete="off" />
        </FormGroup>
        <FormGroup label="Expires" fieldId="entry-expires">
          <TextInput id="entry-expires" type="datetime-local" value={expires} onChange={(_, v) => setExpires(v)} aria-describedby="entry-expires-help"
            validated={past ? 'error' : 'default'} />
          <Help id="entry-expires-help" error={past ? 'This time has passed.' : null} />
        </FormGroup>
      </ExpandableSection>
      <Button type="submit" variant="secondary" aria-label=">> Add to the list" className="pt-add__go">{'>>'}</Button>
    </Form>
  );
}
