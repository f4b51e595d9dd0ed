/** The life of a certificate as a bar: from its start to its end, the renewal marked, now marked. */

import { absolute, relative, useNow } from './time';
import { useSetting } from './settings';

type Props = { notBefore: string; notAfter: string; renewalTime?: string | undefined };

export function LifeBar({ notBefore, notAfter, renewalTime }: Props) {
  useSetting('zone');
  const [start, end] = [Date.parse(notBefore), Date.parse(notAfter)];
  const renewal = renewalTime ? Date.parse(renewalTime) : undefined;
  const now = useNow(renewal ?? end);
  const percent = (time: number) => Math.max(0, Math.min(100, ((time - start) / Math.max(1, end - start)) * 100));
  const lived = percent(now);
  const short = end - start < 3 * 86_400_000;
  const show = (time: number) => absolute(time, { seconds: short });
  const text = `${Math.round(lived)} per cent of its life is over; it ends ${relative(end, now)}${renewal ? `, is renewed ${relative(renewal, now)}` : ''}`;
  return (
    <div className="occm-life">
      <div className="occm-life__bar" role="img" aria-label={text}>
        <div className={now > end ? 'occm-life__lived occm-life__lived--over' : 'occm-life__lived'} style={{ width: `${lived}%` }} />
        {renewal !== undefined && <div className="occm-life__renewal-zone" style={{ left: `${percent(renewal)}%` }} />}
        {renewal !== undefined && <div className="occm-life__mark" style={{ left: `${percent(renewal)}%` }} title={`renewal ${show(renewal)}`} />}
        {now <= end && <div className="occm-life__now" style={{ left: `${lived}%` }} title={`now, ${Math.round(lived)} %`} />}
      </div>
      <dl className="occm-life__dates">
        <div>
          <dt>Valid from</dt>
          <dd>{show(start)}</dd>
          <dd className="occm-muted">{relative(start, now)}</dd>
        </div>
        {renewal !== undefined && (
          <div>
            <dt>Renewal</dt>
            <dd>{show(renewal)}</dd>
            <dd className="occm-muted">{relative(renewal, now)}</dd>
          </div>
        )}
        <div>
          <dt>Valid until</dt>
          <dd>{show(end)}</dd>
          <dd className="occm-muted">{relative(end, now)}</dd>
        </div>
      </dl>
    </div>
  );
}
