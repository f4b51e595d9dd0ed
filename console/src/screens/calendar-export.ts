/** The calendar for other programs. */

import type { CalendarDay } from '../api/types';

export function csv(items: CalendarDay[]): string {
  return `day,renewing,expiring\r\n${items.map(({ day, renewing, expiring }) => `${day},${renewing},${expiring}\r\n`).join('')}`;
}

/** RFC 5545: one whole-day entry for each day on which something happens. */
export function ical(items: CalendarDay[]): string {
  const compact = (day: string) => day.replaceAll('-', '');
  const entries = items.flatMap(({ day, renewing, expiring }) =>
    renewing + expiring === 0
      ? []
      : [
          'BEGIN:VEVENT',
          `UID:${day}@occm`,
          `DTSTAMP:${compact(day)}T000000Z`,
          `DTSTART;VALUE=DATE:${compact(day)}`,
          `SUMMARY:${renewing} renewals\\, ${expiring} ends`,
          'TRANSP:TRANSPARENT',
          'END:VEVENT',
        ],
  );
  return `${['BEGIN:VCALENDAR', 'VERSION:2.0', 'PRODID:-//occm//console//EN', ...entries, 'END:VCALENDAR'].join('\r\n')}\r\n`;
}
