import { useState, type ReactNode } from 'react';
import type { FieldError } from '../../api/client';
import { Input } from '../../parts/input';

const MIN = 8;

/** A new password, twice. `password` is null until both are the same and long enough. */
export function useNewPassword(): { password: string | null; fields: (error?: string) => ReactNode } {
  const [first, setFirst] = useState('');
  const [again, setAgain] = useState('');
  const short = first !== '' && [...first].length < MIN;
  const differs = again !== '' && again !== first;
  return {
    password: first && !short && again === first ? first : null,
    fields: (error) => (
      <>
        <Input id="new-password" label="New password" type="password" autoComplete="new-password" isRequired value={first} onChange={setFirst}
          error={error ?? (short ? `At least ${MIN} characters.` : undefined)} help={`At least ${MIN} characters.`} />
        <Input id="new-password-again" label="The same again" type="password" autoComplete="new-password" isRequired value={again} onChange={setAgain}
          error={differs ? 'The two passwords differ.' : undefined} />
      </>
    ),
  };
}

export const errorAt = (errors: FieldError[], pointer: string): string | undefined =>
  errors.find((one) => one.pointer === pointer)?.detail;
