/** The Events of one object, and how far back they reach. */

import { useEvents } from '../api/queries';
import type { ObjectEvents } from '../api/types';
import { SeverityLabel } from './labels';
import { Answered, Empty } from './states';
import { DataTable, type Column } from './table';
import { When } from './time';

const COLUMNS: Column<ObjectEvents['items'][number]>[] = [
  { key: 'time', width: '11rem', title: 'Time', cell: (row) => <When time={row.time} stacked seconds /> },
  { key: 'severity', width: '8rem', title: 'Severity', cell: (row) => <SeverityLabel severity={row.severity} /> },
  { key: 'reason', width: '11rem', title: 'Reason', cell: (row) => row.reason },
  { key: 'message', title: 'Message', cell: (row) => row.message + ((row.count ?? 1) > 1 ? ` (${row.count} times)` : '') },
];

export function EventsTab({ of, namespace, name }: { of: 'certificates' | 'issuers'; namespace: string; name: string }) {
  const query = useEvents(of, namespace, name);
  return (
    <Answered query={query} what="events">
      {({ items, reachesBackTo, source }) => (
        <div className="occm-stack">
          <p>
            {source === 'Kubernetes' ? 'Events as Kubernetes keeps them (an hour by default)' : 'Events as the directory keeps them'}
            {reachesBackTo && (
              <>
                ; they reach back to <When time={reachesBackTo} />
              </>
            )}
            .
          </p>
          {items.length === 0 ? <Empty title="No events">Nothing happened in that time.</Empty> : <DataTable plain label="Events" columns={COLUMNS} rows={items} rowKey={(row) => `${row.time} ${row.reason} ${row.message}`} />}
        </div>
      )}
    </Answered>
  );
}
