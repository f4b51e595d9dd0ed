/** Every CA certificate that is known, and where it is used. */

import { Button, Label } from '@patternfly/react-core';
import { useState } from 'react';
import { useChains } from '../api/queries';
import type { KnownCa } from '../api/types';
import { Expiry } from '../parts/expiry';
import { ObjectLink } from '../parts/links';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { Answered, Empty } from '../parts/states';
import { DataTable, type Column } from '../parts/table';

const FEW = 3;

const COLUMNS: Column<KnownCa>[] = [
  {
    key: 'subject',
    title: 'Subject',
    value: (row) => row.subject,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.subject}>
          {row.subject}
        </span>
        <code className="occm-muted occm-ellipsis" title={row.fingerprintSha256}>
          SHA-256 {row.fingerprintSha256}
        </code>
      </div>
    ),
  },
  { key: 'kind', width: '8rem', title: 'Kind', value: (row) => String(row.selfSigned), cell: (row) => <Label isCompact variant="outline">{row.selfSigned ? 'Root' : 'Intermediate'}</Label> },
  { key: 'until', width: '13.5rem', title: 'Valid until', value: (row) => row.notAfter, cell: (row) => <Expiry end={row.notAfter} /> },
  { key: 'used', title: 'Used by', value: (row) => row.usedBy.length, cell: (row) => <UsedBy row={row} /> },
];

function UsedBy({ row }: { row: KnownCa }) {
  const [all, setAll] = useState(false);
  const shown = all ? row.usedBy : row.usedBy.slice(0, FEW);
  if (row.usedBy.length === 0) return <span className="occm-muted">nothing</span>;
  return (
    <ul className="occm-lines">
      {shown.map((use) => (
        <li key={`${use.kind} ${use.namespace}/${use.name} ${use.use}`}>
          <ObjectLink of={use} /> <span className="occm-muted">{use.use}</span>
        </li>
      ))}
      {row.usedBy.length > FEW && (
        <li>
          <Button variant="link" isInline onClick={() => setAll(!all)}>
            {all ? 'Show fewer' : `and ${row.usedBy.length - FEW} more`}
          </Button>
        </li>
      )}
    </ul>
  );
}

export function Chains() {
  const query = useChains();
  return (
    <Screen
      title="CA certificates"
      about="Every CA certificate that an Issuer trusts or that stands in a chain, with who uses it."
      actions={<AsCodeButton title="CA certificates" yaml={[{ see: 'spec.trust of issuers.occm.dev' }]} requests={[{ method: 'GET', path: '/chains' }]} />}
    >
      <Answered query={query} what="CA certificates">
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="No CA certificates">They come from the trust stores of Issuers and from chains of issued certificates.</Empty>
          ) : (
            <DataTable plain label="CA certificates" columns={COLUMNS} rows={items} rowKey={(row) => row.fingerprintSha256} />
          )
        }
      </Answered>
    </Screen>
  );
}
