/** All Issuers. */

import { Button, Toolbar, ToolbarContent, ToolbarItem } from '@patternfly/react-core';
import { useCallback, useMemo } from 'react';
import { Link } from 'react-router';
import { useIssuers } from '../api/queries';
import type { IssuerRow } from '../api/types';
import { ClearFilters, FilterSearch, FilterSelect, useFilters } from '../shared/filters';
import { bandOf, ExpiryLabel, StatusLabel } from '../shared/labels';
import { IssuerLink } from '../shared/links';
import { AsCodeButton } from '../shared/operation';
import { Screen } from '../shared/screen';
import { may, useMe } from '../shared/session';
import { Answered, Empty } from '../shared/states';
import { DataTable, type Column } from '../shared/table';
import { TimeAgo, When } from '../shared/time';

export function Issuers() {
  const me = useMe();
  const { get, set } = useFilters();
  const query = useMemo(() => ({ q: get('q') || undefined, namespace: get('namespace') || undefined, sort: 'name' }), [get]);
  const issuers = useIssuers(query);
  const rows = useMemo(() => issuers.data?.pages.flatMap((page) => page.items) ?? [], [issuers.data]);
  const total = issuers.data?.pages[0]?.total ?? 0;
  const onSearch = useCallback((q: string) => set({ q }), [set]);
  const { fetchNextPage, isFetchingNextPage } = issuers;
  const onMore = useCallback(() => {
    if (!isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, isFetchingNextPage]);
  const filtered = Boolean(query.q ?? query.namespace);
  const canCreate = may(me, 'Edit');
  return (
    <Screen
      title="Issuers"
      filled
      actions={
        <>
          <AsCodeButton title="This list" yaml={[{ list: 'issuers.occm.dev', ...query }]} requests={[{ method: 'GET', path: '/issuers', query }]} />
          {canCreate && (
            <Button variant="primary" component={(props: object) => <Link {...props} to="/issuers/new" />}>
              New Issuer
            </Button>
          )}
        </>
      }
    >
      <Toolbar className="occm-toolbar" aria-label="Filters">
        <ToolbarContent>
          <ToolbarItem>
            <FilterSearch label="Search name or address" value={get('q')} onChange={onSearch} />
          </ToolbarItem>
          <ToolbarItem>
            <FilterSelect label="Namespace" options={[...me.namespaces].sort()} value={get('namespace')} onChange={(namespace) => set({ namespace })} />
          </ToolbarItem>
          <ToolbarItem alignSelf="center">
            <ClearFilters shown={filtered} onClear={() => set({ q: undefined, namespace: undefined })} />
          </ToolbarItem>
        </ToolbarContent>
      </Toolbar>
      <Answered query={issuers} what="Issuers">
        {() =>
          rows.length === 0 ? (
            <Empty title={filtered ? 'No Issuer matches' : 'No Issuers yet'} actions={!filtered && canCreate && <Link to="/issuers/new">New Issuer</Link>}>
              An Issuer is one CMP endpoint of a CA, with how to authenticate to it and what to trust.
            </Empty>
          ) : (
            <DataTable label="Issuers" columns={COLUMNS} rows={rows} total={total} onMore={onMore} rowKey={(row) => `${row.namespace}/${row.name}`} />
          )
        }
      </Answered>
    </Screen>
  );
}

const COLUMNS: Column<IssuerRow>[] = [
  {
    key: 'name',
    title: 'Name',
    width: 20,
    cell: (row) => (
      <div className="occm-two">
        <IssuerLink of={row} />
        <span className="occm-muted">{row.namespace}</span>
      </div>
    ),
    value: (row) => row.name,
  },
  {
    key: 'state',
    title: 'Status',
    width: 15,
    value: (row) => row.state,
    cell: (row) => (
      <div className="occm-two" title={row.message}>
        <span>
          <StatusLabel state={row.state} />
        </span>
        {!row.ready && <span className="occm-muted occm-ellipsis">{row.reason}</span>}
      </div>
    ),
  },
  {
    key: 'url',
    title: 'CMP endpoint',
    width: 25,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.url}>
          {row.url}
        </span>
        <span className="occm-muted">
          {row.engine}, {row.auth === 'Mac' ? 'shared secret' : 'certificate'} first
        </span>
      </div>
    ),
  },
  {
    key: 'identity',
    title: 'CMP identity',
    width: 10,
    value: (row) => row.identity?.notAfter,
    cell: (row) => <ExpiryLabel band={bandOf(row.identity?.notAfter, Date.now())} />,
  },
  { key: 'until', title: 'Identity valid until', cell: (row) => <When time={row.identity?.notAfter} stacked /> },
  { key: 'certificates', title: 'Certificates', width: 10, value: (row) => row.certificates, cell: (row) => <Link to={`/certificates?issuer=${encodeURIComponent(`${row.namespace}/${row.name}`)}`}>{row.certificates.toLocaleString('en')}</Link> },
  { key: 'contact', title: 'Last answer', width: 10, value: (row) => row.lastContact, cell: (row) => <TimeAgo time={row.lastContact} none="never" /> },
];
