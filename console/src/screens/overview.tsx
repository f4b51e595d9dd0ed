/** How it stands: counts, what needs attention, what comes next, what happened. */

import { Button } from '@patternfly/react-core';
import CheckCircleIcon from '@patternfly/react-icons/dist/esm/icons/check-circle-icon';
import type { ReactNode } from 'react';
import { Link } from 'react-router';
import { useHealth, useOverview } from '../api/queries';
import type { Overview } from '../api/types';
import { Facts, Panel } from '../parts/facts';
import { ExpiryLabel, PersonLabel, SeverityLabel, StatusLabel } from '../parts/labels';
import { CertificateLink, IssuerLink, ObjectLink } from '../parts/links';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { may, useMe } from '../parts/session';
import { Answered, Empty } from '../parts/states';
import { TimeAgo, When } from '../parts/time';

export function OverviewScreen() {
  const query = useOverview();
  const me = useMe();
  return (
    <Screen
      title="Overview"
      actions={
        <>
          <AsCodeButton title="Overview" yaml={[{ see: 'issuers.occm.dev and certificates.occm.dev' }]} requests={[{ method: 'GET', path: '/overview' }]} />
          {may(me, 'Edit') && (
            <Button variant="primary" component={(props: object) => <Link {...props} to="/certificates/new" />}>
              New certificate
            </Button>
          )}
        </>
      }
    >
      <Answered query={query} what="the overview" rows={10}>
        {(overview) => (overview.counts.total === 0 && overview.issuers.length === 0 ? <Start /> : <Board overview={overview} />)}
      </Answered>
    </Screen>
  );
}

function Start() {
  const me = useMe();
  return (
    <Empty title="Nothing here yet" actions={may(me, 'Edit') && <Link to="/issuers/new">New Issuer</Link>}>
      First comes an Issuer: the CMP endpoint of a CA, and how to show it who you are. Then come Certificates.
    </Empty>
  );
}

function Board({ overview }: { overview: Overview }) {
  return (
    <div className="occm-stack">
      <Counts overview={overview} />
      <div className="occm-board">
        <div className="occm-stack">
          <Attention overview={overview} />
          <Recent overview={overview} />
        </div>
        <div className="occm-stack">
          <Authorities overview={overview} />
          <Coming overview={overview} />
          <System overview={overview} />
        </div>
      </div>
    </div>
  );
}

function Counts({ overview: { counts } }: { overview: Overview }) {
  const ready: [number, ReactNode, string][] = [
    [counts.ready, <StatusLabel key="r" state="Ready" />, 'state=Ready'],
    [counts.issuing, <StatusLabel key="i" state="Issuing" />, 'state=Issuing'],
    [counts.failed, <StatusLabel key="f" state="Failed" />, 'state=Failed'],
    [counts.blocked, <StatusLabel key="b" state="Blocked" />, 'state=Blocked'],
    [counts.drifted, <StatusLabel key="d" state="Drift" />, 'drift=true'],
  ];
  const expiry: [number, ReactNode, string][] = ['expired', '7', '30', '90', '180'].map((band) => [
    band === 'expired' ? counts.expired : (counts.bands[band] ?? 0),
    <ExpiryLabel key={band} band={band} />,
    `band=${band}`,
  ]);
  return (
    <div className="occm-counts">
      <section aria-label="Readiness">
        <h2 className="occm-h2">Readiness</h2>
        <div className="occm-strip">
          <Count number={counts.total} sign={<span>All certificates</span>} to="/certificates" />
          {ready.map(([number, sign, filter], index) => (
            <Count key={index} number={number} sign={sign} to={`/certificates?${filter}`} />
          ))}
        </div>
      </section>
      <section aria-label="Expiry">
        <h2 className="occm-h2">Expiry</h2>
        <div className="occm-strip">
          {expiry.map(([number, sign, filter], index) => (
            <Count key={index} number={number} sign={sign} to={`/certificates?${filter}`} />
          ))}
        </div>
      </section>
    </div>
  );
}

