/** The Secrets that occm writes, reads or finds: whether they are as they should be. */

import { Toolbar, ToolbarContent, ToolbarItem } from '@patternfly/react-core';
import { useCallback, useMemo } from 'react';
import { useSecrets } from '../api/queries';
import type { SecretItem } from '../api/types';
import { ClearFilters, FilterSearch, FilterSelect, useFilters } from '../shared/filters';
import { SyncLabel } from '../shared/labels';
import { ObjectLink } from '../shared/links';
import { AsCodeButton } from '../shared/operation';
import { Screen } from '../shared/screen';
import { useMe } from '../shared/session';
import { Answered, Empty } from '../shared/states';
import { DataTable, type Column } from '../shared/table';
import { When } from '../shared/time';

const ROLES: Record<string, string> = { Output: 'written by occm', Input: 'read by occm', Foreign: 'not ours' };
const STATES = ['InSync', 'Drifted', 'Missing', 'Foreign', 'Unreadable'];
const ACTIONS: Record<string, string> = { Restore: 'put back', Reissue: 'enrolled anew', Alert: 'reported only', None: '–' };

const COLUMNS: Column<SecretItem>[] = [
  {
    key: 'name',
    title: 'Secret',
    width: 25,
    value: (row) => `${row.name} ${row.namespace}`,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.name}>
          {row.name}
        </span>
        <span className="occm-muted">{row.namespace}</span>
      </div>
    ),
  },
  {
    key: 'state',
    title: 'State',
    width: 15,
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
  { key: 'role', title: 'Role', width: 10, value: (row) => row.role, cell: (row) => ROLES[row.role] ?? row.role },
  { key: 'owner', title: 'Belongs to', width: 20, value: (row) => row.owner?.name, cell: (row) => (row.owner ? <ObjectLink of={row.owner} /> : <span className="occm-muted">–</span>) },
  {
    key: 'writer',
    title: 'Last written',
    width: 15,
    value: (row) => row.since,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis">{row.lastWriter ?? '–'}</span>
        <When time={row.since} none="" />
      </div>
    ),
  },
  { key: 'action', title: 'When changed', width: 10, value: (row) => row.action, cell: (row) => ACTIONS[row.action] ?? row.action },
  { key: 'keys', title: 'Keys', cell: (row) => <span className="occm-ellipsis" title={row.keys.join(', ')}>{row.keys.join(', ')}</span> },
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
      <Toolbar className="occm-toolbar" aria-label="Filters">
        <ToolbarContent>
          <ToolbarItem>
            <FilterSearch label="Search Secret or owner" value={get('q')} onChange={onSearch} />
          </ToolbarItem>
          <ToolbarItem>
            <FilterSelect label="Namespace" options={[...me.namespaces].sort()} value={get('namespace')} onChange={(namespace) => set({ namespace })} />
          </ToolbarItem>
          <ToolbarItem>
            <FilterSelect label="State" options={STATES} value={state} onChange={(value) => set({ state: value })} />
          </ToolbarItem>
          <ToolbarItem>
            <FilterSelect label="Role" options={Object.entries(ROLES).map(([value, label]) => ({ value, label }))} value={role} onChange={(value) => set({ role: value })} />
          </ToolbarItem>
          <ToolbarItem alignSelf="center">
            <ClearFilters shown={filtered} onClear={clear} />
          </ToolbarItem>
          <ToolbarItem align={{ default: 'alignEnd' }} alignSelf="center">
            <span className="occm-muted occm-nowrap" role="status">
              {rows.length === 1 ? '1 Secret' : `${rows.length.toLocaleString('en')} Secrets`}
            </span>
          </ToolbarItem>
        </ToolbarContent>
      </Toolbar>
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
