/** All Certificates: find, order, choose, act on many at once. */

import { Button } from '@patternfly/react-core';
import CertificateIcon from '@patternfly/react-icons/dist/esm/icons/certificate-icon';
import { useCallback, useMemo, useState } from 'react';
import { Link, useNavigate } from 'react-router';
import type { Query } from '../api/client';
import { allCertificates, useCertificates, useIssuers } from '../api/queries';
import type { CertificateRow } from '../api/types';
import { act } from '../operations';
import { csv } from './certificates-csv';
import { download } from '../parts/code';
import { Expiry } from '../parts/expiry';
import { ClearFilters, FilterBar, FilterSearch, FilterSelect, FilterText, useFilters } from '../parts/filters';
import { BAND_NAMES, bandWord, STATE_NAMES, StatusLabel } from '../parts/labels';
import { CertificateLink, IssuerLink } from '../parts/links';
import { ActionMenu } from '../parts/menu';
import { AsCodeButton, OperationDialog, type Operation } from '../parts/operation';
import { Screen } from '../parts/screen';
import { may, useMe } from '../parts/session';
import { Answered, Empty } from '../parts/states';
import { DataTable, useWide, type Column } from '../parts/table';
import { useSetting } from '../parts/settings';
import { When, zoneName } from '../parts/time';
import { toast } from '../parts/toasts';

const FILTERS = ['q', 'namespace', 'issuer', 'state', 'band', 'algorithm', 'label', 'drift'] as const;
const DEFAULT_SORT = 'expiry';
const KEY_ALGORITHMS = ['ECDSA', 'RSA', 'Ed25519'];

const keyOf = (row: CertificateRow) => `${row.namespace}/${row.name}`;

