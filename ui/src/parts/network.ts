/** Addresses and groups of them, read as the gateway reads them, to say what is wrong as one types. */

export type Family = 4 | 6;

export class Wrong extends Error {}

function parse4(text: string): bigint {
  const parts = text.split('.');
  if (parts.length !== 4 || parts.some((p) => !/^(0|[1-9]\d{0,2})$/.test(p) || Number(p) > 255))
    throw new Wrong('An IPv4 address has four numbers from 0 to 255, without leading zeros.');
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function words(text: string): string[] {
  return text === '' ? [] : text.split(':');
}

function parse6(text: string): bigint {
  const wrong = new Wrong('An IPv6 address has eight groups of up to four hexadecimal digits; :: stands for zeros, once.');
  if (text.includes('%')) throw new Wrong('An address with a zone (%) belongs to one host only and cannot be listed.');
  const halves = text.split('::');
  if (halves.length > 2 || !text.includes(':')) throw wrong;
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (tail?.[2] !== undefined) {
    const low = parse4(tail[2]);
    return parse6(`${tail[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`);
  }
  const left = words(halves[0] ?? ''), right = words(halves[1] ?? '');
  const missing = 8 - left.length - right.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) throw wrong;
  const all = [...left, ...Array<string>(halves.length === 2 ? missing : 0).fill('0'), ...right];
  if (all.some((word) => !/^[0-9a-f]{1,4}$/i.test(word))) throw wrong;
  return all.reduce((sum, word) => sum * 65536n + BigInt(`0x${word}`), 0n);
}

export const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

export function parseAddress(text: string, family?: Family): { family: Family; value: bigint } {
  const trimmed = text.trim();
  if (trimmed === '') throw new Wrong('Enter an IP address.');
  const found: Family = trimmed.includes(':') ? 6 : 4;
  if (/[a-z]/i.test(trimmed) && !trimmed.includes(':')) throw new Wrong('A name is not possible here: enter an IP address.');
  if (trimmed.includes('/')) throw new Wrong('For a group with a prefix choose “Group of computers”.');
  if (family && family !== found) throw new Wrong(`This is not an IPv${family} address.`);
  return { family: found, value: found === 4 ? parse4(trimmed) : parse6(trimmed) };
}

/** "255.255.255.0", "/24" or "24": the length of the prefix. */
export function parseMask(text: string, family: Family): number {
  const trimmed = text.trim().replace(/^\//, '');
  if (trimmed === '') throw new Wrong(family === 4 ? 'Enter a mask, such as 255.255.255.0, or a prefix, such as 24.' : 'Enter a prefix, such as 32.');
  if (/^\d+$/.test(trimmed)) {
    const length = Number(trimmed);
    if (length > bitsOf(family)) throw new Wrong(`A prefix is a number from 0 to ${bitsOf(family)}.`);
    return length;
  }
  if (family === 6) throw new Wrong('An IPv6 group has a prefix, a number from 0 to 128.');
  const bits = parse4(trimmed).toString(2).padStart(32, '0');
  if (!/^1*0*$/.test(bits)) throw new Wrong('This mask has holes: its ones must come first.');
  return bits.indexOf('0') < 0 ? 32 : bits.indexOf('0');
}

function format6(value: bigint): string {
  const all = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  let start = -1, length = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && all[i + run] === '0') run++;
    if (run > length) { start = i; length = run; }
  }
  if (start < 0) return all.join(':');
  return `${all.slice(0, start).join(':')}::${all.slice(start + length).join(':')}`;
}

export function format(family: Family, value: bigint): string {
  if (family === 6) return format6(value);
  return [24n, 16n, 8n, 0n].map((shift) => ((value >> shift) & 255n).toString()).join('.');
}

/** The entry, and whether host bits had to be cleared. */
export function group(address: string, mask: string, family: Family): { network: string; cleared: boolean } {
  const { value } = parseAddress(address, family);
  const length = parseMask(mask, family), host = BigInt(bitsOf(family) - length);
  const base = (value >> host) << host;
  const text = format(family, base);
  return { network: length === bitsOf(family) ? text : `${text}/${length}`, cleared: base !== value };
}

export function single(address: string): string {
  const { family, value } = parseAddress(address);
  return format(family, value);
}

/** What is wrong with what `read` reads, or null. */
export function complaint(read: () => unknown): string | null {
  try {
    read();
    return null;
  } catch (error) {
    if (error instanceof Wrong) return error.message;
    throw error;
  }
}
