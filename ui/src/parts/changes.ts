/** Differences of two settings documents, as the audit log tells them too. */

export interface Change {
  pointer: string;
  before?: unknown;
  after?: unknown;
  removed?: unknown[];
  added?: unknown[];
  before_count?: number;
  after_count?: number;
}

type Node = Record<string, unknown>;

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const escaped = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1');

/** The same text for the same value, whatever the order of its members. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (isNode(value)) return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
  return JSON.stringify(value) ?? 'null';
}

/** What `some` has and `others` have not, as often as that is so. */
function without(some: unknown[], others: unknown[]): unknown[] {
  const left = new Map<string, number>();
  for (const other of others) {
    const key = canonical(other);
    left.set(key, (left.get(key) ?? 0) + 1);
  }
  return some.filter((one) => {
    const key = canonical(one);
    const n = left.get(key) ?? 0;
    if (n) left.set(key, n - 1);
    return n === 0;
  });
}

export function differences(before: unknown, after: unknown, pointer = ''): Change[] {
  if (isNode(before) && isNode(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys.flatMap((key) => differences(before[key], after[key], `${pointer}/${escaped(key)}`));
  }
  if (canonical(before) === canonical(after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    return [{ pointer, removed: without(before, after), added: without(after, before),
      before_count: before.length, after_count: after.length }];
  }
  return [{ pointer, before, after }];
}

/** Names of settings as the pages have them; others are made of their key. */
const names: Record<string, string> = {
  '/identity/hostname': 'Host name',
  '/identity/greeting': 'Greeting',
  '/connections/interface': 'SMTP Interface',
  '/connections/interface/address': 'IP address',
  '/connections/interface/idle_timeout_minutes': 'Disconnect after minutes of inactivity',
  '/connections/interface/max_connections': 'Simultaneous connections',
  '/connections/control': 'Connection Control',
  '/connections/control/mode': 'Which clients are accepted',
  '/connections/tls': 'Transport Layer Security',
  '/connections/tls/incoming': 'Enable Incoming Transport Layer Security',
  '/connections/tls/incoming_required': 'Only accept SMTP connection by TLS',
  '/connections/tls/certificate': 'SMTP server certification',
  '/connections/tls/outgoing': 'Enable Outgoing Transport Layer Security',
  '/message_rules/max_message_size_mb': 'Largest message, MB',
  '/message_rules/max_recipients': 'Recipients of a message, at most',
  '/message_rules/max_messages_per_connection': 'Messages of a connection, at most',
};

const words: Record<string, string> = {
  accept_all_except: 'accept all, except the deny list',
  deny_all_except: 'deny all, except the permit list',
  host_only: 'only this host',
  loopback: 'loopback address',
  all: 'all interfaces',
};

function humane(key: string): string {
  const text = key.replaceAll('~1', '/').replaceAll('~0', '~').replaceAll('_', ' ').replace(/\b(tls|mx|dns|helo|smtp|ip|id)\b/g, (word) => word.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "/connections/interface/port": ["Connections › SMTP Interface", "Port"]. */
export function titled(pointer: string): [string, string] {
  const keys = pointer.split('/').slice(1);
  const titles = keys.map((key, i) => names[`/${keys.slice(0, i + 1).join('/')}`] ?? humane(key));
  return [titles.slice(0, -1).join(' › '), titles.at(-1) ?? 'The whole document'];
}

/** What null means for a limit. */
export const unlimited = (pointer: string, value: unknown): string | null =>
  value === null && /\/max_[a-z_]*$/.test(pointer) ? 'no limit' : null;

/** A value as people read it. */
export function readable(value: unknown): string {
  if (value === undefined) return 'not set';
  if (value === null) return 'none';
  if (value === true) return 'on';
  if (value === false) return 'off';
  if (value === '') return '(empty)';
  if (typeof value === 'string') return words[value] ?? value;
  if (Array.isArray(value)) return value.length ? value.map(readable).join(', ') : 'none';
  if (isNode(value)) {
    const { network, comment, expires, ...rest } = value;
    if (typeof network === 'string' && Object.keys(rest).length === 0)
      return [network, comment, expires ? `until ${readable(expires)}` : ''].filter(Boolean).join(' · ');
    const { host, port } = value;
    if (typeof host === 'string' && Object.keys(value).every((key) => key === 'host' || key === 'port'))
      return port === undefined ? host : `${host}:${String(port)}`;
    return Object.entries(value).map(([key, one]) => `${key.replaceAll('_', ' ')}: ${readable(one)}`).join('; ');
  }
  return String(value);
}
