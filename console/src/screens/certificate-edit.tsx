/** New Certificate, or an existing one changed. */

import { Button, FormFieldGroup, FormFieldGroupHeader, FormGroup, FormSelect, FormSelectOption, TextInput } from '@patternfly/react-core';
import { useMemo } from 'react';
import { useParams, useSearchParams } from 'react-router';
import { useCertificate, useIssuers } from '../api/queries';
import { Editor, type Step } from '../parts/editor';
import { ChoicesField, LinesField, SelectField, TextField, useForm, type Option } from '../parts/form';
import { getAt, type Tree } from '../parts/tree';
import { namespacesFor, useMe } from '../parts/session';
import { Screen } from '../parts/screen';
import { Answered, NoPermission } from '../parts/states';
import { wish } from './certificate';

export function EditCertificate() {
  const { namespace, name } = useParams();
  return namespace && name ? <Existing namespace={namespace} name={name} /> : <New />;
}

function New() {
  const me = useMe();
  const [search] = useSearchParams();
  const namespaces = namespacesFor(me, 'Edit');
  const issuer = search.get('issuer') ?? undefined;
  const start = useMemo(
    () => ({
      apiVersion: 'occm.dev/v1alpha1',
      kind: 'Certificate',
      metadata: { namespace: namespaces[0] ?? '', name: '' },
      spec: { issuerRef: { name: issuer ?? '' }, usages: ['digital signature', 'server auth', 'client auth'] },
    }),
    [namespaces[0], issuer],
  );
  if (namespaces.length === 0) return (
      <Screen title="New Certificate">
        <NoPermission what="this: making Certificates" />
      </Screen>
    );
  return <Editor kind="certificates" word="Certificate" start={start} steps={steps(true)} />;
}

function Existing({ namespace, name }: { namespace: string; name: string }) {
  const query = useCertificate(namespace, name);
  return (
    <Answered query={query} what="this Certificate">
      {(certificate) => <Editor key={name} kind="certificates" word="Certificate" start={wish(certificate) as Tree} version={certificate.metadata.resourceVersion} steps={steps(false)} />}
    </Answered>
  );
}

const steps = (isNew: boolean): Step[] => [
  { id: 'purpose', title: 'Name and purpose', content: <PurposeStep isNew={isNew} />, paths: ['metadata.namespace', 'metadata.name', 'spec.purpose', 'spec.usages'] },
  { id: 'issuer', title: 'Issuer', content: <IssuerStep />, paths: ['spec.issuerRef'] },
  { id: 'names', title: 'Subject and names', content: <NamesStep />, paths: ['spec.commonName', 'spec.literalSubject', 'spec.subject', 'spec.dnsNames', 'spec.ipAddresses', 'spec.uris', 'spec.emailAddresses'] },
  { id: 'key', title: 'Key and validity', content: <KeyStep />, paths: ['spec.privateKey', 'spec.duration', 'spec.renewBefore', 'spec.renewBeforePercentage'] },
  { id: 'outputs', title: 'Outputs', content: <OutputsStep />, paths: ['spec.secretName', 'spec.outputs', 'spec.existing', 'spec.onDrift', 'spec.onDelete', 'spec.keepCopy'] },
];

const options = (...values: string[]): Option[] => values.map((value) => ({ value, label: value }));

const TEMPLATES: Record<string, string[]> = {
  'Network function, server and client': ['digital signature', 'server auth', 'client auth'],
  Server: ['digital signature', 'server auth'],
  Client: ['digital signature', 'client auth'],
};
const USAGES = ['digital signature', 'key encipherment', 'key agreement', 'content commitment', 'server auth', 'client auth', 'code signing', 'email protection', 'ocsp signing'];

