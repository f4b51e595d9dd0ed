/** One Certificate: its life, its chain, what was written, what happened. */

import { Alert, Button, Content, Tab, Tabs, TabTitleText } from '@patternfly/react-core';
import { useState, type ReactNode } from 'react';
import { Link, useNavigate, useParams } from 'react-router';
import { objectPath, type Request } from '../api/client';
import { useCertificate, useChain } from '../api/queries';
import type { Certificate, Chain, ChainCertificate, Condition, Failure, HistoryEntry, OutputSpec } from '../api/types';
import { act, remove, type Target } from '../operations';
import { Code, toYaml } from '../parts/code';
import { EventsTab } from '../parts/events';
import { Facts, Lines, Panel, type Fact } from '../parts/facts';
import { ExpiryLabel, StatusLabel, SyncLabel, VerdictLabel } from '../parts/labels';
import { LifeBar } from '../parts/lifebar';
import { certificatePath, IssuerLink } from '../parts/links';
import { ActionMenu } from '../parts/menu';
import { AsCodeButton, OperationDialog, type Operation } from '../parts/operation';
import { Screen } from '../parts/screen';
import { may, useMe } from '../parts/session';
import { Answered, Empty } from '../parts/states';
import { DataTable, type Column } from '../parts/table';
import { TimeAgo, useNow, When } from '../parts/time';
import { bandOf, stateOf } from '../parts/status';

const TABS: [string, string][] = [
  ['overview', 'Overview'],
  ['chain', 'Chain'],
  ['text', 'X.509 text'],
  ['outputs', 'Outputs'],
  ['history', 'History'],
  ['events', 'Events'],
  ['yaml', 'YAML'],
];

export function CertificateDetail() {
  const { namespace = '', name = '', tab = 'overview' } = useParams();
  const query = useCertificate(namespace, name);
  const navigate = useNavigate();
  const [operation, setOperation] = useState<Operation | undefined>();
  const certificate = query.data;
  const read: Request = { method: 'GET', path: objectPath('certificates', namespace, name) };
  return (
    <Screen
      title={name}
      trail={[{ title: 'Certificates', to: '/certificates' }]}
      beside={certificate && <Signs certificate={certificate} />}
      actions={
        certificate && (
          <>
            <AsCodeButton title={`Certificate ${name}`} yaml={[wish(certificate)]} requests={[read]} />
            <Actions certificate={certificate} onOperation={setOperation} />
          </>
        )
      }
    >
      <Answered query={query} what="this Certificate" rows={10}>
        {(object) => (
          <>
            <Why certificate={object} />
            <Tabs activeKey={tab} onSelect={(_, key) => void navigate(certificatePath({ namespace, name }, key === 'overview' ? '' : String(key)), { replace: true })} aria-label="Parts of this Certificate" className="occm-tabs">
              {TABS.map(([key, title]) => (
                <Tab key={key} eventKey={key} title={<TabTitleText>{title}</TabTitleText>}>
                  {key === tab && <div className="occm-tab">{content(key, object, namespace, name)}</div>}
                </Tab>
              ))}
            </Tabs>
          </>
        )}
      </Answered>
      {operation && (
        <OperationDialog
          operation={operation}
          onClose={() => setOperation(undefined)}
          onDone={() => {
            if (operation.typed) void navigate('/certificates');
            else void query.refetch();
          }}
        />
      )}
    </Screen>
  );
}

function content(tab: string, certificate: Certificate, namespace: string, name: string): ReactNode {
  switch (tab) {
    case 'chain':
      return <ChainTab namespace={namespace} name={name} />;
    case 'text':
      return <TextTab namespace={namespace} name={name} />;
    case 'outputs':
      return <OutputsTab certificate={certificate} />;
    case 'history':
      return <HistoryTab certificate={certificate} />;
    case 'events':
      return <EventsTab of="certificates" namespace={namespace} name={name} />;
    case 'yaml':
      return <YamlTab certificate={certificate} />;
    default:
      return <OverviewTab certificate={certificate} />;
  }
}

