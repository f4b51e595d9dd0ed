/** What is renewed and what ends on which day, for a year. */

import { Button, ToggleGroup, ToggleGroupItem } from '@patternfly/react-core';
import { useMemo, useState } from 'react';
import { useCalendar } from '../api/queries';
import type { CalendarDay } from '../api/types';
import { csv, ical } from './calendar-export';
import { download } from '../parts/code';
import { ActionMenu } from '../parts/menu';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { Answered } from '../parts/states';

const MONTHS = 12;
const DAY_MS = 86_400_000;
const WEEKDAYS = ['Mo', 'Tu', 'We', 'Th', 'Fr', 'Sa', 'Su'];
type What = 'renewing' | 'expiring';
const WORDS: Record<What, string> = { renewing: 'renewals', expiring: 'ends' };

/** `2026-11-25`, in UTC as the server counts days. */
const dayOf = (time: number) => new Date(time).toISOString().slice(0, 10);
const monthStart = (year: number, month: number) => Date.UTC(year, month, 1);

export function Calendar() {
  const [year, setYear] = useState(0);
  const [what, setWhat] = useState<What>('renewing');
  const today = new Date();
  const first = today.getUTCMonth() + year * MONTHS;
  const from = dayOf(monthStart(today.getUTCFullYear(), first));
  const to = dayOf(monthStart(today.getUTCFullYear(), first + MONTHS) - DAY_MS);
  const query = useCalendar(from, to);
  return (
    <Screen
      title="Expiry calendar"
      about="How many certificates are renewed, and how many end, on each day (UTC). A renewal comes before the end; what ends without one needs a look."
      actions={
        <>
          <AsCodeButton title="Expiry calendar" yaml={[{ see: 'status.renewalTime and status.notAfter of certificates.occm.dev' }]} requests={[{ method: 'GET', path: '/calendar', query: { from, to } }]} />
          <ActionMenu
            label="Export"
            text="Export"
            items={[
              { title: 'As CSV', onClick: () => download('calendar.csv', csv(query.data?.items ?? []), 'text/csv') },
              { title: 'As iCalendar', onClick: () => download('calendar.ics', ical(query.data?.items ?? []), 'text/calendar') },
            ]}
          />
        </>
      }
    >
      <div className="occm-calendar__bar">
        <ToggleGroup aria-label="What is counted">
          <ToggleGroupItem text="Renewals" isSelected={what === 'renewing'} onChange={() => setWhat('renewing')} />
          <ToggleGroupItem text="Ends" isSelected={what === 'expiring'} onChange={() => setWhat('expiring')} />
        </ToggleGroup>
        <Button variant="secondary" size="sm" isDisabled={year <= 0} onClick={() => setYear(year - 1)}>
          Year before
        </Button>
        <Button variant="secondary" size="sm" onClick={() => setYear(year + 1)}>
          Next year
        </Button>
      </div>
      <Answered query={query} what="the calendar" rows={10}>
        {({ items }) => <Months items={items} what={what} first={first} year={today.getUTCFullYear()} />}
      </Answered>
    </Screen>
  );
}

function Months({ items, what, first, year }: { items: CalendarDay[]; what: What; first: number; year: number }) {
  const days = useMemo(() => new Map(items.map((item) => [item.day, item])), [items]);
  const most = Math.max(1, ...items.map((item) => item[what]));
  const total = items.reduce((sum, item) => sum + item[what], 0);
  const busiest = items.filter((item) => item[what] === most && total > 0)[0];
  return (
    <div className="occm-stack">
      <p className="occm-muted">
        {total.toLocaleString('en')} {WORDS[what]} in these twelve months
        {busiest ? `; the most on one day: ${most.toLocaleString('en')}, on ${longDay(busiest.day)}` : ''}.
      </p>
      <div className="occm-months">
        {Array.from({ length: MONTHS }, (_, index) => (
          <Month key={first + index} start={monthStart(year, first + index)} days={days} what={what} most={most} />
        ))}
      </div>
    </div>
  );
}

function Month({ start, days, what, most }: { start: number; days: Map<string, CalendarDay>; what: What; most: number }) {
  const date = new Date(start);
  const length = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  const before = (date.getUTCDay() + 6) % 7;
  const name = date.toLocaleDateString('en-GB', { month: 'long', year: 'numeric', timeZone: 'UTC' });
  const cells: (number | undefined)[] = [...Array.from({ length: before }, () => undefined), ...Array.from({ length }, (_, index) => index + 1)];
  // Six weeks always, so that all months are of one size.
  while (cells.length < 42) cells.push(undefined);
  const weeks = Array.from({ length: cells.length / 7 }, (_, week) => cells.slice(week * 7, week * 7 + 7));
  const sum = Array.from({ length }, (_, index) => days.get(dayOf(start + index * DAY_MS))?.[what] ?? 0).reduce((a, b) => a + b, 0);
  return (
    <div className="occm-month__frame">
    <table className="occm-month" aria-label={`${name}: ${sum} ${WORDS[what]}`}>
      <caption>
        <span>{name}</span> <span className="occm-muted">{sum ? sum.toLocaleString('en') : ''}</span>
      </caption>
      <thead>
        <tr>
          {WEEKDAYS.map((day) => (
            <th key={day} scope="col">
              {day}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {weeks.map((week, index) => (
          <tr key={index}>
            {week.map((day, column) => (day === undefined ? <td key={column} /> : <Day key={column} time={start + (day - 1) * DAY_MS} number={day} days={days} what={what} most={most} />))}
          </tr>
        ))}
      </tbody>
    </table>
    </div>
  );
}

function Day({ time, number, days, what, most }: { time: number; number: number; days: Map<string, CalendarDay>; what: What; most: number }) {
  const day = dayOf(time);
  const count = days.get(day)?.[what] ?? 0;
  const level = count === 0 ? 0 : Math.max(1, Math.ceil((count / most) * 4));
  const isToday = day === dayOf(Date.now());
  const item = days.get(day);
  const title = `${longDay(day)}: ${item?.renewing ?? 0} renewals, ${item?.expiring ?? 0} ends`;
  return (
    <td className={`occm-day occm-day--${what} occm-day--${level}${isToday ? ' occm-day--today' : ''}`} title={title} aria-current={isToday ? 'date' : undefined}>
      <span className="occm-day__number">{number}</span>
      <span className="occm-day__count">{count ? short(count) : ''}</span>
    </td>
  );
}

const short = (count: number) => (count < 1000 ? String(count) : `${Math.round(count / 100) / 10}k`);

function longDay(day: string): string {
  return new Date(`${day}T00:00:00Z`).toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' });
}