function PurposeStep({ isNew }: { isNew: boolean }) {
  const me = useMe();
  const { object, set } = useForm();
  const usages = (getAt(object, 'spec.usages') as string[] | undefined) ?? [];
  const template = Object.keys(TEMPLATES).find((name) => JSON.stringify(TEMPLATES[name]) === JSON.stringify(usages)) ?? '';
  return (
    <>
      <SelectField path="metadata.namespace" label="Namespace" options={options(...namespacesFor(me, 'Edit'))} disabled={!isNew} required />
      <TextField path="metadata.name" label="Name" help="Lower-case letters, digits and -; the Secret usually has the same name." placeholder="nrf-tls" disabled={!isNew} required />
      <FormGroup label="What it is for" fieldId="template">
        <FormSelect id="template" value={template} onChange={(_, name) => TEMPLATES[name] && set('spec.usages', TEMPLATES[name])}>
          {Object.keys(TEMPLATES).map((name) => (
            <FormSelectOption key={name} value={name} label={name} />
          ))}
          <FormSelectOption value="" label="Something else: the usages below" />
        </FormSelect>
      </FormGroup>
      <ChoicesField path="spec.usages" label="Usages" options={USAGES} help="None chosen: digital signature, with RSA also key encipherment." />
      <SelectField path="spec.purpose" label="Purpose" fallback="EndEntity" options={[{ value: 'EndEntity', label: 'For a workload' }, { value: 'HealthCheck', label: 'To see whether the Issuer works' }]} />
    </>
  );
}

function IssuerStep() {
  const { object, set } = useForm();
  const issuers = useIssuers();
  const own = String(getAt(object, 'metadata.namespace') ?? '');
  const rows = issuers.data?.pages.flatMap((page) => page.items) ?? [];
  const key = (namespace: string, name: string) => `${namespace}/${name}`;
  const name = getAt(object, 'spec.issuerRef.name') as string | undefined;
  const value = name ? key((getAt(object, 'spec.issuerRef.namespace') as string | undefined) ?? own, name) : '';
  const pick = (text: string) => {
    const [namespace = '', issuer = ''] = text.split('/');
    set('spec.issuerRef', { name: issuer, ...(namespace === own ? {} : { namespace }) });
  };
  return (
    <>
      <FormGroup label="Issuer" fieldId="issuer" isRequired>
        <FormSelect id="issuer" value={value} onChange={(_, text) => pick(text)}>
          <FormSelectOption value="" label={issuers.isPending ? 'Loading the Issuers…' : 'Choose an Issuer'} isPlaceholder />
          {value && !rows.some((row) => key(row.namespace, row.name) === value) && <FormSelectOption value={value} label={value} />}
          {rows.map((row) => (
            <FormSelectOption key={key(row.namespace, row.name)} value={key(row.namespace, row.name)} label={`${key(row.namespace, row.name)}${row.ready ? '' : ` (${row.reason})`}`} />
          ))}
        </FormSelect>
      </FormGroup>
      <FieldErrors path="spec.issuerRef" />
    </>
  );
}

/** What is wrong below a path that several controls share. */
function FieldErrors({ path }: { path: string }) {
  const { errors, touched } = useForm();
  const mine = touched.has(path) ? errors.filter((error) => error.field.startsWith(path)) : [];
  return mine.map((error) => (
    <p key={`${error.field} ${error.problem}`} className="occm-field-error" role="alert">
      <code>{error.field}</code>: {error.problem}
      {error.allowed && `; allowed: ${error.allowed}`}
    </p>
  ));
}

function NamesStep() {
  return (
    <>
      <TextField path="spec.commonName" label="Common name" placeholder="nrf.5gc.example" help="At least one name is needed: here or below." />
      <TextField path="spec.literalSubject" label="Whole subject" placeholder="CN=nrf,O=Lab" help="Instead of the common name; RFC 4514 or /O=Lab/CN=nrf." />
      <LinesField path="spec.dnsNames" label="DNS names" placeholder={'nrf.5gc.example\n*.nrf.5gc.example'} />
      <div className="occm-pair">
        <LinesField path="spec.ipAddresses" label="IP addresses" rows={2} />
        <LinesField path="spec.uris" label="URIs" rows={2} placeholder="urn:uuid:…" />
      </div>
      <LinesField path="spec.emailAddresses" label="E-mail addresses" rows={2} />
    </>
  );
}

