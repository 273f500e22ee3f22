import { useSyncExternalStore } from 'react';
import { Alert, AlertActionCloseButton, AlertGroup } from 'pf/Alert';
import { ApiError } from '../api/client';

type Variant = 'success' | 'info' | 'warning' | 'danger';

interface Toast {
  id: number;
  variant: Variant;
  title: string;
  details: string[];
}

let toasts: Toast[] = [];
let serial = 0;
const listeners = new Set<() => void>();

function set(next: Toast[]): void {
  toasts = next;
  listeners.forEach((listener) => listener());
}

const dismiss = (id: number) => set(toasts.filter((toast) => toast.id !== id));

/** Tells something; good news goes by itself, bad stays until it is closed. */
export function tell(variant: Variant, title: string, details: string[] = []): void {
  set([...toasts.slice(-4), { id: ++serial, variant, title, details }]);
}

/** Tells what went wrong; a session that has ended is told by the log-in that comes up. */
export function tellError(title: string, error: unknown): void {
  if (error instanceof ApiError && error.status === 401) return;
  tell('danger', title, error instanceof ApiError ? error.sentences : [String(error)]);
}

export function Toasts() {
  const shown = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, () => toasts);
  return (
    <AlertGroup hasAnimations isToast isLiveRegion aria-label="Messages">
      {shown.map((toast) => (
        <Alert key={toast.id} variant={toast.variant} title={toast.title}
          timeout={toast.variant === 'success' || toast.variant === 'info' ? 8000 : false}
          onTimeout={() => dismiss(toast.id)}
          actionClose={<AlertActionCloseButton title={`Close: ${toast.title}`} onClose={() => dismiss(toast.id)} />}>
          {toast.details.map((line, i) => <p key={i}>{line}</p>)}
        </Alert>
      ))}
    </AlertGroup>
  );
}
