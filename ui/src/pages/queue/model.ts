export interface Recipient {
  address: string;
  state: string;
  destination: string | null;
  attempts: number;
  next_attempt: string | null;
  code: number | null;
  reply: string | null;
  redirected_to: string | null;
  suspended: boolean;
}

export interface Queued {
  id: string;
  received: string;
  size: number;
  held: boolean;
  /** A bounce or another message of the gateway itself. */
  own: boolean;
  sender: string;
  client: string | null;
  helo: string | null;
  recipient_count: number;
  waiting_count: number;
  recipients: Recipient[];
}

export const senderOf = (message: Queued): string => message.sender || (message.own ? '<> (from this gateway)' : '<>');

/** What is said of the whole message: the state of its recipients that is furthest from done. */
export function stateOf(message: Queued): string {
  if (message.held) return 'held';
  const order = ['in_doubt', 'deferred', 'delivering', 'queued'];
  return order.find((state) => message.recipients.some((one) => one.state === state)) ?? message.recipients[0]?.state ?? 'queued';
}

const colours: Record<string, 'orange' | 'blue' | 'purple' | 'red' | 'grey' | 'green'> = {
  deferred: 'orange', delivering: 'blue', held: 'purple', in_doubt: 'red', delivered: 'green', failed: 'red',
};
export const colourOf = (state: string) => colours[state] ?? 'grey';
