/** All Issuers. */

import { Button } from '@patternfly/react-core';
import { useCallback, useMemo } from 'react';
import { Link } from 'react-router';
import { useIssuers } from '../api/queries';
import type { IssuerRow } from '../api/types';
import { Expiry } from '../parts/expiry';
import { ClearFilters, FilterBar, FilterSearch, FilterSelect, useFilters } from '../parts/filters';
import { StatusLabel } from '../parts/labels';
import { IssuerLink } from '../parts/links';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { may, useMe } from '../parts/session';
import { Answered, Empty } from '../parts/states';
import { DataTable, type Column } from '../parts/table';
import { TimeAgo } from '../parts/time';

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
      <FilterBar beside={total === 1 ? '1 Issuer' : `${total.toLocaleString('en')} Issuers`}>
        <FilterSearch label="Search name or address" value={get('q')} onChange={onSearch} />
        <FilterSelect label="Namespace" options={[...me.namespaces].sort()} value={get('namespace')} onChange={(namespace) => set({ namespace })} />
        <ClearFilters shown={filtered} onClear={() => set({ q: undefined, namespace: undefined })} />
      </FilterBar>
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
    width: '9.5rem',
    title: 'Status',
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
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.url}>
          {row.url}
        </span>
        <span className="occm-muted occm-ellipsis">
          {row.engine}, {row.auth === 'Mac' ? 'shared secret' : 'certificate'} first
        </span>
      </div>
    ),
  },
  { key: 'identity', title: 'CMP identity until', width: '13.5rem', value: (row) => row.identity?.notAfter, cell: (row) => <Expiry end={row.identity?.notAfter} none="none" /> },
  { key: 'certificates', width: '8.5rem', title: 'Certificates', value: (row) => row.certificates, cell: (row) => <Link to={`/certificates?issuer=${encodeURIComponent(`${row.namespace}/${row.name}`)}`}>{row.certificates.toLocaleString('en')}</Link> },
  { key: 'contact', width: '8rem', title: 'Last answer', value: (row) => row.lastContact, cell: (row) => <TimeAgo time={row.lastContact} none="never" /> },
];
