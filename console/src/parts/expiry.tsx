/** When something ends: the date, the band, and how long that is. */

import { ExpiryLabel } from './labels';
import { bandOf } from './status';
import { useSetting } from './settings';
import { absolute, TimeAgo } from './time';

export function Expiry({ end, band, none = '–' }: { end: string | undefined; band?: string | undefined; none?: string }) {
  useSetting('zone');
  if (!end) return <span className="occm-muted">{none}</span>;
  return (
    <div className="occm-two">
      <span className="occm-nowrap">{absolute(end)}</span>
      <span className="occm-signs">
        <ExpiryLabel band={band ?? bandOf(end, Date.now())} />
        <span className="occm-muted">
          <TimeAgo time={end} />
        </span>
      </span>
    </div>
  );
}
