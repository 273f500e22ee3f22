import { createContext, useContext } from 'react';
import type { Me } from '../api/types';

export const SessionContext = createContext<Me | null>(null);

export function useMe(): Me {
  const me = useContext(SessionContext);
  if (!me) throw new Error('outside of a session');
  return me;
}

/** Settings, accounts, tokens of others. */
export const useIsAdministrator = (): boolean => useMe().role === 'administrator';
/** The queue. */
export const useIsOperator = (): boolean => useMe().role !== 'viewer';
