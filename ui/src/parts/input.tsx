import type { ReactNode } from 'react';
import { FormGroup, FormHelperText } from 'pf/Form';
import { FormSelect, FormSelectOption } from 'pf/FormSelect';
import { HelperText, HelperTextItem } from 'pf/HelperText';
import { TextInput, type TextInputProps } from 'pf/TextInput';

/** A labelled field of a dialog, with what is wrong about it. */
export function Input({ id, label, error, help, value, onChange, ...rest }: {
  id: string; label: string; error?: string; help?: ReactNode; value: string; onChange: (value: string) => void;
} & Omit<TextInputProps, 'onChange' | 'ref' | 'value'>) {
  return (
    <FormGroup label={label} fieldId={id} isRequired={rest.isRequired}>
      <TextInput id={id} value={value} onChange={(_, v) => onChange(v)} validated={error ? 'error' : 'default'}
        aria-describedby={error || help ? `${id}-help` : undefined} {...rest} />
      <Help id={`${id}-help`} error={error} help={help} />
    </FormGroup>
  );
}

export function Choice<T extends string>({ id, label, options, error, help, value, onChange }: {
  id: string; label: string; options: readonly (readonly [T, string])[]; error?: string; help?: ReactNode; value: T; onChange: (value: T) => void;
}) {
  return (
    <FormGroup label={label} fieldId={id}>
      <FormSelect id={id} value={value} onChange={(_, v) => onChange(v as T)} validated={error ? 'error' : 'default'}>
        {options.map(([one, title]) => <FormSelectOption key={one} value={one} label={title} />)}
      </FormSelect>
      <Help id={`${id}-help`} error={error} help={help} />
    </FormGroup>
  );
}

function Help({ id, error, help }: { id: string; error?: string; help?: ReactNode }) {
  if (!error && !help) return null;
  return (
    <FormHelperText>
      <HelperText id={id} isLiveRegion>
        <HelperTextItem variant={error ? 'error' : 'default'}>{error ?? help}</HelperTextItem>
      </HelperText>
    </FormHelperText>
  );
}
