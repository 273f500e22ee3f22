import { useEffect, useState } from 'react';
import { Banner } from 'pf/Banner';
import { Button } from 'pf/Button';
import { post, remove } from '../api/client';
import type { Pending } from '../api/types';
import { number } from '../parts/format';
import { useIsAdministrator } from '../parts/session';
import { tell, tellError } from '../parts/toasts';

/** Asked anew where something has happened that may have made or ended a change that waits. */
const listeners = new Set<() => void>();
export const pendingChanged = (): void => listeners.forEach((listener) => listener());
export function usePendingChanged(then: () => void): void {
  useEffect(() => {
    listeners.add(then);
    return () => { listeners.delete(then); };
  }, [then]);
}

function useSecondsLeft(until: string): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 250);
    return () => window.clearInterval(timer);
  }, []);
  return Math.max(0, Math.ceil((new Date(until).getTime() - now) / 1000));
}

/** A change that goes back by itself: how long it has, wherever one is in the console. */
export function PendingChange({ pending, onEnded }: { pending: Pending; onEnded: () => void }) {
  const left = useSecondsLeft(pending.confirm_by);
  const may = useIsAdministrator();
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    if (left > 0) return undefined;
    const timer = window.setInterval(onEnded, 1000);
    onEnded();
    return () => window.clearInterval(timer);
  }, [left > 0, onEnded]);

  const end = async (how: () => Promise<unknown>, done: string) => {
    setBusy(true);
    try {
      await how();
      tell('success', done);
    } catch (error) {
      tellError('That came too late, or could not be done', error);
    } finally {
      setBusy(false);
      pendingChanged();
    }
  };

  return (
    <Banner color="yellow" className="pt-pending" screenReaderText="Warning">
      <div className="pt-pending__row" role="region" aria-label="Change to be confirmed">
        <span>
          Revision {number(pending.revision)} is in force, and goes back to
          revision {number(pending.before)} {left > 0
            ? <>in <strong className="pt-pending__left" role="timer">{number(left)} s</strong> unless it is confirmed.</>
            : 'now.'}
        </span>
        {may && left > 0 && (
          <span className="pt-pending__actions">
            <Button size="sm" isDisabled={busy} onClick={() => void end(() => post('/settings/confirm'), 'The change is confirmed and stays.')}>Keep the change</Button>
            <Button size="sm" variant="secondary" isDisabled={busy} onClick={() => void end(() => remove('/settings/confirm'), 'The former settings are in force again.')}>Go back now</Button>
          </span>
        )}
      </div>
    </Banner>
  );
}
