/** Times as people read them: absolute and relative, UTC or local, one clock for the whole page. */

import { useSyncExternalStore } from 'react';
import { zone } from './settings';
import { useSetting } from './settings';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void) {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, SECOND);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The time, in steps: every second for what is near, every half minute for the rest. */
export function useNow(near?: number): number {
  return useSyncExternalStore(subscribe, () => {
    const close = near !== undefined && Math.abs(near - now) < 2 * MINUTE;
    const step = close ? SECOND : 30 * SECOND;
    return Math.floor(now / step) * step;
  });
}

/** How long, in at most two units: `29 d 4 h`, `3 min`, `45 s`. */
export function duration(milliseconds: number): string {
  const ms = Math.abs(milliseconds);
  if (ms < MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < 10 * MINUTE) return two(ms, MINUTE, 'min', SECOND, 's');
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return two(ms, HOUR, 'h', MINUTE, 'min');
  if (ms < 14 * DAY) return two(ms, DAY, 'd', HOUR, 'h');
  return `${Math.floor(ms / DAY)} d`;
}

function two(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const first = Math.floor(ms / large);
  const second = Math.floor((ms - first * large) / small);
  return second ? `${first} ${largeName} ${second} ${smallName}` : `${first} ${largeName}`;
}

/** `in 29 d`, `3 min ago`, `now`. */
export function relative(time: number, from: number): string {
  const away = time - from;
  if (Math.abs(away) < SECOND) return 'now';
  return away > 0 ? `in ${duration(away)}` : `${duration(away)} ago`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `25 Nov 2026, 01:02`; with seconds where minutes say too little. */
export function absolute(time: number | string, wishes: { seconds?: boolean } = {}): string {
  const at = new Date(time);
  const utc = zone() === 'utc';
  const two = (value: number) => String(value).padStart(2, '0');
  const [year, month, day] = utc ? [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()] : [at.getFullYear(), at.getMonth(), at.getDate()];
  const clock = utc ? [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()] : [at.getHours(), at.getMinutes(), at.getSeconds()];
  return `${day} ${MONTHS[month]} ${year}, ${clock.slice(0, wishes.seconds ? 3 : 2).map(two).join(':')}`;
}

/** `UTC` or the short name of the local zone. */
export function zoneName(): string {
  if (zone() === 'utc') return 'UTC';
  const parts = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(new Date());
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? 'local';
}

function title(time: string): string {
  return `${time} (${absolute(time, { seconds: true })} ${zoneName()})`;
}

type Props = { time: string | undefined; none?: string };

/** Relative, the absolute time as title. */
export function TimeAgo({ time, none = '–' }: Props) {
  useSetting('zone');
  const at = time ? Date.parse(time) : Number.NaN;
  const from = useNow(at);
  if (!time || Number.isNaN(at)) return <span className="occm-muted">{none}</span>;
  return (
    <time dateTime={time} title={title(time)} className="occm-nowrap">
      {relative(at, from)}
    </time>
  );
}

/** Absolute, then relative in a lighter tone. */
export function When({ time, none = '–', stacked, seconds }: Props & { stacked?: boolean; seconds?: boolean }) {
  useSetting('zone');
  const at = time ? Date.parse(time) : Number.NaN;
  const from = useNow(at);
  if (!time || Number.isNaN(at)) return <span className="occm-muted">{none}</span>;
  return (
    <time dateTime={time} title={title(time)} className={stacked ? 'occm-when occm-when--stacked' : 'occm-when'}>
      <span>{absolute(time, { seconds: seconds ?? false })}</span> <span className="occm-muted">{relative(at, from)}</span>
    </time>
  );
}
