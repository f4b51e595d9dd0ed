/** Two moves: certificates to another Issuer, and existing Secrets under occm's care. Both are shown before they are done. */

import { Alert, Button, Form, FormGroup, FormSelect, FormSelectOption, Label, Tab, Tabs, TabTitleText } from '@patternfly/react-core';
import { useMutation } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useLocation, useNavigate, useParams } from 'react-router';
import { call, type Request } from '../api/client';
import { queryClient, useCandidates, useIssuers } from '../api/queries';
import type { Adoption, Candidate, Move, Outcome, Ref, Sent } from '../api/types';
import { Expiry } from '../parts/expiry';
import { ResultLabel } from '../parts/labels';
import { CertificateLink } from '../parts/links';
import { CodeTabs } from '../parts/operation';
import { Screen } from '../parts/screen';
import { namespacesFor, useMe } from '../parts/session';
import { Answered, Empty, ProblemAlert } from '../parts/states';
import { DataTable, type Column } from '../parts/table';
import { toast } from '../parts/toasts';

export function Migration() {
  const { tab = 'secrets' } = useParams();
  const navigate = useNavigate();
  const { state } = useLocation();
  return (
    <Screen title="Migration">
      <Tabs activeKey={tab} onSelect={(_, key) => void navigate(`/migration/${key}`, { replace: true, state })} aria-label="Kinds of migration" className="occm-tabs">
        <Tab eventKey="secrets" title={<TabTitleText>Existing Secrets</TabTitleText>}>
          {tab === 'secrets' && <Adopt />}
        </Tab>
        <Tab eventKey="issuer" title={<TabTitleText>Another Issuer</TabTitleText>}>
          {tab === 'issuer' && <ToIssuer given={(state ?? {}) as Given} />}
        </Tab>
      </Tabs>
    </Screen>
  );
}

const text = ({ namespace, name }: Ref) => `${namespace}/${name}`;

function reference(value: string): Ref | undefined {
  const [namespace, name] = value.split('/');
  return namespace && name ? { namespace, name } : undefined;
}

function IssuerSelect(props: { id: string; label: string; value: string; onChange: (value: string) => void; except?: string }) {
  const issuers = useIssuers();
  const names = issuers.data?.pages.flatMap((page) => page.items.map(text)) ?? [];
  return (
    <FormGroup label={props.label} fieldId={props.id}>
      <FormSelect id={props.id} value={props.value} onChange={(_, value) => props.onChange(value)}>
        <FormSelectOption value="" label="Choose an Issuer" isPlaceholder />
        {names
          .filter((name) => name !== props.except)
          .map((name) => (
            <FormSelectOption key={name} value={name} label={name} />
          ))}
      </FormSelect>
    </FormGroup>
  );
}

type Given = { from?: Ref; certificates?: Ref[] };

function ToIssuer({ given }: { given: Given }) {
  const [certificates, setCertificates] = useState(given.certificates);
  const [from, setFrom] = useState(given.from ? text(given.from) : '');
  const [to, setTo] = useState('');
  const body: { certificates?: Ref[]; from?: Ref | undefined; to: Ref | undefined } = { ...(certificates ? { certificates } : { from: reference(from) }), to: reference(to) };
  const ready = Boolean(body.to && (certificates?.length || body.from));
  const request = (dryRun: boolean): Request => ({ method: 'POST', path: '/migrate', body: { ...body, dryRun } satisfies Sent<Move> });
  return (
    <div className="occm-tab occm-stack">
      <p>Certificates are enrolled anew at the other Issuer, one after the other within its rate. Until then their outputs keep what they have.</p>
      <Form isHorizontal className="occm-form">
        {certificates ? (
          <FormGroup label="Certificates">
            {certificates.length === 1 && certificates[0] ? text(certificates[0]) : `${certificates.length} chosen in the list`}{' '}
            <Button variant="link" isInline onClick={() => setCertificates(undefined)}>
              All of an Issuer instead
            </Button>
          </FormGroup>
        ) : (
          <IssuerSelect id="from" label="All certificates of" value={from} onChange={setFrom} />
        )}
        <IssuerSelect id="to" label="To the Issuer" value={to} onChange={setTo} except={certificates ? '' : from} />
      </Form>
      <TwoSteps key={JSON.stringify(body)} ready={ready} request={request} verb="Migrate" yaml={[{ spec: { issuerRef: body.to ?? {} } }]} />
    </div>
  );
}

function Adopt() {
  const me = useMe();
  const namespaces = namespacesFor(me, 'Edit');
  const [namespace, setNamespace] = useState(namespaces[0] ?? '');
  return (
    <div className="occm-tab occm-stack">
      <p>
        Certificates that somebody else made are taken over as they are: occm watches the Secret, puts it back when it is changed, and renews it in time from the Issuer that you choose.
        Nothing is changed until then.
      </p>
      <Form isHorizontal className="occm-form">
        <FormGroup label="Namespace" fieldId="adopt-namespace">
          <FormSelect id="adopt-namespace" value={namespace} onChange={(_, value) => setNamespace(value)}>
            {namespaces.map((each) => (
              <FormSelectOption key={each} value={each} label={each} />
            ))}
          </FormSelect>
        </FormGroup>
      </Form>
      {namespace ? <Candidates key={namespace} namespace={namespace} /> : <Empty title="No namespace">You may not edit in any namespace.</Empty>}
    </div>
  );
}