function Signs({ certificate }: { certificate: Certificate }) {
  const end = certificate.status?.notAfter;
  const now = useNow(end ? Date.parse(end) : undefined);
  return (
    <span className="occm-signs">
      <StatusLabel state={stateOf(certificate)} />
      {end && <ExpiryLabel band={bandOf(end, now)} />}
      {end && (
        <span className="occm-muted occm-nowrap">
          {Date.parse(end) > now ? 'expires' : 'expired'} <TimeAgo time={end} />
        </span>
      )}
    </span>
  );
}

function Actions({ certificate, onOperation }: { certificate: Certificate; onOperation: (operation: Operation) => void }) {
  const me = useMe();
  const navigate = useNavigate();
  const { namespace = '', name, resourceVersion } = certificate.metadata;
  const target: Target = { namespace, name, resourceVersion };
  const disabled = !may(me, 'Edit', namespace);
  const why = 'Needs the role Edit in this namespace';
  const onDelete = {
    Keep: 'Its outputs stay as they are, nobody watches or renews them any more.',
    Delete: 'Its outputs are deleted too.',
    Revoke: 'The certificate is revoked and its outputs are deleted.',
  }[certificate.spec.onDelete ?? 'Keep'];
  return (
    <>
      <Button variant="secondary" isAriaDisabled={disabled} title={disabled ? why : undefined} onClick={() => onOperation(act('renew', [target]))}>
        Renew now
      </Button>
      <Button variant="secondary" isAriaDisabled={disabled} title={disabled ? why : undefined} onClick={() => void navigate(`${certificatePath({ namespace, name })}/edit`)}>
        Edit
      </Button>
      <ActionMenu
        label="More actions"
        text="More"
        items={[
          { title: 'Recreate with a new key', onClick: () => onOperation(act('recreate', [target])), disabled, why },
          { title: 'Renew over the daily budget', onClick: () => onOperation(act('renew', [target], true)), disabled, why },
          { title: 'Migrate to another Issuer', onClick: () => void navigate('/migration/issuer', { state: { certificates: [{ namespace, name }] } }), disabled, why },
          { title: 'Replace and revoke', onClick: () => onOperation(act('revoke', [target])), danger: true, disabled, why },
          { title: 'Delete', onClick: () => onOperation(remove('certificates', target, onDelete ?? '')), danger: true, disabled, why },
        ]}
      />
    </>
  );
}

/** `Rejected, 3 attempts`; the class only where it says more than the reason. */
export function failureTitle({ class: kind, reason, attempts }: Failure): string {
  return `${kind === reason ? reason : `${kind}: ${reason}`}${attempts > 1 ? `, ${attempts} attempts` : ''}`;
}

/** What is wrong, if something is. */
function Why({ certificate }: { certificate: Certificate }) {
  const status = certificate.status;
  const ready = status?.conditions?.find((condition) => condition.type === 'Ready');
  const failure = status?.lastFailure;
  if (!failure && (!ready || ready.status === 'True')) return null;
  const next = status?.nextAttempt;
  const works = ready?.status === 'True';
  return (
    <Alert
      isInline
      variant={failure ? (works ? 'warning' : 'danger') : 'info'}
      title={failure ? failureTitle(failure) : (ready?.reason ?? '')}
      className="occm-why"
    >
      <p>{failure?.message ?? ready?.message}</p>
      {failure && (
        <p className="occm-muted">
          <TimeAgo time={failure.time} />
          {next && (
            <>
              ; next attempt <TimeAgo time={next} />
            </>
          )}
          {works && '; the outputs carry a certificate that works'}
        </p>
      )}
    </Alert>
  );
}

