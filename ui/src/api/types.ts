/** What the API answers, as far as the pages read it. */

export type Role = 'administrator' | 'operator' | 'viewer';

export interface Me {
  name: string;
  role: Role;
  csrf: string;
  /** Seconds until the session ends if nothing is asked. */
  expires_in: number | null;
}

export interface Page<T> {
  items: T[];
  next: string | null;
  total: number;
}

export interface Warning {
  pointer: string;
  detail: string;
}

export interface Entry {
  network: string;
  comment: string | null;
  expires: string | null;
  expired: boolean;
  hits: number;
  last_hit: string | null;
}

export type ListName = 'deny' | 'permit';
export type Mode = 'accept_all_except' | 'deny_all_except';

export interface Connections {
  interface: {
    address: string;
    port: number;
    idle_timeout_minutes: number;
    max_connections: number | null;
  };
  control: { mode: Mode };
  tls: {
    incoming: boolean;
    incoming_required: boolean;
    certificate: string | string[] | null;
    outgoing: boolean;
  };
}

export interface Settings {
  identity: { hostname: string };
  connections: Connections;
}

export interface Interface {
  address: string;
  prefix: number;
  family: 'ipv4' | 'ipv6';
  interface: string;
  scope: string;
  loopback: boolean;
  selectable: boolean;
}

/** A change that takes itself back unless it is confirmed. */
export interface Pending {
  revision: number;
  /** The revision that it goes back to. */
  before: number;
  confirm_by: string;
  seconds_left: number;
}

export interface Status {
  health: 'green' | 'yellow' | 'red';
  version: string;
  hostname: string;
  revision: number;
  started: string;
  uptime_seconds: number;
  pending: Pending | null;
  listeners: { address: string; listening: boolean; error: string | null }[];
  sessions: { now: number; total: number; limit: number | null; system_limit: number };
  messages: { accepted: number; delivered: number };
  spool: { messages: number; disk_free: number; disk_size: number; accepting: boolean;
    fault: string | null };
  warnings: { text: string; remedy: string }[];
}
