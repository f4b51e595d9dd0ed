/** Rows of Certificates as a table for spreadsheets. */

import type { CertificateRow } from '../api/types';

const CSV_COLUMNS: [string, (row: CertificateRow) => string | number | undefined][] = [
  ['namespace', (row) => row.namespace],
  ['name', (row) => row.name],
  ['state', (row) => row.state],
  ['reason', (row) => row.reason],
  ['expiryBand', (row) => row.band],
  ['commonName', (row) => row.commonName],
  ['dnsNames', (row) => row.dnsNames.join(' ')],
  ['issuer', (row) => `${row.issuer.namespace}/${row.issuer.name}`],
  ['key', (row) => [row.algorithm, row.size].filter(Boolean).join(' ')],
  ['secret', (row) => row.secretName],
  ['serialNumber', (row) => row.serialNumber],
  ['notBefore', (row) => row.notBefore],
  ['notAfter', (row) => row.notAfter],
  ['renewalTime', (row) => row.renewalTime],
  ['message', (row) => row.message],
];

/** RFC 4180; a cell that a spreadsheet would take for a formula is made text. */
export function csv(rows: CertificateRow[]): string {
  const cell = (value: string | number | undefined) => {
    const text = String(value ?? '');
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [CSV_COLUMNS.map(([name]) => name), ...rows.map((row) => CSV_COLUMNS.map(([, of]) => cell(of(row))))];
  return `${lines.map((line) => line.join(',')).join('\r\n')}\r\n`;
}
