import type { ReactNode } from 'react';
import { FormGroup, FormHelperText } from 'pf/Form';
import { HelperText, HelperTextItem } from 'pf/HelperText';
import { Label } from 'pf/Label';

/** What is wrong with a field, or what it is for; read out with it. */
export function Help({ id, error, children }: { id: string; error?: string | null; children?: ReactNode }) {
  if (!error && !children) return null;
  return (
    <FormHelperText>
      <HelperText id={id} isLiveRegion>
        <HelperTextItem variant={error ? 'error' : 'default'}>{error || children}</HelperTextItem>
      </HelperText>
    </FormHelperText>
  );
}

/** Marks what differs from what is in force. */
export function Changed({ when }: { when: boolean }) {
  return when ? <Label isCompact color="blue" className="pt-changed">changed</Label> : null;
}

export function Field({ id, label, changed = false, error, help, children, role }: {
  id: string; label: string; changed?: boolean; error?: string | null; help?: ReactNode; children: ReactNode; role?: 'radiogroup' | 'group';
}) {
  return (
    <FormGroup label={label} fieldId={id} role={role} labelInfo={<Changed when={changed} />}>
      {children}
      <Help id={`${id}-help`} error={error}>{help}</Help>
    </FormGroup>
  );
}
