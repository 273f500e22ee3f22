import { useState } from 'react';
import { Button } from 'pf/Button';
import CopyIcon from 'icons/rh-ui-copy-icon';
import { tell } from './toasts';

/** Copies where the browser allows it: by HTTPS, and on loopback. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      window.setTimeout(() => setDone(false), 3000);
    } catch {
      tell('warning', 'The browser does not allow it. Mark the text and copy it by hand.');
    }
  };
  return (
    <Button variant="secondary" size="sm" icon={<CopyIcon />} onClick={() => void copy()} aria-label={done ? `Copied ${what}` : `Copy ${what}`}>
      <span aria-live="polite">{done ? 'Copied' : 'Copy'}</span>
    </Button>
  );
}
