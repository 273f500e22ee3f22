import { useCallback, useEffect, useRef, useState } from 'react';
import { ApiError, get, type Options } from '../api/client';

export interface Query<T> {
  data: T | undefined;
  error: ApiError | undefined;
  loading: boolean;
  reload: () => void;
}

/** Nobody is there: asking on would keep a forgotten session open for ever. */
const IDLE_MS = 10 * 60 * 1000;
let lastInput = Date.now();
for (const event of ['pointerdown', 'keydown', 'focus'])
  window.addEventListener(event, () => { lastInput = Date.now(); }, { capture: true, passive: true });

export const isAttended = (): boolean =>
  !document.hidden && Date.now() - lastInput < IDLE_MS;

/**
 * GET, and again every `everyMs` while somebody looks. A path of null asks nothing. The former data
 * stay while new ones come, and after an error.
 */
export function useQuery<T>(path: string | null, everyMs = 0, query?: Options['query']): Query<T> {
  const [data, setData] = useState<T>();
  const [error, setError] = useState<ApiError>();
  const [loading, setLoading] = useState(path !== null);
  const [turn, setTurn] = useState(0);
  const parameters = JSON.stringify(query ?? {});
  const asked = useRef('');

  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    const what = path + parameters;
    if (asked.current !== what) setLoading(true);
    asked.current = what;
    get<T>(path, { query: JSON.parse(parameters), signal: stop.signal })
      .then((got) => { setData(got); setError(undefined); setLoading(false); })
      .catch((failure: unknown) => {
        if (stop.signal.aborted) return;
        setError(failure instanceof ApiError ? failure : new ApiError(0, String(failure)));
        setLoading(false);
      });
    return () => stop.abort();
  }, [path, parameters, turn]);

  const reload = useCallback(() => setTurn((n) => n + 1), []);
  useEffect(() => {
    if (!everyMs || path === null) return undefined;
    const timer = window.setInterval(() => { if (isAttended()) reload(); }, everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs, path, reload]);
  return { data, error, loading, reload };
}
