import { describe, expect, test } from 'vitest';
import { address } from '../api/client';
import { csv as calendarCsv, ical } from '../screens/calendar-export';
import { csv } from '../screens/certificates-csv';
import type { CertificateRow } from '../api/types';
import { toCurl } from './curl';
import { getAt, setAt, under } from './tree';
import { may, namespacesFor } from './session';
import { bandOf, stateOf } from './status';
import { absolute, duration, relative } from './time';

const DAY = 86_400_000;
const NOW = Date.parse('2026-11-25T00:00:00Z');

describe('times', () => {
  test('a duration has at most two units, each as large as it can be', () => {
    const table: [number, string][] = [
      [45_000, '45 s'],
      [90_000, '1 min 30 s'],
      [600_000, '10 min'],
      [3_660_000, '1 h 1 min'],
      [2 * DAY, '2 d'],
      [2 * DAY + 3 * 3_600_000, '2 d 3 h'],
      [29.9 * DAY, '29 d'],
    ];
    for (const [ms, text] of table) expect(duration(ms)).toBe(text);
  });

  test('what is to come and what is over are told apart', () => {
    expect(relative(NOW + 5000, NOW)).toBe('in 5 s');
    expect(relative(NOW - 5000, NOW)).toBe('5 s ago');
    expect(relative(NOW, NOW)).toBe('now');
  });

  test('an absolute time is in UTC unless somebody chose otherwise', () => {
    expect(absolute('2026-09-05T23:59:01Z')).toBe('5 Sep 2026, 23:59');
    expect(absolute('2026-09-05T23:59:01Z', { seconds: true })).toBe('5 Sep 2026, 23:59:01');
  });
});

test('bands end at their days', () => {
  const at = (ms: number) => new Date(NOW + ms).toISOString();
  const table: [number, string][] = [
    [-1, 'expired'],
    [0, 'expired'],
    [1, '7'],
    [7 * DAY, '7'],
    [7 * DAY + 1, '30'],
    [30 * DAY + 1, '90'],
    [90 * DAY + 1, '180'],
    [180 * DAY + 1, 'ok'],
  ];
  for (const [left, band] of table) expect(bandOf(at(left), NOW)).toBe(band);
  expect(bandOf(undefined, NOW)).toBeUndefined();
});

describe('readiness', () => {
  const ready = (status: 'True' | 'False', reason: string) => ({ type: 'Ready', status, reason, message: '', lastTransitionTime: '2026-11-24T00:00:00Z' });
  const state = (conditions: ReturnType<typeof ready>[], more = {}) => stateOf({ metadata: {}, status: { conditions, ...more } }, NOW);

  test('it follows the conditions', () => {
    expect(state([])).toBe('Unknown');
    expect(state([ready('True', 'UpToDate')])).toBe('Ready');
    expect(state([ready('False', 'Issuing')])).toBe('Issuing');
    expect(state([ready('False', 'ForeignSecret')])).toBe('Blocked');
    expect(state([ready('False', 'Rejected')], { lastFailure: {} })).toBe('Failed');
  });

  test('a certificate that is over is not ready, whatever was reported last', () => {
    expect(state([ready('True', 'UpToDate')], { notAfter: '2026-11-24T00:00:00Z' })).toBe('Failed');
  });
});

describe('objects that a form edits', () => {
  test('a value is set without changing what was there', () => {
    const old = { spec: { issuerRef: { name: 'a' } } };
    const next = setAt(old, 'spec.privateKey.size', 384);
    expect(next).toEqual({ spec: { issuerRef: { name: 'a' }, privateKey: { size: 384 } } });
    expect(old).toEqual({ spec: { issuerRef: { name: 'a' } } });
    expect(getAt(next, 'spec.privateKey.size')).toBe(384);
  });

  test('what is emptied goes, and what it stood in', () => {
    expect(setAt({ spec: { privateKey: { size: 384 }, secretName: 'a' } }, 'spec.privateKey.size', undefined)).toEqual({ spec: { secretName: 'a' } });
    expect(setAt({ spec: { dnsNames: ['a'], secretName: 'a' } }, 'spec.dnsNames', [])).toEqual({ spec: { secretName: 'a' } });
  });

  test('false and nought are values', () => {
    expect(setAt({}, 'spec.keepCopy', false)).toEqual({ spec: { keepCopy: false } });
    expect(setAt({}, 'n', 0)).toEqual({ n: 0 });
  });

  test('a problem belongs to its field and to what the field stands in', () => {
    expect(under('spec.dnsNames[1]', 'spec.dnsNames')).toBe(true);
    expect(under('spec.issuerRef.name', 'spec.issuerRef')).toBe(true);
    expect(under('spec.renewBeforePercentage', 'spec.renewBefore')).toBe(false);
  });
});

describe('requests', () => {
  test('an empty filter is not sent', () => {
    expect(address({ method: 'GET', path: '/certificates', query: { q: '', state: undefined, sort: '-expiry', limit: 5 } })).toBe('/api/v1/certificates?sort=-expiry&limit=5');
  });

  test('a curl command survives a shell', () => {
    const text = toCurl({ method: 'PUT', path: '/issuers/a/b', body: { spec: "it's" }, version: '7' }, 'https://occm.example');
    expect(text).toContain(`-X PUT 'https://occm.example/api/v1/issuers/a/b'`);
    expect(text).toContain(`'If-Match: "7"'`);
    expect(text).toContain(`'{"spec":"it'\\''s"}'`);
  });
});

describe('files for other programs', () => {
  const row = (changes: Partial<CertificateRow>): CertificateRow => ({
    namespace: 'a',
    name: 'b',
    resourceVersion: '1',
    state: 'Ready',
    band: 'ok',
    reason: 'UpToDate',
    message: '',
    issuer: { namespace: 'a', name: 'ca' },
    dnsNames: [],
    algorithm: 'ECDSA',
    drift: false,
    purpose: 'EndEntity',
    labels: {},
    ...changes,
  });

  test('a cell of CSV is neither torn nor a formula', () => {
    const text = csv([row({ message: 'said "no", twice', commonName: '=HYPERLINK("x")' })]);
    expect(text).toContain('"said ""no"", twice"');
    expect(text).toContain(`"'=HYPERLINK(""x"")"`);
    expect(text.trimEnd().split('\r\n')).toHaveLength(2);
  });

  test('a calendar has one entry for each day on which something happens', () => {
    const items = [
      { day: '2026-11-25', renewing: 2, expiring: 0 },
      { day: '2026-11-26', renewing: 0, expiring: 0 },
    ];
    expect(ical(items).match(/BEGIN:VEVENT/g)).toHaveLength(1);
    expect(ical(items)).toContain('DTSTART;VALUE=DATE:20261125\r\n');
    expect(calendarCsv(items)).toBe('day,renewing,expiring\r\n2026-11-25,2,0\r\n2026-11-26,0,0\r\n');
  });
});

describe('rights', () => {
  const session = { user: 'a', kind: 'Local' as const, roles: { one: 'Admin' as const, two: 'View' as const }, namespaces: ['two', 'one'], idleTimeoutSeconds: 1800, login: { local: true, token: true, oidc: false } };

  test('a role includes the lesser ones, in its own namespace only', () => {
    expect(may(session, 'Edit', 'one')).toBe(true);
    expect(may(session, 'Edit', 'two')).toBe(false);
    expect(may(session, 'View', 'three')).toBe(false);
    expect(may(session, 'Admin')).toBe(true);
    expect(namespacesFor(session, 'Edit')).toEqual(['one']);
    expect(namespacesFor(session, 'View')).toEqual(['one', 'two']);
  });
});
