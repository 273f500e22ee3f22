import type { Role } from '../../api/types';

/** The least first. */
export const roles: readonly (readonly [Role, string])[] = [
  ['viewer', 'Viewer: may look'],
  ['operator', 'Operator: may work on the queue too'],
  ['administrator', 'Administrator: may do everything'],
];

export const colours = { administrator: 'purple', operator: 'blue', viewer: 'grey' } as const;

/** What one with that role may give away. */
export function upTo(role: Role): typeof roles {
  const at = roles.findIndex(([one]) => one === role);
  return roles.slice(0, at + 1);
}
