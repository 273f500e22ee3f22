import type { Connections, Entry, ListName, Mode } from '../../api/types';
import { number } from '../../parts/format';

/** What one is about to change, apart from what is in force. */

export interface NewEntry {
  network: string;
  comment: string;
  expires: string | null;
}

export interface ImportReport {
  added: number;
  duplicate: number;
  normalised: number;
  covered: number;
  contradicted: number;
  error_count: number;
  errors: { line: number; text: string; reason: string }[];
  remarks: { line: number; text: string; network: string; normalised: boolean; covered: boolean; contradicted: boolean }[];
  total: number;
}

export interface StagedFile {
  names: string[];
  text: string;
  replace: boolean;
  validOnly: boolean;
  report: ImportReport;
}

export interface ListDraft {
  add: Map<string, NewEntry>;
  remove: Map<string, Entry>;
  file: StagedFile | null;
}

export interface Draft {
  address: string;
  port: string;
  idle: string;
  limited: boolean;
  max: string;
  mode: Mode;
  lists: Record<ListName, ListDraft>;
  incoming: boolean;
  required: boolean;
  certificate: string | string[] | null;
  outgoing: boolean;
}

export const DEFAULT_LIMIT = '1000';
export const emptyList = (): ListDraft => ({ add: new Map(), remove: new Map(), file: null });

export function draftOf(c: Connections): Draft {
  return {
    address: c.interface.address,
    port: String(c.interface.port),
    idle: String(c.interface.idle_timeout_minutes),
    limited: c.interface.max_connections !== null,
    max: c.interface.max_connections === null ? DEFAULT_LIMIT : String(c.interface.max_connections),
    mode: c.control.mode,
    lists: { deny: emptyList(), permit: emptyList() },
    incoming: c.tls.incoming,
    required: c.tls.incoming_required,
    certificate: c.tls.certificate,
    outgoing: c.tls.outgoing,
  };
}

/* ---- what is in force and the draft, key by key ---- */

interface Key {
  pointer: string;
  label: string;
  /** As the document has it. */
  read: (c: Connections) => unknown;
  wanted: (d: Draft) => unknown;
  show: (value: unknown) => string;
  /** Takes the value of the document into the draft. */
  take: (d: Draft, c: Connections) => Partial<Draft>;
}

const addresses: Record<string, string> = { loopback: 'Loopback address', all: 'All interfaces' };
export const modes: Record<Mode, string> = {
  accept_all_except: 'Accept all, except the following list',
  deny_all_except: 'Deny all, except the following list',
};
const yes = (value: unknown) => (value ? 'on' : 'off');
const plain = (value: unknown) => (typeof value === 'number' ? number(value) : String(value));
/** A number, or the text where it is none: the server says what is wrong with it then. */
const numeric = (text: string): number | string => (/^\d+$/.test(text.trim()) ? Number(text) : text);

const keys: Key[] = [
  { pointer: '/connections/interface/address', label: 'IP address', read: (c) => c.interface.address,
    wanted: (d) => d.address, show: (v) => addresses[String(v)] ?? String(v),
    take: (_, c) => ({ address: c.interface.address }) },
  { pointer: '/connections/interface/port', label: 'Port', read: (c) => c.interface.port,
    wanted: (d) => numeric(d.port), show: (v) => String(v), take: (_, c) => ({ port: draftOf(c).port }) },
  { pointer: '/connections/interface/idle_timeout_minutes', label: 'Disconnect after minutes of inactivity',
    read: (c) => c.interface.idle_timeout_minutes, wanted: (d) => numeric(d.idle), show: plain,
    take: (_, c) => ({ idle: draftOf(c).idle }) },
  { pointer: '/connections/interface/max_connections', label: 'Simultaneous connections',
    read: (c) => c.interface.max_connections, wanted: (d) => (d.limited ? numeric(d.max) : null),
    show: (v) => (v === null ? 'No limit' : plain(v)),
    take: (_, c) => ({ limited: draftOf(c).limited, max: draftOf(c).max }) },
  { pointer: '/connections/control/mode', label: 'Connection control', read: (c) => c.control.mode,
    wanted: (d) => d.mode, show: (v) => modes[v as Mode], take: (_, c) => ({ mode: c.control.mode }) },
  { pointer: '/connections/tls/incoming', label: 'Incoming Transport Layer Security',
    read: (c) => c.tls.incoming, wanted: (d) => d.incoming, show: yes, take: (_, c) => ({ incoming: c.tls.incoming }) },
  { pointer: '/connections/tls/incoming_required', label: 'Only accept SMTP connection by TLS',
    read: (c) => c.tls.incoming_required, wanted: (d) => d.incoming && d.required, show: yes,
    take: (_, c) => ({ required: c.tls.incoming_required }) },
  { pointer: '/connections/tls/certificate', label: 'SMTP server certification',
    read: (c) => c.tls.certificate, wanted: (d) => d.certificate,
    show: (v) => (v === null ? 'none' : [v].flat().join(', ')), take: (_, c) => ({ certificate: c.tls.certificate }) },
  { pointer: '/connections/tls/outgoing', label: 'Outgoing Transport Layer Security',
    read: (c) => c.tls.outgoing, wanted: (d) => d.outgoing, show: yes, take: (_, c) => ({ outgoing: c.tls.outgoing }) },
];

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

