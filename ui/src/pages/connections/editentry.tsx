import { useState } from 'react';
import { Button } from 'pf/Button';
import { Form, FormGroup } from 'pf/Form';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { TextInput } from 'pf/TextInput';
import { fromExpiry, toExpiry } from './addform';
import type { NewEntry } from './draft';
import { Help } from './field';

/** Comment and expiry of an entry. */
export function EditEntry({ entry, onDone, onClose }: { entry: NewEntry; onDone: (entry: NewEntry) => void; onClose: () => void }) {
  const [comment, setComment] = useState(entry.comment);
  const [expires, setExpires] = useState(fromExpiry(entry.expires));
  const past = expires !== '' && new Date(expires) <= new Date();
  const done = () => {
    if (!past) onDone({ network: entry.network, comment: comment.trim(), expires: toExpiry(expires) });
  };
  return (
    <Modal isOpen variant="small" onClose={onClose} aria-labelledby="edit-title">
      <ModalHeader title={`Entry ${entry.network}`} labelId="edit-title" />
      <ModalBody>
        <Form id="edit-form" onSubmit={(event) => { event.preventDefault(); done(); }}>
          <FormGroup label="Comment" fieldId="edit-comment">
            <TextInput id="edit-comment" value={comment} maxLength={500} onChange={(_, v) => setComment(v)} autoFocus />
          </FormGroup>
          <FormGroup label="Expires" fieldId="edit-expires">
            <TextInput id="edit-expires" type="datetime-local" value={expires} onChange={(_, v) => setExpires(v)}
              validated={past ? 'error' : 'default'} aria-describedby="edit-expires-help" />
            <Help id="edit-expires-help" error={past ? 'This time has passed.' : null}>Empty: never.</Help>
          </FormGroup>
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button type="submit" form="edit-form" isDisabled={past}>Done</Button>
        <Button variant="link" onClick={onClose}>Cancel</Button>
      </ModalFooter>
    </Modal>
  );
}
