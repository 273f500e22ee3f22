import { Button } from 'pf/Button';
import { Modal, ModalBody, ModalFooter, ModalHeader, ModalVariant } from 'pf/Modal';
import { LogInForm } from './gate';

/** The session has ended, the page has not: what was entered there waits beneath. */
export function LogInAgain({ name, onEntered, onLeave }: {
  name: string; onEntered: () => Promise<void>; onLeave: () => void;
}) {
  return (
    <Modal isOpen variant={ModalVariant.small} aria-labelledby="again-title" aria-describedby="again-body">
      <ModalHeader title="Your session has ended" labelId="again-title" />
      <ModalBody id="again-body">
        <p className="pt-gap-below">Log in to go on. What you have entered is still here.</p>
        <LogInForm name={name} onEntered={onEntered} />
      </ModalBody>
      <ModalFooter>
        <Button variant="link" onClick={onLeave}>Leave, and discard what I have entered</Button>
      </ModalFooter>
    </Modal>
  );
}
