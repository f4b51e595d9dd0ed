/** The Secrets that occm writes, reads or finds: whether they are as they should be. */

import { useCallback, useMemo } from 'react';
import { useSecrets } from '../api/queries';
import type { SecretItem } from '../api/types';
import { ClearFilters, FilterBar, FilterSearch, FilterSelect, useFilters } from '../parts/filters';
import { SyncLabel } from '../parts/labels';
import { ObjectLink } from '../parts/links';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { useMe } from '../parts/session';
import { Answered, Empty } from '../parts/states';
import { DataTable, type Column } from '../parts/table';
import { TimeAgo } from '../parts/time';

const ROLES: Record<string, string> = { Output: 'written by occm', Input: 'read by occm', Foreign: 'not ours' };
const STATES = ['InSync', 'Pending', 'Drifted', 'Missing', 'Foreign', 'Unreadable'];
const ACTIONS: Record<string, string> = { Restore: 'put back', Reissue: 'new', Alert: 'reported', None: '–' };

const COLUMNS: Column<SecretItem>[] = [
  {
    key: 'name',
    title: 'Secret',
    value: (row) => `${row.name} ${row.namespace}`,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.name}>
          {row.name}
        </span>
        <span className="occm-muted">
          {row.namespace}
          {row.kind !== 'Secret' && `, ${row.kind}`}
        </span>
      </div>
    ),
  },
  {
    key: 'state',
    width: '9rem',
    title: 'State',
    value: (row) => row.state,
    cell: (row) => (
      <div className="occm-two" title={row.reason}>
        <span>
          <SyncLabel state={row.state} />
        </span>
        {row.reason && row.state !== 'InSync' && <span className="occm-muted occm-ellipsis">{row.reason}</span>}
      </div>
    ),
  },
  {
    key: 'role',
    title: 'Role',
    width: '11.5rem',
    value: (row) => row.role,
    cell: (row) => (
      <div className="occm-two">
        <span>{ROLES[row.role] ?? row.role}</span>
        {row.action !== 'None' && <span className="occm-muted">when changed: {ACTIONS[row.action] ?? row.action}</span>}
      </div>
    ),
  },
  {
    key: 'owner',
    title: 'Belongs to',
    value: (row) => row.owner?.name,
    cell: (row) =>
      row.owner ? (
        <div className="occm-two">
          <ObjectLink of={row.owner} short />
          <span className="occm-muted occm-ellipsis">
            {row.owner.kind}, {row.owner.namespace}
          </span>
        </div>
      ) : (
        <span className="occm-muted">–</span>
      ),
  },
  {
    key: 'writer',
    width: '9rem',
    title: 'Since, by',
    value: (row) => row.since,
    cell: (row) => (
      <div className="occm-two">
        <span>
          <TimeAgo time={row.since} none="–" />
        </span>
        {row.lastWriter && <span className="occm-muted occm-ellipsis">{row.lastWriter}</span>}
      </div>
    ),
  },
  { key: 'keys', width: '11rem', title: 'Keys', cell: (row) => <span className="occm-ellipsis" title={row.keys.join(', ')}>{row.keys.join(', ')}</span> },
];

export function Secrets() {
  const me = useMe();
  const { get, set } = useFilters();
  const query = useSecrets(get('namespace') || undefined);
  const onSearch = useCallback((q: string) => set({ q }), [set]);
  const filtered = ['q', 'state', 'role', 'namespace'].some((name) => get(name));
  const clear = () => set({ q: undefined, state: undefined, role: undefined, namespace: undefined });
  const [q, state, role] = [get('q').toLowerCase(), get('state'), get('role')];
  const rows = useMemo(
    () =>
      (query.data?.items ?? []).filter(
        (row) => (!state || row.state === state) && (!role || row.role === role) && (!q || `${row.namespace}/${row.name} ${row.owner?.name ?? ''}`.toLowerCase().includes(q)),
      ),
    [query.data, q, state, role],
  );
  return (
    <Screen
      title="Secrets"
      filled
      actions={<AsCodeButton title="Secrets" yaml={[{ see: 'Secrets with the label occm.dev/role' }]} requests={[{ method: 'GET', path: '/secrets', query: { namespace: get('namespace') || undefined } }]} />}
    >
      <FilterBar beside={rows.length === 1 ? '1 Secret' : `${rows.length.toLocaleString('en')} Secrets`}>
        <FilterSearch label="Search Secret or owner" value={get('q')} onChange={onSearch} />
        <FilterSelect label="Namespace" options={[...me.namespaces].sort()} value={get('namespace')} onChange={(namespace) => set({ namespace })} />
        <FilterSelect label="State" options={STATES} value={state} onChange={(value) => set({ state: value })} />
        <FilterSelect label="Role" options={Object.entries(ROLES).map(([value, label]) => ({ value, label }))} value={role} onChange={(value) => set({ role: value })} />
        <ClearFilters shown={filtered} onClear={clear} />
      </FilterBar>
      <Answered query={query} what="Secrets" rows={12}>
        {() =>
          rows.length === 0 ? (
            <Empty title={filtered ? 'No Secret matches' : 'No Secrets'}>{filtered ? 'Other filters may show some.' : 'Outputs of Certificates and inputs of Issuers appear here.'}</Empty>
          ) : (
            <DataTable label="Secrets" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.namespace}/${row.name}`} />
          )
        }
      </Answered>
    </Screen>
  );
}