const SIZES: Record<string, Option[]> = {
  RSA: options('2048', '3072', '4096'),
  ECDSA: [
    { value: '256', label: 'P-256' },
    { value: '384', label: 'P-384' },
    { value: '521', label: 'P-521' },
  ],
  Ed25519: [],
};

function KeyStep() {
  const { object, set } = useForm();
  const algorithm = (getAt(object, 'spec.privateKey.algorithm') as string | undefined) ?? 'ECDSA';
  const sizes = SIZES[algorithm] ?? [];
  return (
    <>
      <div className="occm-pair">
        <SelectField path="spec.privateKey.algorithm" label="Key algorithm" fallback="ECDSA" options={options('ECDSA', 'RSA', 'Ed25519')} onPick={() => set('spec.privateKey.size', undefined)} />
        {sizes.length > 1 && <SelectField path="spec.privateKey.size" label="Key size" fallback={sizes[0]?.value ?? ''} options={sizes} number />}
      </div>
      <div className="occm-pair">
        <SelectField path="spec.privateKey.rotationPolicy" label="Key at renewal" fallback="Always" options={[{ value: 'Always', label: 'A new key' }, { value: 'Never', label: 'The same key' }]} />
        {algorithm !== 'Ed25519' && <SelectField path="spec.privateKey.encoding" label="Form of the key in the Secret" fallback="PKCS8" options={[{ value: 'PKCS8', label: 'PKCS#8' }, { value: 'PKCS1', label: algorithm === 'RSA' ? 'PKCS#1' : 'SEC1' }]} />}
      </div>
      <div className="occm-pair">
        <TextField path="spec.duration" label="Life" placeholder="90d" help="For example 90d or 2160h. Empty: the CA decides." />
        <TextField path="spec.renewBefore" label="Renew before its end" placeholder="30d" help="Empty: a third of its life." />
      </div>
    </>
  );
}

function OutputsStep() {
  return (
    <>
      <TextField path="spec.secretName" label="Secret" placeholder="nrf-tls" help="kubernetes.io/tls with tls.key, tls.crt (with its chain) and ca.crt." />
      <Outputs />
      <div className="occm-pair">
        <SelectField path="spec.existing" label="If such a Secret exists" fallback="Refuse" options={[{ value: 'Refuse', label: 'Leave it and say so' }, { value: 'Adopt', label: 'Take it over as it is' }, { value: 'Replace', label: 'Replace its content' }]} />
        <SelectField path="spec.onDrift" label="If an output is changed" fallback="Restore" options={[{ value: 'Restore', label: 'Put the same bytes back' }, { value: 'Reissue', label: 'Enrol anew' }, { value: 'Alert', label: 'Report only' }]} />
      </div>
      <SelectField path="spec.onDelete" label="If this object is deleted" fallback="Keep" options={[{ value: 'Keep', label: 'Keep the outputs' }, { value: 'Delete', label: 'Delete the outputs' }, { value: 'Revoke', label: 'Revoke, and delete the outputs' }]} />
    </>
  );
}

/** An output as it is being written; the server says whether it is one. */
type OutputDraft = { secret: { name: string; namespace?: string; type?: string }; keys: Record<string, { part: string; format?: string }> };

const PARTS = ['Key', 'Certificate', 'Chain', 'CertificateAndChain', 'CA', 'Bundle'];
const FORMATS = ['PEM', 'DER', 'PKCS8PEM', 'PKCS8DER', 'PKCS1PEM', 'PKCS1DER'];

