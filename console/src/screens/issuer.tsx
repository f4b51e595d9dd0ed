/** One Issuer: its CA, its identity, its trust, and whether it answers. */

import { Alert, Button, ProgressStep, ProgressStepper, Tab, Tabs, TabTitleText } from '@patternfly/react-core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { call, objectPath } from '../api/client';
import { useIssuer } from '../api/queries';
import type { Issuer, TestResult, TrustSource } from '../api/types';
import { remove } from '../operations';
import { Code, toYaml } from '../parts/code';
import { EventsTab } from '../parts/events';
import { Facts, Panel } from '../parts/facts';
import { ExpiryLabel, StatusLabel } from '../parts/labels';
import { LifeBar } from '../parts/lifebar';
import { issuerPath } from '../parts/links';
import { ActionMenu } from '../parts/menu';
import { AsCodeButton, OperationDialog, type Operation } from '../parts/operation';
import { Screen } from '../parts/screen';
import { may, useMe } from '../parts/session';
import { Answered, ProblemAlert } from '../parts/states';
import { bandOf, stateOf } from '../parts/status';
import { TimeAgo, When } from '../parts/time';
import { Conditions, failureTitle, wish } from './certificate';

export function IssuerDetail() {
  const { namespace = '', name = '', tab = 'overview' } = useParams();
  const me = useMe();
  const navigate = useNavigate();
  const query = useIssuer(namespace, name);
  const [operation, setOperation] = useState<Operation | undefined>();
  const test = useMutation({
    mutationFn: () => call<TestResult>({ method: 'POST', path: objectPath('issuers', namespace, name, 'test'), version: query.data?.metadata.resourceVersion }),
  });
  const mayEdit = may(me, 'Edit', namespace);
  const why = 'Needs the role Edit in this namespace';
  const path = issuerPath({ namespace, name });
  return (
    <Screen
      title={name}
      trail={[{ title: 'Issuers', to: '/issuers' }]}
      beside={query.data && <StatusLabel state={stateOf(query.data)} />}
      actions={
        query.data && (
          <>
            <AsCodeButton
              title={`Issuer ${name}`}
              yaml={[wish(query.data)]}
              requests={[
                { method: 'GET', path: objectPath('issuers', namespace, name) },
                { method: 'POST', path: objectPath('issuers', namespace, name, 'test'), version: query.data.metadata.resourceVersion },
              ]}
            />
            <Button variant="secondary" isLoading={test.isPending} isAriaDisabled={test.isPending || !mayEdit} title={mayEdit ? undefined : why} onClick={() => test.mutate()}>
              Test connection
            </Button>
            <Button variant="secondary" isAriaDisabled={!mayEdit} title={mayEdit ? undefined : why} onClick={() => void navigate(`${path}/edit`)}>
              Edit
            </Button>
            <ActionMenu
              label="More actions"
              text="More"
              items={[
                { title: 'Show its certificates', onClick: () => void navigate(`/certificates?issuer=${encodeURIComponent(`${namespace}/${name}`)}`) },
                { title: 'Migrate its certificates', onClick: () => void navigate('/migration/issuer', { state: { from: { namespace, name } } }), disabled: !mayEdit, why },
                {
                  title: 'Delete',
                  danger: true,
                  disabled: !mayEdit,
                  why,
                  onClick: () => query.data && setOperation(remove('issuers', { namespace, name, resourceVersion: query.data.metadata.resourceVersion }, 'Its Certificates keep what they have and are not renewed until there is an Issuer of this name again.')),
                },
              ]}
            />
          </>
        )
      }
    >
      <Answered query={query} what="this Issuer" rows={10}>
        {(issuer) => (
          <>
            <TestOutcome result={test.data} error={test.error} />
            <Trouble issuer={issuer} />
            <Tabs activeKey={tab} onSelect={(_, key) => void navigate(key === 'overview' ? path : `${path}/${key}`, { replace: true })} aria-label="Parts of this Issuer" className="occm-tabs">
              <Tab eventKey="overview" title={<TabTitleText>Overview</TabTitleText>}>
                {tab === 'overview' && <IssuerOverview issuer={issuer} />}
              </Tab>
              <Tab eventKey="events" title={<TabTitleText>Events</TabTitleText>}>
                {tab === 'events' && (
                  <div className="occm-tab">
                    <EventsTab of="issuers" namespace={namespace} name={name} />
                  </div>
                )}
              </Tab>
              <Tab eventKey="yaml" title={<TabTitleText>YAML</TabTitleText>}>
                {tab === 'yaml' && (
                  <div className="occm-tab occm-columns occm-columns--code">
                    <Panel title="Wish">
                      <Code text={toYaml(wish(issuer))} label="wish as YAML" file={`${name}.yaml`} />
                    </Panel>
                    <Panel title="Status">
                      <Code text={toYaml(issuer.status ?? {})} label="status as YAML" />
                    </Panel>
                  </div>
                )}
              </Tab>
            </Tabs>
          </>
        )}
      </Answered>
      {operation && <OperationDialog operation={operation} onClose={() => setOperation(undefined)} onDone={() => void navigate('/issuers')} />}
    </Screen>
  );
}

