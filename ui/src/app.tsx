import { useCallback, useEffect, useState } from 'react';
import { ApiError, get, setCsrf, setOnExpiry } from './api/client';
import type { Me } from './api/types';
import { Boundary } from './parts/boundary';
import { go, usePath } from './parts/router';
import { SessionContext } from './parts/session';
import { Loading } from './parts/states';
import { Toasts } from './parts/toasts';
import { Gate, LogIn, NobodyYet, Unreachable } from './shell/gate';
import { SetUp } from './shell/setup';
import { Shell } from './shell/shell';
import { LogInAgain } from './shell/again';

type State = 'asking' | 'in' | 'out' | 'nobody' | 'unreachable';

/** Who is here decides what is shown: the set-up, the log-in, or the console. */
export function App() {
  const path = usePath();
  const [state, setState] = useState<State>('asking');
  const [me, setMe] = useState<Me | null>(null);
  const [expired, setExpired] = useState(false);

  const enter = useCallback(async () => {
    try {
      const door = await get<{ needed: boolean; logged_in: boolean }>('/setup');
      if (!door.logged_in) {
        setState(door.needed ? 'nobody' : 'out');
        return;
      }
      const who = await get<Me>('/me');
      setCsrf(who.csrf);
      setMe(who);
      setExpired(false);
      setState('in');
      if (['/', '/login', '/setup'].includes(window.location.pathname)) go('/connections', true);
    } catch (error) {
      setState(error instanceof ApiError && error.status === 401 ? 'out' : 'unreachable');
    }
  }, []);

  useEffect(() => { void enter(); }, [enter]);
  useEffect(() => {
    setOnExpiry(() => { if (state === 'in') setExpired(true); });
    return () => setOnExpiry(() => {});
  }, [state]);

  const leave = useCallback(() => {
    setMe(null);
    setExpired(false);
    setState('out');
    go('/login', true);
  }, []);

  if (path === '/setup' && state !== 'in') return <SetUp onEntered={enter} />;
  switch (state) {
    case 'asking': return <Gate><Loading what="the console" /></Gate>;
    case 'unreachable': return <Unreachable onRetry={enter} />;
    case 'nobody': return <NobodyYet />;
    case 'out': return <LogIn onEntered={enter} />;
    case 'in': return me && (
      <SessionContext value={me}>
        <Boundary><Shell onLeave={leave} /></Boundary>
        {expired && <LogInAgain name={me.name} onEntered={enter} onLeave={leave} />}
        <Toasts />
      </SessionContext>
    );
  }
}