export function Certificates() {
  const me = useMe();
  const { get, set } = useFilters();
  const sort = get('sort') || DEFAULT_SORT;
  const query: Query = useMemo(
    () => ({ ...Object.fromEntries(FILTERS.map((name) => [name, get(name) || undefined])), sort }),
    [get, sort],
  );
  const certificates = useCertificates(query);
  const rows = useMemo(() => certificates.data?.pages.flatMap((page) => page.items) ?? [], [certificates.data]);
  const total = certificates.data?.pages[0]?.total ?? 0;
  const [chosen, setChosen] = useState<ReadonlyMap<string, CertificateRow>>(new Map());
  const [operation, setOperation] = useState<Operation | undefined>();
  const filtered = FILTERS.some((name) => get(name));
  const clear = () => set(Object.fromEntries(FILTERS.map((name) => [name, undefined])));
  const { fetchNextPage, isFetchingNextPage } = certificates;
  const onMore = useCallback(() => {
    if (!isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, isFetchingNextPage]);

  /** Keeps the rows that are chosen, also those that a filter hides. */
  const choose = (keys: ReadonlySet<string>) => {
    const next = new Map<string, CertificateRow>();
    const here = new Map(rows.map((row) => [keyOf(row), row]));
    for (const key of keys) {
      const row = here.get(key) ?? chosen.get(key);
      if (row) next.set(key, row);
    }
    setChosen(next);
  };
  const targets = useMemo(() => {
    const here = new Map(rows.map((row) => [keyOf(row), row]));
    return [...chosen].map(([key, row]) => here.get(key) ?? row);
  }, [chosen, rows]);
  const canCreate = may(me, 'Edit');

  return (
    <Screen
      title="Certificates"
      filled
      actions={
        <>
          <AsCodeButton title="This list" yaml={[{ list: 'certificates.occm.dev', ...query }]} requests={[{ method: 'GET', path: '/certificates', query }]} />
          {canCreate && (
            <Button variant="primary" component={(props: object) => <Link {...props} to="/certificates/new" />}>
              New certificate
            </Button>
          )}
        </>
      }
    >
      <Filters clear={clear} filtered={filtered} />
      <BulkBar rows={targets} query={query} total={total} onChoose={setChosen} onOperation={setOperation} />
      <Answered query={certificates} what="certificates" rows={12}>
        {() =>
          rows.length === 0 ? (
            <NothingHere filtered={filtered} clear={clear} canCreate={canCreate} />
          ) : (
            <CertificateTable rows={rows} total={total} sort={sort} onSort={(next) => set({ sort: next === DEFAULT_SORT ? undefined : next })} onMore={onMore} selected={new Set(chosen.keys())} onSelect={choose} onOperation={setOperation} />
          )
        }
      </Answered>
      {operation && <OperationDialog operation={operation} onClose={() => setOperation(undefined)} onDone={() => setChosen(new Map())} />}
    </Screen>
  );
}

type TableProps = {
  rows: CertificateRow[];
  total: number;
  sort: string;
  onSort: (sort: string) => void;
  onMore: () => void;
  selected: ReadonlySet<string>;
  onSelect: (keys: ReadonlySet<string>) => void;
  onOperation: (operation: Operation) => void;
};

function CertificateTable(props: TableProps) {
  const me = useMe();
  const navigate = useNavigate();
  useSetting('zone');
  const wide = useWide();
  const columns: Column<CertificateRow>[] = [
    { key: 'name', title: 'Name', sort: 'name', cell: (row) => <NameCell row={row} /> },
    { key: 'state', title: 'Status', sort: 'state', width: '9.5rem', cell: (row) => <StateCell row={row} /> },
    { key: 'expiry', title: `Valid until (${zoneName()})`, sort: 'expiry', width: '13.5rem', cell: (row) => <Expiry end={row.notAfter} band={row.band} none="no certificate" /> },
    { key: 'renewal', title: 'Next renewal', sort: 'renewal', width: '10.5rem', cell: (row) => <When time={row.renewalTime} stacked /> },
    { key: 'issuer', title: 'Issuer, key', width: '9rem', cell: (row) => <IssuerCell row={row} /> },
  ];
  if (wide) columns.push({ key: 'secret', title: 'Secret', width: '15rem', cell: (row) => <span className="occm-ellipsis" title={row.secretName}>{row.secretName ?? '–'}</span> });
  const menu = (row: CertificateRow) => {
    const disabled = !may(me, 'Edit', row.namespace);
    const why = 'Needs the role Edit in this namespace';
    return (
      <ActionMenu
        label={`Actions for ${row.name}`}
        items={[
          { title: 'Renew now', onClick: () => props.onOperation(act('renew', [row])), disabled, why },
          { title: 'Recreate', onClick: () => props.onOperation(act('recreate', [row])), disabled, why },
          { title: 'Edit', onClick: () => void navigate(`/certificates/${row.namespace}/${row.name}/edit`), disabled, why },
        ]}
      />
    );
  };
  return (
    <DataTable
      label="Certificates"
      columns={columns}
      rows={props.rows}
      rowKey={keyOf}
      total={props.total}
      onMore={props.onMore}
      sort={props.sort}
      onSort={props.onSort}
      selected={props.selected}
      onSelect={props.onSelect}
      selectLabel={(row) => `Select ${row.name}`}
      actions={menu}
    />
  );
}

function NameCell({ row }: { row: CertificateRow }) {
  const second = [row.namespace, row.commonName ?? row.dnsNames[0]].filter(Boolean).join(' · ');
  return (
    <div className="occm-two">
      <CertificateLink of={row} />
      <span className="occm-muted occm-ellipsis" title={second}>
        {second}
      </span>
    </div>
  );
}

function IssuerCell({ row }: { row: CertificateRow }) {
  return (
    <div className="occm-two">
      <IssuerLink of={row.issuer} />
      <span className="occm-muted occm-nowrap">{[row.algorithm, row.size].filter(Boolean).join(' ')}</span>
    </div>
  );
}

function StateCell({ row }: { row: CertificateRow }) {
  const plain = row.state === 'Ready' && !row.drift;
  return (
    <div className="occm-two" title={row.message}>
      <span>
        <StatusLabel state={row.state} /> {row.drift && <StatusLabel state="Drift" />}
      </span>
      {!plain && <span className="occm-muted occm-ellipsis">{row.reason}</span>}
    </div>
  );
}

function Filters({ clear, filtered }: { clear: () => void; filtered: boolean }) {
  const me = useMe();
  const { get, set } = useFilters();
  const issuers = useIssuers();
  const names = useMemo(
    () => (issuers.data?.pages.flatMap((page) => page.items) ?? []).map(({ namespace, name }) => ({ value: `${namespace}/${name}`, label: name })),
    [issuers.data],
  );
  const onSearch = useCallback((q: string) => set({ q }), [set]);
  const onLabel = useCallback((label: string) => set({ label }), [set]);
  const select = (name: string) => ({ value: get(name), onChange: (value: string) => set({ [name]: value }) });
  return (
    <FilterBar>
      <FilterSearch label="Name, DNS name, serial number" value={get('q')} onChange={onSearch} />
      <FilterSelect label="Namespace" options={[...me.namespaces].sort()} {...select('namespace')} />
      <FilterSelect label="Issuer" options={names} {...select('issuer')} />
      <FilterSelect label="Status" options={STATE_NAMES} {...select('state')} />
      <FilterSelect label="Expiry" options={BAND_NAMES.map((value) => ({ value, label: bandWord(value) }))} {...select('band')} />
      <FilterSelect label="Key" options={KEY_ALGORITHMS} {...select('algorithm')} />
      <FilterText label="Label key=value" value={get('label')} onChange={onLabel} />
      {get('drift') && <FilterSelect label="Drift" options={[{ value: 'true', label: 'Drifted' }]} {...select('drift')} />}
      <ClearFilters shown={filtered} onClear={clear} />
    </FilterBar>
  );
}

type BulkProps = {
  rows: CertificateRow[];
  query: Query;
  total: number;
  onChoose: (rows: ReadonlyMap<string, CertificateRow>) => void;
  onOperation: (operation: Operation) => void;
};

/** Always in its place, so that the table does not move when something is chosen. */
function BulkBar({ rows, query, total, onChoose, onOperation }: BulkProps) {
  const me = useMe();
  const navigate = useNavigate();
  const none = rows.length === 0;
  const forbidden = rows.some((row) => !may(me, 'Edit', row.namespace));
  const blocked = none || forbidden;
  const why = forbidden ? 'Some are in namespaces where you may not edit' : undefined;
  const all = async () => {
    try {
      onChoose(new Map((await allCertificates(query)).map((row) => [keyOf(row), row])));
    } catch (error) {
      toast(`Not all could be read: ${error instanceof Error ? error.message : String(error)}`, 'danger');
    }
  };
  const exported = async () => (none ? await allCertificates(query) : rows);
  const save = async (format: 'csv' | 'json') => {
    try {
      const wanted = await exported();
      if (format === 'csv') download('certificates.csv', csv(wanted), 'text/csv');
      else download('certificates.json', JSON.stringify(wanted, null, 2), 'application/json');
    } catch (error) {
      toast(`Not exported: ${error instanceof Error ? error.message : String(error)}`, 'danger');
    }
  };
  return (
    <div className="occm-bulk" role="group" aria-label="Selection">
      <span className="occm-nowrap" role="status">
        {total === 1 ? '1 certificate' : `${total.toLocaleString('en')} certificates`}
        {none ? '' : `, ${rows.length.toLocaleString('en')} selected`}
      </span>
      {total > 0 && rows.length < total && (
        <Button variant="link" isInline onClick={() => void all()}>
          Select all {total.toLocaleString('en')}
        </Button>
      )}
      {!none && (
        <Button variant="link" isInline onClick={() => onChoose(new Map())}>
          Select none
        </Button>
      )}
      <span className="occm-bulk__rest" />
      <Button size="sm" variant="secondary" isAriaDisabled={blocked} title={why} onClick={() => onOperation(act('renew', rows))}>
        Renew
      </Button>
      <Button size="sm" variant="secondary" isAriaDisabled={blocked} title={why} onClick={() => onOperation(act('recreate', rows))}>
        Recreate
      </Button>
      <Button size="sm" variant="secondary" isAriaDisabled={blocked} title={why} onClick={() => void navigate('/migration/issuer', { state: { certificates: rows.map(({ namespace, name }) => ({ namespace, name })) } })}>
        Migrate
      </Button>
      <ActionMenu
        label="Export"
        text="Export"
        items={[
          { title: none ? `All ${total.toLocaleString('en')} as CSV` : 'Selected as CSV', onClick: () => void save('csv') },
          { title: none ? `All ${total.toLocaleString('en')} as JSON` : 'Selected as JSON', onClick: () => void save('json') },
        ]}
      />
    </div>
  );
}

function NothingHere({ filtered, clear, canCreate }: { filtered: boolean; clear: () => void; canCreate: boolean }) {
  if (filtered) {
    return (
      <Empty title="No certificate matches" actions={<Button variant="link" onClick={clear}>Clear filters</Button>}>
        Other filters may show some.
      </Empty>
    );
  }
  return (
    <Empty title="No certificates yet" icon={CertificateIcon} actions={canCreate && <Link to="/certificates/new">New certificate</Link>}>
      A Certificate says which key and certificate is needed and which Secret they go to.
    </Empty>
  );
}
