/** Requests for a shell. */

import { address, condition, type Request } from '../api/client';

/** The request as a curl command that a shell takes as it is. */
export function toCurl(request: Request, origin: string): string {
  const lines = [`curl -sS -X ${request.method} ${quoted(origin + address(request))}`];
  lines.push(`-H "Authorization: Bearer $OCCM_TOKEN"`);
  const expected = condition(request);
  if (expected) lines.push(`-H ${quoted(expected.join(': '))}`);
  if (request.body !== undefined) {
    const type = request.method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    lines.push(`-H ${quoted(`Content-Type: ${type}`)}`);
    lines.push(`--data ${quoted(JSON.stringify(request.body))}`);
  }
  return lines.join(' \\\n  ');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
