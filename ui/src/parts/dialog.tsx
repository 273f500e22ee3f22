import { useId, useState, type ReactNode } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Form } from 'pf/Form';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { ApiError, type FieldError } from '../api/client';

interface Props {
  title: string;
  /** What the button says: a verb. */
  action: string;
  danger?: boolean;
  wide?: boolean;
  /** False: something is missing. */
  ready?: boolean;
  onClose: () => void;
  /** What is asked for; errors are shown here, and the dialog stays. */
  onDo: () => Promise<void>;
  /** The errors that stand at a field of the dialog: they are not said again above. */
  onErrors?: (errors: FieldError[]) => void;
  /** True: the error was taken care of. */
  onError?: (error: ApiError) => boolean;
  children: ReactNode;
}

/** Asks before something is done, or for what it needs. */
export function Dialog({ title, action, danger, wide, ready = true, onClose, onDo, onErrors, onError, children }: Props) {
  const id = useId();
  const [busy, setBusy] = useState(false);
  const [wrong, setWrong] = useState<string[]>([]);

  const submit = async () => {
    if (busy || !ready) return;
    setBusy(true);
    setWrong([]);
    onErrors?.([]);
    try {
      await onDo();
    } catch (error) {
      const known = error instanceof ApiError ? error : new ApiError(0, String(error));
      if (!onError?.(known)) {
        onErrors?.(known.errors);
        setWrong(onErrors && known.errors.length ? [known.message] : known.sentences);
      }
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal isOpen variant={wide ? 'medium' : 'small'} onClose={onClose} aria-labelledby={`${id}-title`} aria-describedby={`${id}-body`}>
      <ModalHeader title={title} labelId={`${id}-title`} titleIconVariant={danger ? 'warning' : undefined} />
      <ModalBody id={`${id}-body`}>
        <Form id={`${id}-form`} onSubmit={(event) => { event.preventDefault(); void submit(); }}>
          {wrong.length > 0 && (
            <Alert isInline variant="danger" title={wrong[0]} isLiveRegion>
              {wrong.slice(1).map((line) => <p key={line}>{line}</p>)}
            </Alert>
          )}
          {children}
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button type="submit" form={`${id}-form`} variant={danger ? 'danger' : 'primary'} isLoading={busy} isDisabled={busy || !ready}>{action}</Button>
        <Button variant="link" onClick={onClose}>Cancel</Button>
      </ModalFooter>
    </Modal>
  );
}
