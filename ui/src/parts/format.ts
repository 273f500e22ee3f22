/** Times and numbers as the browser's locale has them. */

const numbers = new Intl.NumberFormat();
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' });
const dates = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });

export const number = (value: number): string => numbers.format(value);
export const time = (value: string): string => moments.format(new Date(value));
export const exactTime = (value: string): string => exact.format(new Date(value));
export const date = (value: string): string => dates.format(new Date(value));

const spans: [Intl.RelativeTimeFormatUnit, number][] =
  [['year', 31536000], ['month', 2592000], ['day', 86400], ['hour', 3600], ['minute', 60]];

/** "3 hours ago", "in 2 days". */
export function ago(value: string, now = Date.now()): string {
  const seconds = (new Date(value).getTime() - now) / 1000;
  for (const [unit, length] of spans)
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  return relative.format(Math.trunc(seconds), 'second');
}

/** 2 * 1024 * 1024: "2 MiB". */
export function octets(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${numbers.format(value >= 100 ? Math.round(value) : Math.round(value * 10) / 10)} ${units[unit]}`;
}

/** "1 entry", "1,200 entries". */
export const count = (n: number, one: string, many: string): string =>
  `${number(n)} ${n === 1 ? one : many}`;