const CANDIDATES: Column<Candidate>[] = [
  {
    key: 'secret',
    title: 'Secret',
    value: (row) => row.secret,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.secret}>
          {row.secret}
        </span>
        <span className="occm-muted occm-ellipsis">{row.type}</span>
      </div>
    ),
  },
  {
    key: 'subject',
    title: 'Certificate',
    value: (row) => row.subject,
    cell: (row) => (
      <div className="occm-two">
        <span className="occm-ellipsis" title={row.subject}>
          {row.subject || row.sans[0]}
        </span>
        <span className="occm-muted occm-ellipsis" title={row.issuer}>
          by {row.issuer}, {row.algorithm}
        </span>
      </div>
    ),
  },
  { key: 'until', width: '13.5rem', title: 'Valid until', value: (row) => row.notAfter, cell: (row) => <Expiry end={row.notAfter} /> },
  {
    key: 'can',
    width: '12rem',
    title: 'Can it be taken over',
    cell: (row) => (row.problems.length > 0 ? <span>{row.problems.join('; ')}</span> : row.managedBy ? <Label isCompact color="orange">managed by {row.managedBy}</Label> : <span>yes</span>),
  },
];

function Candidates({ namespace }: { namespace: string }) {
  const query = useCandidates(namespace);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [issuer, setIssuer] = useState('');
  // What was taken over is no candidate any more; it stays in sight until somebody looks again.
  const [held, setHeld] = useState<Candidate[]>();
  const items = useMemo(() => held ?? query.data?.items ?? [], [held, query.data]);
  const lookAgain = () => {
    setHeld(undefined);
    setSelected(new Set());
    void queryClient.invalidateQueries({ queryKey: ['candidates'] });
  };
  const chosen = items.filter((item) => selected.has(item.secret));
  const to = reference(issuer);
  const secrets = chosen.map((item) => ({ namespace: item.namespace, name: item.secret }));
  const request = (dryRun: boolean): Request => ({ method: 'POST', path: '/adopt', body: { secrets, issuerRef: to, dryRun } satisfies Sent<Adoption> });
  const yaml = chosen.map((item) => ({ ...(item.suggested ?? {}), spec: { ...(item.suggested?.spec ?? {}), issuerRef: to ?? {} } }));
  return (
    <Answered query={query} what="Secrets with certificates">
      {() =>
        items.length === 0 ? (
          <Empty title="Nothing to take over">No Secret in {namespace} holds a certificate that occm does not manage already.</Empty>
        ) : (
          <div className="occm-stack">
            <DataTable plain label="Secrets with certificates" columns={CANDIDATES} rows={items} rowKey={(row) => row.secret} selected={selected} onSelect={setSelected} selectLabel={(row) => `Select ${row.secret}`} selectable={(row) => row.keyFits && row.problems.length === 0} />
            <Form isHorizontal className="occm-form">
              <IssuerSelect id="adopt-issuer" label="Renew from" value={issuer} onChange={setIssuer} />
            </Form>
            <TwoSteps key={JSON.stringify([secrets, issuer])} ready={Boolean(to) && secrets.length > 0} request={request} verb="Take over" yaml={yaml} onStart={() => setHeld(items)} />
            {held && (
              <div>
                <Button variant="link" isInline onClick={lookAgain}>
                  Look for more Secrets
                </Button>
              </div>
            )}
          </div>
        )
      }
    </Answered>
  );
}

type Results = { items: Outcome[] };

const OUTCOMES: Column<Outcome>[] = [
  { key: 'name', title: 'Object', value: objectName, cell: (row) => ('name' in row ? <CertificateLink of={row} full /> : `${row.namespace}/${row.secret}`) },
  { key: 'result', width: '9rem', title: 'Result', value: (row) => row.result, cell: (row) => <ResultLabel result={row.result} /> },
  { key: 'why', title: 'Why, and what follows', cell: (row) => row.problem ?? ('effect' in row ? row.effect : '') },
];

function objectName(row: Outcome): string {
  return 'name' in row ? row.name : row.secret;
}

/** First what would happen, then doing it. */
function TwoSteps({ ready, request, verb, yaml, onStart }: { ready: boolean; request: (dryRun: boolean) => Request; verb: string; yaml: unknown[]; onStart?: () => void }) {
  const preview = useMutation({ mutationFn: () => call<Results>(request(true)) });
  const done = useMutation({
    mutationFn: () => call<Results>(request(false)),
    onMutate: () => onStart?.(),
    onSuccess: ({ items }) => {
      const failed = items.filter((item) => item.result === 'Failed').length;
      toast(failed ? `${items.length - failed} done, ${failed} failed` : `${items.length} done`, failed ? 'danger' : 'success');
      void queryClient.invalidateQueries({ queryKey: ['certificates'] });
    },
  });
  const shown = done.data ?? preview.data;
  const would = preview.data?.items.filter((item) => item.result.startsWith('Would')).length ?? 0;
  return (
    <div className="occm-stack">
      <div className="occm-buttons">
        <Button variant="secondary" isDisabled={!ready || preview.isPending || Boolean(done.data)} isLoading={preview.isPending} onClick={() => preview.mutate()}>
          Dry run
        </Button>
        <Button variant="primary" isDisabled={!ready || !preview.data || would === 0 || done.isPending || Boolean(done.data)} isLoading={done.isPending} onClick={() => done.mutate()}>
          {preview.data ? `${verb} ${would.toLocaleString('en')}` : verb}
        </Button>
        {!preview.data && <span className="occm-muted">The dry run shows what would happen; nothing is changed.</span>}
      </div>
      <ProblemAlert error={done.error ?? preview.error} />
      {shown && (
        <>
          {done.data && <Alert isInline variant={done.data.items.some((item) => item.result === 'Failed') ? 'warning' : 'success'} title="Done. What happens next is in each Certificate." />}
          <DataTable plain={shown.items.length <= 100} label="Results" columns={OUTCOMES} rows={shown.items} rowKey={(row) => `${row.namespace}/${objectName(row)}`} />
          <CodeTabs yaml={yaml} requests={[request(false)]} />
        </>
      )}
    </div>
  );
}
