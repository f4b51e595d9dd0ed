/** The certificates with which occm signs its requests, one for each Issuer. */

import { useIdentities } from '../api/queries';
import type { Identity } from '../api/types';
import { Expiry } from '../parts/expiry';
import { StatusLabel } from '../parts/labels';
import { IssuerLink } from '../parts/links';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { Answered, Empty } from '../parts/states';
import { DataTable, type Column } from '../parts/table';
import { When } from '../parts/time';

const COLUMNS: Column<Identity>[] = [
  {
    key: 'issuer',
    title: 'Issuer',
    value: (row) => row.issuer.name,
    cell: (row) => (
      <div className="occm-two">
        <IssuerLink of={row.issuer} />
        <span className="occm-muted">{row.issuer.namespace}</span>
      </div>
    ),
  },
  {
    key: 'state',
    width: '9.5rem',
    title: 'Status',
    value: (row) => row.state,
    cell: (row) => (
      <div className="occm-two">
        <span>
          <StatusLabel state={row.state} />
        </span>
        <span className="occm-muted">{row.reason}</span>
      </div>
    ),
  },
  { key: 'until', width: '13.5rem', title: 'Valid until', value: (row) => row.notAfter, cell: (row) => <Expiry end={row.notAfter} /> },
  { key: 'renewal', width: '10.5rem', title: 'Next renewal', value: (row) => row.renewalTime, cell: (row) => <When time={row.renewalTime} stacked /> },
  { key: 'subject', title: 'Subject', value: (row) => row.subject, cell: (row) => <span className="occm-ellipsis" title={row.subject}>{row.subject || '–'}</span> },
  { key: 'serial', width: '9rem', title: 'Serial number', cell: (row) => <code className="occm-ellipsis" title={row.serialNumber}>{row.serialNumber ?? '–'}</code> },
];

export function Identities() {
  const query = useIdentities();
  return (
    <Screen
      title="CMP identities"
      filled
      about="The certificate with which occm signs its requests to an Issuer. It is made and renewed by itself; to renew or replace it, see its Issuer."
      actions={<AsCodeButton title="CMP identities" yaml={[{ see: 'status.identity of issuers.occm.dev' }]} requests={[{ method: 'GET', path: '/identities' }]} />}
    >
      <Answered query={query} what="CMP identities">
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="No CMP identities">An Issuer with authentication.identity gets one.</Empty>
          ) : (
            <DataTable label="CMP identities" columns={COLUMNS} rows={items} rowKey={(row) => `${row.issuer.namespace}/${row.issuer.name}`} />
          )
        }
      </Answered>
    </Screen>
  );
}