function OverviewTab({ certificate }: { certificate: Certificate }) {
  const { spec, status, metadata } = certificate;
  const namespace = metadata.namespace ?? '';
  const key = spec.privateKey;
  return (
    <div className="occm-stack">
      <Panel title="Life">
        {status?.notBefore && status.notAfter ? (
          <LifeBar notBefore={status.notBefore} notAfter={status.notAfter} renewalTime={status.renewalTime} />
        ) : (
          <p className="occm-muted">There is no certificate yet.</p>
        )}
      </Panel>
      <div className="occm-columns">
        <Panel title="Names">
          <Facts
            facts={[
              ['Common name', spec.commonName],
              ['Subject', spec.literalSubject ?? subject(spec.subject)],
              ['DNS names', <Lines key="dns" lines={spec.dnsNames} />],
              ['IP addresses', <Lines key="ip" lines={spec.ipAddresses} />],
              ['URIs', <Lines key="uri" lines={spec.uris} />],
              ['E-mail', <Lines key="mail" lines={spec.emailAddresses} />],
              ['Usages', spec.usages?.join(', ') || 'default'],
            ].filter(([term, value]) => !lacks(spec, String(term)) && value) as Fact[]}
          />
        </Panel>
        <Panel title="Certificate">
          <Facts
            facts={[
              ['Serial number', status?.serialNumber && <code>{status.serialNumber}</code>],
              ['SHA-256', status?.fingerprint && <code className="occm-break">{status.fingerprint}</code>],
              ['Revision', status?.revision],
              ['Key', [key?.algorithm ?? 'ECDSA', key?.size ?? (key?.algorithm === 'RSA' ? 2048 : key?.algorithm === 'Ed25519' ? undefined : 256)].filter(Boolean).join(' ')],
              ['Key at renewal', key?.rotationPolicy === 'Never' ? 'kept' : 'new'],
              ['Possible orphans', status?.possibleOrphans || undefined],
              ['Orphans', status?.orphans || undefined],
            ]}
          />
        </Panel>
        <Panel title="Wish">
          <Facts
            facts={[
              ['Issuer', <IssuerLink key="issuer" of={{ namespace: spec.issuerRef.namespace ?? namespace, name: spec.issuerRef.name }} full />],
              ['Purpose', spec.purpose ?? 'EndEntity'],
              ['Duration', spec.duration ?? 'the CA decides'],
              ['Renewal', renewal(certificate)],
              ['Secret', spec.secretName],
              ['When changed', spec.onDrift ?? 'Restore'],
              ['When deleted', spec.onDelete ?? 'Keep'],
              ['Existing Secret', spec.existing ?? 'Refuse'],
              ['Copy of the key', spec.keepCopy === false ? 'not kept' : 'kept for repair'],
            ]}
          />
        </Panel>
        <Panel title="Object">
          <Facts
            facts={[
              ['Namespace', namespace],
              ['Created', <When key="created" time={metadata.creationTimestamp} />],
              ['Labels', <Lines key="labels" lines={Object.entries(metadata.labels ?? {}).map(([name, value]) => `${name}=${value}`)} />],
            ].filter(([term]) => term !== 'Labels' || Object.keys(metadata.labels ?? {}).length > 0) as Fact[]}
          />
          <Conditions conditions={status?.conditions ?? []} />
        </Panel>
      </div>
    </div>
  );
}

function lacks(spec: Certificate['spec'], term: string): boolean {
  const lists: Record<string, string[] | undefined> = {
    'DNS names': spec.dnsNames,
    'IP addresses': spec.ipAddresses,
    URIs: spec.uris,
    'E-mail': spec.emailAddresses,
  };
  return term in lists && !lists[term]?.length;
}