function Count({ number, sign, to }: { number: number; sign: ReactNode; to: string }) {
  return (
    <Link to={to} className={number === 0 ? 'occm-count occm-count--none' : 'occm-count'}>
      <span className="occm-count__number">{number.toLocaleString('en')}</span>
      {sign}
    </Link>
  );
}

function Attention({ overview: { attention } }: { overview: Overview }) {
  return (
    <Panel title="Needs attention">
      {attention.length === 0 ? (
        <p className="occm-good">
          <CheckCircleIcon aria-hidden /> Nothing needs attention.
        </p>
      ) : (
        <ul className="occm-list">
          {attention.map((item) => (
            <li key={`${item.kind} ${item.namespace}/${item.name}`}>
              <div className="occm-list__head">
                <ObjectLink of={item} />
                <strong>{item.reason}</strong>
                <span className="occm-muted occm-right">
                  <TimeAgo time={item.since} none="" />
                </span>
              </div>
              <div className="occm-muted occm-clamp" title={item.message}>
                {item.message}
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Recent({ overview: { activity } }: { overview: Overview }) {
  return (
    <Panel title="Recent activity" actions={<Link to="/activity">All activity</Link>}>
      {activity.length === 0 ? (
        <p className="occm-muted">Nothing happened lately.</p>
      ) : (
        <ul className="occm-list">
          {activity.map((item, index) => (
            <li key={`${item.time} ${index}`}>
              <div className="occm-list__head">
                {item.kind === 'Audit' ? <PersonLabel /> : <SeverityLabel severity={item.severity} />}
                {item.object && <ObjectLink of={item.object} />}
                <strong>{item.kind === 'Audit' ? item.what : item.reason}</strong>
                <span className="occm-muted occm-right">
                  <TimeAgo time={item.time} />
                </span>
              </div>
              <div className="occm-muted occm-clamp" title={item.message}>
                {item.message}
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Authorities({ overview: { issuers } }: { overview: Overview }) {
  return (
    <Panel title="Issuers" actions={<Link to="/issuers">All issuers</Link>}>
      {issuers.length === 0 ? (
        <p className="occm-muted">There is no Issuer yet.</p>
      ) : (
        <ul className="occm-list">
          {issuers.map((issuer) => (
            <li key={`${issuer.namespace}/${issuer.name}`}>
              <div className="occm-list__head">
                <IssuerLink of={issuer} full />
                <span className="occm-right">
                  <StatusLabel state={issuer.ready ? 'Ready' : 'NotReady'} title={issuer.reason} />
                </span>
              </div>
              <div className="occm-muted">
                {issuer.ready ? 'answered ' : `${issuer.reason}; answered `}
                <TimeAgo time={issuer.lastContact} none="never" />
              </div>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Coming({ overview: { renewals } }: { overview: Overview }) {
  return (
    <Panel title="Next renewals" actions={<Link to="/calendar">Calendar</Link>}>
      {renewals.length === 0 ? (
        <p className="occm-muted">No renewal is planned.</p>
      ) : (
        <ul className="occm-list occm-list--lines">
          {renewals.map((renewal) => (
            <li key={`${renewal.namespace}/${renewal.name}`} className="occm-list__head">
              <CertificateLink of={renewal} full />
              <span className="occm-right">
                <When time={renewal.renewalTime} />
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}

function System({ overview }: { overview: Overview }) {
  const health = useHealth();
  const { namespaces } = overview;
  const shown = namespaces.slice(0, 12).join(', ') + (namespaces.length > 12 ? ` and ${namespaces.length - 12} more` : '');
  return (
    <Panel title="System">
      <Facts
        facts={[
          ['Version', overview.version],
          ['Store', overview.store],
          ['Leader', overview.holder ? `${overview.holder}${overview.leader ? ' (answers you)' : ''}` : 'nobody'],
          ['Health', health.data ? (health.data.status === 'ok' ? 'ok' : `${health.data.status}${health.data.synced ? '' : ', not in step with the store'}`) : undefined],
          ['Started', health.data?.since && <TimeAgo key="since" time={health.data.since} />],
          ['Namespaces', shown],
        ]}
      />
    </Panel>
  );
}
