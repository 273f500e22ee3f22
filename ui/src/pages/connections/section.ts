import type { Draft } from './draft';

/** What each part of the page works on. */
export interface Section {
  draft: Draft;
  set: (part: Partial<Draft>) => void;
  /** By JSON pointer. */
  errors: Record<string, string>;
  /** The pointers of what differs from what is in force. */
  changed: Set<string>;
  readOnly: boolean;
}