function subject(parts: Certificate['spec']['subject']): string | undefined {
  if (!parts) return undefined;
  return Object.entries(parts)
    .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(', ') : value}`)
    .join('; ');
}

function renewal({ spec }: Certificate): string {
  if (spec.renewBefore) return `${spec.renewBefore} before its end`;
  if (spec.renewBeforePercentage) return `in the last ${spec.renewBeforePercentage} %`;
  return 'in the last third';
}

export function Conditions({ conditions }: { conditions: Condition[] }) {
  if (conditions.length === 0) return <p className="occm-muted">Nothing was reported yet.</p>;
  return (
    <ul className="occm-conditions" aria-label="Conditions">
      {conditions.map((condition) => (
        <li key={condition.type}>
          <strong>{condition.type}</strong> {condition.status} · {condition.reason}{' '}
          <span className="occm-muted">
            {condition.message} <TimeAgo time={condition.lastTransitionTime} none="" />
          </span>
        </li>
      ))}
    </ul>
  );
}

function ChainTab({ namespace, name }: { namespace: string; name: string }) {
  const query = useChain(namespace, name);
  return (
    <Answered query={query} what="the chain">
      {(chain) => <ChainView chain={chain} name={name} />}
    </Answered>
  );
}

function ChainView({ chain, name }: { chain: Chain; name: string }) {
  if (chain.certificates.length === 0) return <Empty title="No certificate yet">{chain.why}</Empty>;
  const pem = chain.certificates.map((each) => each.pem.trim()).join('\n') + '\n';
  return (
    <div className="occm-stack">
      <p>
        <VerdictLabel verdict={chain.verdict} /> {chain.why}
      </p>
      <ol className="occm-chain">
        {[...chain.certificates].reverse().map((link, depth) => (
          <li key={link.fingerprintSha256} className="occm-chain__link" data-depth={depth}>
            <ChainLink link={link} kind={kindOf(link)} />
          </li>
        ))}
      </ol>
      <Panel title="PEM, leaf first">
        <Code text={pem} label="chain as PEM" file={`${name}-chain.pem`} />
      </Panel>
    </div>
  );
}

function kindOf(link: ChainCertificate): string {
  if (link.selfSigned && link.isCa) return 'Root';
  return link.isCa ? 'Intermediate' : 'Certificate';
}

function ChainLink({ link, kind }: { link: ChainCertificate; kind: string }) {
  const now = useNow();
  return (
    <Panel title={kind} actions={<ExpiryLabel band={bandOf(link.notAfter, now)} />}>
      <Facts
        wide
        facts={[
          ['Subject', link.subject],
          ['Issuer', link.issuer],
          ['Valid from', <When key="from" time={link.notBefore} />],
          ['Valid until', <When key="until" time={link.notAfter} />],
          ['Serial number', <code key="serial">{link.serialNumber}</code>],
          ['SHA-256', <code key="sha" className="occm-break">{link.fingerprintSha256}</code>],
        ]}
      />
      {link.problems.length > 0 && <Alert isInline variant="danger" title={link.problems.join('; ')} />}
    </Panel>
  );
}

function TextTab({ namespace, name }: { namespace: string; name: string }) {
  const query = useChain(namespace, name);
  return (
    <Answered query={query} what="the certificate">
      {(chain) => {
        const leaf = chain.certificates[0];
        if (!leaf) return <Empty title="No certificate yet">{chain.why}</Empty>;
        return (
          <div className="occm-columns occm-columns--code">
            <Panel title="Text">
              <Code text={leaf.text} label="certificate as text" />
            </Panel>
            <Panel title="PEM">
              <Code text={leaf.pem} label="certificate as PEM" file={`${name}.pem`} />
            </Panel>
          </div>
        );
      }}
    </Answered>
  );
}

type OutputRow = { name: string; state: string; changedBy?: string | undefined; keys: string[] };

function OutputsTab({ certificate }: { certificate: Certificate }) {
  const { spec, status, metadata } = certificate;
  const rows = outputs(certificate);
  const columns: Column<OutputRow>[] = [
    { key: 'name', title: 'Secret', cell: (row) => row.name },
    { key: 'state', width: '9rem', title: 'State', cell: (row) => <SyncLabel state={row.state} /> },
    { key: 'by', width: '12rem', title: 'Changed by', cell: (row) => row.changedBy ?? '–' },
    { key: 'keys', title: 'Keys', cell: (row) => <Lines lines={row.keys} /> },
  ];
  const policy = {
    Restore: 'A changed or deleted output is put back with the same bytes.',
    Reissue: 'A changed or deleted output causes a new enrolment.',
    Alert: 'A deleted output is put back; a changed one is only reported.',
  }[spec.onDrift ?? 'Restore'];
  return (
    <div className="occm-stack">
      <p>{policy}</p>
      {rows.length === 0 ? <Empty title="No outputs">{status ? 'This Certificate writes no Secret.' : `Nothing was reported about ${metadata.name} yet.`}</Empty> : <DataTable plain label="Outputs" columns={columns} rows={rows} rowKey={(row) => row.name} />}
    </div>
  );
}

/** What is wished for, with what is reported about it. */
function outputs({ spec, status, metadata }: Certificate): OutputRow[] {
  const wished: { name: string; keys: string[] }[] = [];
  const name = (secret: OutputSpec['secret']) => `${secret.namespace ?? metadata.namespace}/${secret.name}`;
  if (spec.secretName) wished.push({ name: `${metadata.namespace}/${spec.secretName}`, keys: ['tls.key: Key', 'tls.crt: CertificateAndChain', 'ca.crt: CA'] });
  for (const output of spec.outputs ?? []) {
    const keys = Object.entries(output.keys).map(([key, { part, format }]) => `${key}: ${part}${format && format !== 'PEM' ? `, ${format}` : ''}`);
    wished.push({ name: name(output.secret), keys });
  }
  const reported = status?.outputs ?? [];
  const rows = wished.map((wish): OutputRow => {
    const told = reported.find((each) => each.name === wish.name);
    return { ...wish, state: told?.state ?? 'Pending', changedBy: told?.changedBy };
  });
  const others = reported.filter((told) => !wished.some((wish) => wish.name === told.name));
  return [...rows, ...others.map((told) => ({ ...told, keys: [] }))];
}

function HistoryTab({ certificate }: { certificate: Certificate }) {
  const history = certificate.status?.history ?? [];
  if (history.length === 0) return <Empty title="No history">No certificate was issued yet.</Empty>;
  const columns: Column<HistoryEntry>[] = [
    { key: 'revision', width: '8rem', title: 'Revision', cell: (row) => row.revision, value: (row) => row.revision },
    { key: 'issued', title: 'Issued', cell: (row) => <When time={row.issuedAt} seconds /> },
    { key: 'reason', width: '10rem', title: 'Why', cell: (row) => row.reason },
    { key: 'until', title: 'Valid until', cell: (row) => <When time={row.notAfter} seconds /> },
    { key: 'serial', title: 'Serial number', cell: (row) => <code className="occm-break">{row.serialNumber}</code> },
  ];
  return (
    <div className="occm-stack">
      <p>The last ten certificates, newest first{history.length < 10 ? '; these are all' : ''}.</p>
      <DataTable plain label="History" columns={columns} rows={history} rowKey={(row) => String(row.revision)} />
    </div>
  );
}

/** The object without what only the store and reconciliation write. */
export function wish(object: { apiVersion?: string; kind?: string; metadata: Certificate['metadata']; spec: unknown }) {
  const { name, namespace, labels, annotations } = object.metadata;
  const some = (map: Record<string, string> | undefined) => (map && Object.keys(map).length > 0 ? map : undefined);
  const metadata = Object.fromEntries(
    Object.entries({ namespace, name, labels: some(labels), annotations: some(annotations) }).filter(([, value]) => value !== undefined),
  );
  return { apiVersion: object.apiVersion, kind: object.kind, metadata, spec: object.spec };
}

function YamlTab({ certificate }: { certificate: Certificate }) {
  const me = useMe();
  const { namespace = '', name } = certificate.metadata;
  return (
    <div className="occm-stack">
      {may(me, 'Edit', namespace) && (
        <Content component="p">
          <Link to={`${certificatePath({ namespace, name })}/edit?as=yaml`}>Edit as YAML</Link>
        </Content>
      )}
      <div className="occm-columns occm-columns--code">
        <Panel title="Wish">
          <Code text={toYaml(wish(certificate))} label="wish as YAML" file={`${name}.yaml`} />
        </Panel>
        <Panel title="Status">
          <Code text={toYaml(certificate.status ?? {})} label="status as YAML" />
        </Panel>
      </div>
    </div>
  );
}
