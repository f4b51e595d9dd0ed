/**
 * Live changes. A row that is on the screen is replaced where it stands, so that nothing jumps and a selection stays;
 * what a change makes wrong elsewhere is read again a little later, many changes at once.
 */

import type { InfiniteData } from '@tanstack/react-query';
import { useSyncExternalStore } from 'react';
import { BASE } from './client';
import { queryClient } from './queries';
import type { ActivityItem, CertificateRow, IssuerRow, Page } from './types';

export type Live = 'live' | 'connecting' | 'off';

const REREAD_MS = 2000;
const RECONNECT_MS = 5000;

let state: Live = 'off';
let source: EventSource | undefined;
let reconnect: ReturnType<typeof setTimeout> | undefined;
let synced = false;
let reread: ReturnType<typeof setTimeout> | undefined;
const stale = new Set<string>();
const listeners = new Set<() => void>();

function become(next: Live) {
  if (state === next) return;
  state = next;
  for (const listener of listeners) listener();
}

export function useLive(): Live {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => state,
  );
}

export function start() {
  if (source) return;
  become('connecting');
  const stream = new EventSource(`${BASE}/changes`);
  source = stream;
  stream.onopen = () => become('live');
  stream.onerror = () => {
    become('connecting');
    // A refused stream is not tried again by the browser.
    if (stream.readyState === EventSource.CLOSED) {
      stop();
      become('connecting');
      reconnect = setTimeout(start, RECONNECT_MS);
    }
  };
  stream.addEventListener('synced', (event) => {
    // After a gap that the server cannot fill nobody knows what was missed.
    if (synced && !isComplete(event)) readAgain('certificates', 'issuers', 'overview', 'certificate', 'issuer', 'activity');
    synced = true;
  });
  stream.addEventListener('certificate', (event) => certificateChanged(parse<CertificateRow>(event)));
  stream.addEventListener('issuer', (event) => issuerChanged(parse<IssuerRow>(event)));
  stream.addEventListener('event', (event) => happened(event));
}

export function stop() {
  source?.close();
  source = undefined;
  clearTimeout(reconnect);
  become('off');
}

function isComplete(event: MessageEvent<string>): boolean {
  try {
    return (JSON.parse(event.data) as { complete?: boolean }).complete === true;
  } catch {
    return false;
  }
}

type Change<Row> = { type: 'Applied' | 'Deleted'; row: Row };

function parse<Row>(event: MessageEvent<string>): Change<Row> | undefined {
  try {
    return JSON.parse(event.data) as Change<Row>;
  } catch {
    return undefined;
  }
}

function certificateChanged(change: Change<CertificateRow> | undefined) {
  if (!change?.row) return;
  replaceRow('certificates', change);
  const { namespace, name } = change.row;
  readAgain('overview', JSON.stringify(['certificate', namespace, name]), 'secrets', 'activity');
}

function issuerChanged(change: Change<IssuerRow> | undefined) {
  if (!change?.row) return;
  replaceRow('issuers', change);
  const { namespace, name } = change.row;
  readAgain('overview', 'identities', JSON.stringify(['issuer', namespace, name]), 'activity');
}

/** Something happened to an object: what is told of it is read again. */
function happened(event: MessageEvent<string>) {
  readAgain('activity');
  try {
    const { object } = JSON.parse(event.data) as ActivityItem;
    if (object) readAgain(JSON.stringify([object.kind.toLowerCase(), object.namespace, object.name, 'events']));
  } catch {
    // The activity is read again all the same.
  }
}

/** Rows of lists that hold it are replaced in place; a list that lacks it, or held one that went, is read again. */
function replaceRow<Row extends { namespace: string; name: string }>(key: string, change: Change<Row>) {
  const same = (row: Row) => row.namespace === change.row.namespace && row.name === change.row.name;
  const lists = queryClient.getQueriesData<InfiniteData<Page<Row>>>({ queryKey: [key] });
  for (const [queryKey, data] of lists) {
    if (!data) continue;
    const known = data.pages.some((page) => page.items.some(same));
    if (change.type === 'Deleted' || !known) {
      if (known || change.type === 'Applied') readAgain(key);
      continue;
    }
    const pages = data.pages.map((page) =>
      page.items.some(same) ? { ...page, items: page.items.map((row) => (same(row) ? change.row : row)) } : page,
    );
    queryClient.setQueryData(queryKey, { ...data, pages });
  }
}

function readAgain(...keys: string[]) {
  for (const key of keys) stale.add(key);
  reread ??= setTimeout(() => {
    reread = undefined;
    for (const key of stale) {
      const queryKey = key.startsWith('[') ? (JSON.parse(key) as unknown[]) : [key];
      void queryClient.invalidateQueries({ queryKey });
    }
    stale.clear();
  }, REREAD_MS);
}
