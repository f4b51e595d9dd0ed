/** What happened: Events, and what people did. */

import { useCallback, useMemo } from 'react';
import { useActivity } from '../api/queries';
import type { ActivityItem, Activity as Told } from '../api/types';
import { download } from '../parts/code';
import { ClearFilters, FilterBar, FilterSearch, FilterSelect, useFilters } from '../parts/filters';
import { PersonLabel, SeverityLabel } from '../parts/labels';
import { ObjectLink } from '../parts/links';
import { ActionMenu } from '../parts/menu';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { useMe } from '../parts/session';
import { Answered, Empty } from '../parts/states';
import { DataTable, type Column } from '../parts/table';
import { When } from '../parts/time';

const LIMIT = 500;

const COLUMNS: Column<ActivityItem>[] = [
  { key: 'time', width: '11rem', title: 'Time', cell: (row) => <When time={row.time} stacked seconds /> },
  { key: 'severity', width: '6.5rem', title: 'Severity', cell: (row) => (row.kind === 'Audit' ? <PersonLabel /> : <SeverityLabel severity={row.severity} />) },
  { key: 'what', width: '9.5rem', title: 'What', cell: (row) => <Two first={row.kind === 'Audit' ? row.what : row.reason} second={row.result} /> },
  { key: 'object', width: '10.5rem', title: 'Object', cell: (row) => (row.object ? <ObjectLink of={row.object} /> : <span className="occm-muted">–</span>) },
  { key: 'message', title: 'Message', cell: (row) => <span className="occm-clamp occm-clamp--two" title={row.message}>{row.message}</span> },
  { key: 'who', width: '6.5rem', title: 'Who', cell: (row) => <Two first={row.who} second={row.from} /> },
];

const nameOf = ({ object }: ActivityItem) => (object ? `${object.namespace}/${object.name}` : '');

function Two({ first, second }: { first: string | undefined; second: string | undefined }) {
  return (
    <div className="occm-two">
      <span className="occm-ellipsis" title={first}>
        {first ?? '–'}
      </span>
      {second && <span className="occm-muted occm-ellipsis">{second}</span>}
    </div>
  );
}

export function Activity() {
  const me = useMe();
  const { get, set } = useFilters();
  const request = useMemo(() => ({ namespace: get('namespace') || undefined, limit: LIMIT }), [get]);
  const query = useActivity(request);
  const onSearch = useCallback((q: string) => set({ q }), [set]);
  const [q, kind, severity] = [get('q').toLowerCase(), get('kind'), get('severity')];
  const rows = useMemo(
    () =>
      (query.data?.items ?? []).filter(
        (row) =>
          (!kind || row.kind === kind) &&
          (!severity || row.severity === severity) &&
          (!q || `${nameOf(row)} ${row.reason} ${row.message} ${row.who ?? ''} ${row.what}`.toLowerCase().includes(q)),
      ),
    [query.data, q, kind, severity],
  );
  const filtered = ['q', 'kind', 'severity', 'namespace'].some((name) => get(name));
  return (
    <Screen
      title="Activity"
      filled
      about={query.data && <Reach of={query.data} />}
      actions={
        <>
          <AsCodeButton title="Activity" yaml={[{ see: 'Events of issuers.occm.dev and certificates.occm.dev' }]} requests={[{ method: 'GET', path: '/activity', query: request }]} />
          <ActionMenu label="Export" text="Export" items={[{ title: 'As JSON', onClick: () => download('activity.json', JSON.stringify(rows, null, 2), 'application/json') }]} />
        </>
      }
    >
      <FilterBar beside={rows.length === 1 ? '1 entry' : `${rows.length.toLocaleString('en')} entries`}>
        <FilterSearch label="Object, reason, message, who" value={get('q')} onChange={onSearch} />
        <FilterSelect label="Namespace" options={[...me.namespaces].sort()} value={get('namespace')} onChange={(namespace) => set({ namespace })} />
        <FilterSelect label="Severity" options={['Normal', 'Warning']} value={severity} onChange={(value) => set({ severity: value })} />
        <FilterSelect label="By" options={[{ value: 'Event', label: 'occm' }, { value: 'Audit', label: 'people' }]} value={kind} onChange={(value) => set({ kind: value })} />
        <ClearFilters shown={filtered} onClear={() => set({ q: undefined, kind: undefined, severity: undefined, namespace: undefined })} />
      </FilterBar>
      <Answered query={query} what="activity" rows={12}>
        {() =>
          rows.length === 0 ? (
            <Empty title={filtered ? 'Nothing matches' : 'Nothing happened yet'}>{filtered ? 'Other filters may show some.' : 'Events and what people do appear here.'}</Empty>
          ) : (
            <DataTable label="Activity" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.time} ${row.kind} ${nameOf(row)} ${row.reason} ${row.what} ${row.message}`} />
          )
        }
      </Answered>
    </Screen>
  );
}

function Reach({ of }: { of: Told }) {
  return (
    <>
      {of.eventsReachBackTo && (
        <>
          Events since <When time={of.eventsReachBackTo} />.{' '}
        </>
      )}
      What people did since <When time={of.auditReachesBackTo} />. {of.note}
    </>
  );
}