export interface Change {
  pointer: string;
  label: string;
  from: string;
  to: string;
}

export function changes(draft: Draft, base: Connections): Change[] {
  return keys.filter((key) => !same(key.read(base), key.wanted(draft)))
    .map((key) => ({ pointer: key.pointer, label: key.label, from: key.show(key.read(base)), to: key.show(key.wanted(draft)) }));
}

export const listChanged = (list: ListDraft): boolean => list.add.size > 0 || list.remove.size > 0 || list.file !== null;

export const isChanged = (draft: Draft, base: Connections): boolean =>
  changes(draft, base).length > 0 || listChanged(draft.lists.deny) || listChanged(draft.lists.permit);

/* ---- as the API takes it ---- */

function listPatch(list: ListDraft): object | undefined {
  if (!listChanged(list)) return undefined;
  return {
    add: [...list.add.values()].map((e) => ({
      network: e.network,
      ...(e.comment ? { comment: e.comment } : {}),
      ...(e.expires ? { expires: e.expires } : {}),
    })),
    remove: [...list.remove.keys()],
    ...(list.file ? { file: { text: list.file.text, replace: list.file.replace, valid_only: list.file.validOnly } } : {}),
  };
}

/** The merge patch: what differs, the lists as what is added and removed. */
export function patchOf(draft: Draft, base: Connections): Record<string, unknown> {
  const connections: Record<string, Record<string, unknown>> = {};
  const set = (pointer: string, value: unknown) => {
    const [, , section = '', key = ''] = pointer.split('/');
    (connections[section] ??= {})[key] = value;
  };
  for (const key of keys)
    if (!same(key.read(base), key.wanted(draft))) set(key.pointer, key.wanted(draft));
  for (const name of ['deny', 'permit'] as const) {
    const list = listPatch(draft.lists[name]);
    if (list) set(`/connections/control/${name}_list`, list);
  }
  return { connections };
}

/* ---- what is wrong with it, as far as can be told here ---- */

function range(text: string, low: number, high: number): string | undefined {
  const good = /^\d+$/.test(text.trim()) && Number(text) >= low && Number(text) <= high;
  return good ? undefined : `Enter a whole number from ${number(low)} to ${number(high)}.`;
}

export function complaints(draft: Draft): Record<string, string> {
  const found: Record<string, string | undefined> = {
    '/connections/interface/port': /^\d+$/.test(draft.port.trim()) && Number(draft.port) >= 1 && Number(draft.port) <= 65535
      ? undefined : 'Enter a whole number from 1 to 65535.',
    '/connections/interface/idle_timeout_minutes': range(draft.idle, 1, 1440),
    '/connections/interface/max_connections': draft.limited ? range(draft.max, 1, 1000000) : undefined,
    '/connections/tls/incoming': draft.incoming && draft.certificate === null
      ? 'Upload a certificate and its private key first.' : undefined,
  };
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => !!entry[1]));
}

/* ---- two people at once ---- */

export interface Clash extends Change {
  /** Takes what the other one has saved. */
  theirs: (d: Draft) => Partial<Draft>;
}

/**
 * What others have saved meanwhile comes into the draft wherever one has not changed the same value;
 * where one has, one's own stays, and is named.
 */
export function rebase(draft: Draft, old: Connections, now: Connections): { draft: Draft; taken: Change[]; clashes: Clash[] } {
  const taken: Change[] = [], clashes: Clash[] = [];
  let next = draft;
  for (const key of keys) {
    const before = key.read(old), theirs = key.read(now), mine = key.wanted(draft);
    if (same(before, theirs) || same(theirs, mine)) continue;
    if (same(before, mine)) {
      next = { ...next, ...key.take(next, now) };
      taken.push({ pointer: key.pointer, label: key.label, from: key.show(before), to: key.show(theirs) });
    } else {
      clashes.push({ pointer: key.pointer, label: key.label, from: key.show(theirs), to: key.show(mine), theirs: (d) => key.take(d, now) });
    }
  }
  return { draft: next, taken, clashes };
}