/** Outputs beside the short way. */
function Outputs() {
  const { object, set } = useForm();
  const outputs = (getAt(object, 'spec.outputs') as OutputDraft[] | undefined) ?? [];
  const change = (at: number, output: OutputDraft | undefined) => set('spec.outputs', outputs.flatMap((each, index) => (index === at ? (output ? [output] : []) : [each])));
  const add = () => set('spec.outputs', [...outputs, { secret: { name: '', type: 'Opaque' }, keys: { 'tls.key': { part: 'Key' }, 'tls.crt': { part: 'CertificateAndChain' } } }]);
  return (
    <>
      {outputs.map((output, index) => (
        <Output key={index} index={index} output={output} onChange={(next) => change(index, next)} />
      ))}
      <FieldErrors path="spec.outputs" />
      <div>
        <Button variant="link" isInline onClick={add}>
          Add another output, with keys and formats of your choice
        </Button>
      </div>
    </>
  );
}

function Output({ index, output, onChange }: { index: number; output: OutputDraft; onChange: (output: OutputDraft | undefined) => void }) {
  const id = `output-${index}`;
  const keys = Object.entries(output.keys);
  const setKeys = (next: [string, { part: string; format?: string }][]) => onChange({ ...output, keys: Object.fromEntries(next) });
  const setKey = (at: number, key: string, value: { part: string; format?: string }) => setKeys(keys.map((each, place) => (place === at ? [key, value] : each)));
  const setSecret = (changes: Partial<OutputDraft['secret']>) => {
    const secret = { ...output.secret, ...changes };
    if (!secret.namespace) delete secret.namespace;
    onChange({ ...output, secret });
  };
  return (
    <FormFieldGroup
      header={
        <FormFieldGroupHeader
          titleText={{ text: `Output ${index + 1}`, id: `${id}-title` }}
          actions={
            <Button variant="link" isInline isDanger onClick={() => onChange(undefined)}>
              Remove
            </Button>
          }
        />
      }
    >
      <div className="occm-pair occm-pair--three">
        <FormGroup label="Secret" fieldId={`${id}-name`} isRequired>
          <TextInput id={`${id}-name`} value={output.secret.name} onChange={(_, name) => setSecret({ name })} />
        </FormGroup>
        <FormGroup label="Namespace" fieldId={`${id}-namespace`}>
          <TextInput id={`${id}-namespace`} value={output.secret.namespace ?? ''} placeholder="its own" onChange={(_, namespace) => setSecret({ namespace })} />
        </FormGroup>
        <FormGroup label="Type" fieldId={`${id}-type`}>
          <FormSelect id={`${id}-type`} value={output.secret.type ?? 'Opaque'} onChange={(_, type) => setSecret({ type })}>
            <FormSelectOption value="Opaque" label="Opaque" />
            <FormSelectOption value="kubernetes.io/tls" label="kubernetes.io/tls" />
          </FormSelect>
        </FormGroup>
      </div>
      {keys.map(([key, value], at) => (
        <div className="occm-keyrow" key={at} role="group" aria-label={`Key ${at + 1} of output ${index + 1}`}>
          <TextInput aria-label="Key" value={key} onChange={(_, next) => setKey(at, next, value)} />
          <FormSelect aria-label="Part" value={value.part} onChange={(_, part) => setKey(at, key, { ...value, part })}>
            {PARTS.map((part) => (
              <FormSelectOption key={part} value={part} label={part} />
            ))}
          </FormSelect>
          <FormSelect aria-label="Format" value={value.format ?? 'PEM'} onChange={(_, format) => setKey(at, key, { ...value, format })}>
            {FORMATS.map((format) => (
              <FormSelectOption key={format} value={format} label={format} />
            ))}
          </FormSelect>
          <Button variant="link" isInline isDanger onClick={() => setKeys(keys.filter((_, place) => place !== at))}>
            Remove
          </Button>
        </div>
      ))}
      <div>
        <Button variant="link" isInline onClick={() => setKeys([...keys, [`key-${keys.length + 1}`, { part: 'CA' }]])}>
          Add a key
        </Button>
      </div>
    </FormFieldGroup>
  );
}