const STEPS: Record<string, string> = {
  Prepare: 'Settings and inputs',
  Resolve: 'Name resolved',
  Connect: 'Connection',
  Tls: 'TLS',
  Genm: 'General message',
  Verify: 'Answer checked',
};

function TestOutcome({ result, error }: { result: TestResult | undefined; error: unknown }) {
  if (error) return <ProblemAlert error={error} title="The test could not be made" />;
  if (!result) return null;
  return (
    <Panel title={result.ok ? 'The CA answers' : 'The connection does not work'} className="occm-test">
      <ProgressStepper aria-label="Steps of the test">
        {result.steps.map((step) => (
          <ProgressStep key={step.name} id={`step-${step.name}`} titleId={`step-${step.name}-title`} variant={step.ok ? 'success' : 'danger'} description={`${step.detail} (${step.tookMs} ms)`} aria-label={`${STEPS[step.name] ?? step.name}: ${step.ok ? 'good' : 'failed'}`}>
            {STEPS[step.name] ?? step.name}
          </ProgressStep>
        ))}
      </ProgressStepper>
    </Panel>
  );
}

function Trouble({ issuer }: { issuer: Issuer }) {
  const failure = issuer.status?.lastFailure;
  if (!failure) return null;
  return (
    <Alert isInline variant="danger" title={failureTitle(failure)} className="occm-why">
      <p>{failure.message}</p>
      <p className="occm-muted">
        <TimeAgo time={failure.time} />
      </p>
    </Alert>
  );
}

function IssuerOverview({ issuer }: { issuer: Issuer }) {
  const { spec, status, metadata } = issuer;
  const { mac, certificate } = spec.authentication.initial;
  const identity = status?.identity;
  const issuerFilter = encodeURIComponent(`${metadata.namespace}/${metadata.name}`);
  return (
    <div className="occm-tab occm-columns">
      <Panel title="CMP endpoint">
        <Facts
          facts={[
            ['Address', <span key="url" className="occm-break">{spec.url}</span>],
            ['Engine', spec.engine ?? 'Native'],
            ['Recipient', spec.recipient],
            ['Expected sender', spec.expectedSender],
            ['Key update signed by', spec.keyUpdateSigner ?? 'Certificate'],
            ['Last answer', <When key="contact" time={status?.lastContact} none="never" />],
            ['Certificates', <Link key="certificates" to={`/certificates?issuer=${issuerFilter}`}>Show them</Link>],
          ]}
        />
      </Panel>
      <Panel title="CMP identity" actions={identity && <ExpiryLabel band={bandOf(identity.notAfter, Date.now())} />}>
        {identity ? (
          <div className="occm-stack">
            <LifeBar notBefore={identity.notBefore} notAfter={identity.notAfter} renewalTime={identity.renewalTime} />
            <Facts
              facts={[
                ['Subject', identity.subject],
                ['Serial number', <code key="serial">{identity.serialNumber}</code>],
                ['Revision', identity.revision],
              ]}
            />
          </div>
        ) : (
          <p className="occm-muted">{spec.authentication.identity ? 'It is not enrolled yet.' : 'None is wished for; every request is protected by the first contact’s credentials.'}</p>
        )}
      </Panel>
      <Panel title="First contact">
        <Facts
          facts={
            mac
              ? [
                  ['How', 'Shared secret'],
                  ['Reference', mac.referenceValue],
                  ['Secret', `${mac.secretRef.name}, key ${mac.secretRef.key}`],
                  ['Algorithm', `${mac.algorithm ?? 'PBM'}, ${mac.hash ?? 'SHA256'}`],
                ]
              : [
                  ['How', 'Certificate'],
                  ['Secret', certificate?.secretRef.name],
                ]
          }
        />
      </Panel>
      <Panel title="Trust and use">
        <Facts
          facts={[
            ['Answers', source(spec.trust.responses) ?? 'the shared secret only'],
            ['Certificates', source(spec.trust.certificates) ?? 'as answers'],
            ['TLS', source(spec.trust.tls)],
            ['Allowed namespaces', spec.allowedNamespaces?.join(', ') || 'its own only'],
            ['Namespace', metadata.namespace],
            ['Created', <When key="created" time={metadata.creationTimestamp} />],
          ]}
        />
        <Conditions conditions={status?.conditions ?? []} />
      </Panel>
    </div>
  );
}

function source(trust: TrustSource | undefined): string | undefined {
  if (trust?.configMapRef) return `ConfigMap ${trust.configMapRef.name}, key ${trust.configMapRef.key}`;
  if (trust?.secretRef) return `Secret ${trust.secretRef.name}, key ${trust.secretRef.key}`;
  return undefined;
}
