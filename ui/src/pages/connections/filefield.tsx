import { useRef } from 'react';
import { Button } from 'pf/Button';
import { FormGroup } from 'pf/Form';
import { InputGroup, InputGroupItem } from 'pf/InputGroup';
import { TextInput } from 'pf/TextInput';
import type { ReactNode } from 'react';

/** A file's name and Browse; a file may be dropped on it too. */
export function FileField({ id, label, accept, file, onFile, children, isDisabled = false }: {
  id: string; label: string; accept?: string; file: File | null; onFile: (file: File) => void; children?: ReactNode; isDisabled?: boolean;
}) {
  const input = useRef<HTMLInputElement>(null);
  const take = (files: FileList | null) => {
    const first = files?.[0];
    if (first && !isDisabled) onFile(first);
    if (input.current) input.current.value = ''; // the same file may be chosen again
  };
  return (
    <FormGroup label={label} fieldId={id}
      onDragOver={(event) => event.preventDefault()} onDrop={(event) => { event.preventDefault(); take(event.dataTransfer.files); }}>
      <InputGroup>
        <InputGroupItem isFill>
          <TextInput id={id} readOnlyVariant="default" value={file?.name ?? ''} placeholder="No file chosen" aria-describedby={`${id}-help`} />
        </InputGroupItem>
        <InputGroupItem>
          <Button variant="control" isDisabled={isDisabled} aria-label={`Browse for ${label}`} onClick={() => input.current?.click()}>Browse…</Button>
        </InputGroupItem>
        {children}
      </InputGroup>
      <input ref={input} type="file" hidden aria-hidden="true" tabIndex={-1} data-for={id} accept={accept} onChange={(event) => take(event.target.files)} />
    </FormGroup>
  );
}
