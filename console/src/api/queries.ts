/** What the screens read, as queries that share one cache. */

import { keepPreviousData, QueryClient, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { ApiError, get, objectPath, type Query } from './client';
import type * as t from './types';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      refetchOnWindowFocus: false,
      retry: (count, error) => {
        if (!(error instanceof ApiError)) return count < 1;
        return count < 2 && (error.status === 0 || error.status === 429 || error.status >= 500);
      },
    },
  },
});

/** A list is asked for in pieces of this size. */
const PIECE = 200;

function pieces<Row>(path: string, key: string, query: Query) {
  return {
    queryKey: [key, query],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }: { pageParam: string | undefined; signal: AbortSignal }) =>
      get<t.Page<Row>>(path, { ...query, limit: PIECE, continue: pageParam }, signal),
    getNextPageParam: (last: t.Page<Row>) => last.continue,
    placeholderData: keepPreviousData,
  };
}

export const useCertificates = (query: Query) =>
  useInfiniteQuery(pieces<t.CertificateRow>('/certificates', 'certificates', query));
export const useIssuers = (query: Query = {}) => useInfiniteQuery(pieces<t.IssuerRow>('/issuers', 'issuers', query));

/** Every row that matches, however many there are. */
export async function allCertificates(query: Query): Promise<t.CertificateRow[]> {
  const rows: t.CertificateRow[] = [];
  let next: string | undefined;
  do {
    const page: t.Page<t.CertificateRow> = await get('/certificates', { ...query, limit: 500, continue: next });
    rows.push(...page.items);
    next = page.continue;
  } while (next);
  return rows;
}

function one<Answer>(key: unknown[], path: string, query?: Query) {
  return { queryKey: key, queryFn: ({ signal }: { signal: AbortSignal }) => get<Answer>(path, query, signal) };
}

export const useSession = () => useQuery({ ...one<t.Session>(['session'], '/session'), staleTime: 60_000 });
export const useHealth = () => useQuery({ ...one<t.Health>(['health'], '/health'), refetchInterval: 15_000 });
export const useVersion = () => useQuery({ ...one<t.Version>(['version'], '/version'), staleTime: Infinity });
export const useLimits = () => useQuery({ ...one<t.Limits>(['limits'], '/limits'), staleTime: Infinity });
export const useOverview = () => useQuery({ ...one<t.Overview>(['overview'], '/overview'), refetchInterval: 30_000 });
export const useCertificate = (namespace: string, name: string) =>
  useQuery(one<t.Certificate>(['certificate', namespace, name], objectPath('certificates', namespace, name)));
export const useIssuer = (namespace: string, name: string) =>
  useQuery(one<t.Issuer>(['issuer', namespace, name], objectPath('issuers', namespace, name)));
export const useChain = (namespace: string, name: string) =>
  useQuery(one<t.Chain>(['certificate', namespace, name, 'chain'], objectPath('certificates', namespace, name, 'chain')));
export const useEvents = (of: 'certificates' | 'issuers', namespace: string, name: string) =>
  useQuery(one<t.ObjectEvents>([of === 'issuers' ? 'issuer' : 'certificate', namespace, name, 'events'], objectPath(of, namespace, name, 'events')));
export const useIdentities = () => useQuery(one<{ items: t.Identity[] }>(['identities'], '/identities'));
export const useSecrets = (namespace?: string) =>
  useQuery(one<{ items: t.SecretItem[]; total: number }>(['secrets', namespace ?? ''], '/secrets', { namespace }));
export const useChains = () => useQuery(one<{ items: t.KnownCa[] }>(['chains'], '/chains'));
export const useActivity = (query: Query) =>
  useQuery({ ...one<t.Activity>(['activity', query], '/activity', query), placeholderData: keepPreviousData, refetchInterval: 15_000 });
export const useCalendar = (from: string, to: string) =>
  useQuery({ ...one<{ items: t.CalendarDay[] }>(['calendar', from, to], '/calendar', { from, to }), placeholderData: keepPreviousData });
export const useCandidates = (namespace: string) =>
  useQuery(one<{ items: t.Candidate[] }>(['candidates', namespace], '/adopt/candidates', { namespace }));
export const useLogLevel = () => useQuery({ ...one<t.LogLevel>(['log-level'], '/log-level'), refetchInterval: 30_000 });
