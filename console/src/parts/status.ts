/** The two axes of an object that comes without them; the same rules as those of the rows of lists. */

import type { Condition } from '../api/types';

type Reported = {
  metadata: { deletionTimestamp?: string };
  status?: { conditions?: Condition[]; lastFailure?: unknown; notAfter?: string };
};

const UNDER_WAY = ['Issuing', 'Pending', 'IdentityPending'];

export function stateOf({ metadata, status }: Reported, now = Date.now()): string {
  if (metadata.deletionTimestamp) return 'Deleting';
  const find = (type: string) => status?.conditions?.find((condition) => condition.type === type);
  const ready = find('Ready');
  if (!ready) return 'Unknown';
  const over = status?.notAfter !== undefined && Date.parse(status.notAfter) <= now;
  if (over || ['InvalidSpec', 'Expired'].includes(ready.reason)) return 'Failed';
  if (ready.status === 'True') return 'Ready';
  if (status?.lastFailure) return 'Failed';
  const issuing = find('Issuing');
  if (issuing?.status === 'True' || UNDER_WAY.includes(ready.reason)) return 'Issuing';
  return 'Blocked';
}

const DAY_MS = 86_400_000;

/** The band of a time, for what comes without one. */
export function bandOf(notAfter: string | undefined, now: number): string | undefined {
  if (!notAfter) return undefined;
  const left = Date.parse(notAfter) - now;
  if (left <= 0) return 'expired';
  const band = [7, 30, 90, 180].find((days) => left <= days * DAY_MS);
  return band ? String(band) : 'ok';
}
