/** New Issuer, or an existing one changed. A shared secret or trust store may be typed in: it goes to a Secret or ConfigMap and is never shown again. */

import { Alert, FormGroup, FormHelperText, HelperText, HelperTextItem, Radio, TextArea, TextInput } from '@patternfly/react-core';
import { useMemo, useRef, useState } from 'react';
import { useParams } from 'react-router';
import { ApiError, call, type Request } from '../api/client';
import { useIssuer } from '../api/queries';
import type { InputWritten } from '../api/types';
import { Editor, type Step } from '../parts/editor';
import { LinesField, SelectField, TextField, useForm, type Option } from '../parts/form';
import { getAt, type Tree } from '../parts/tree';
import { namespacesFor, useMe } from '../parts/session';
import { Screen } from '../parts/screen';
import { Answered, NoPermission } from '../parts/states';
import { wish } from './certificate';

export function EditIssuer() {
  const { namespace, name } = useParams();
  return namespace && name ? <Existing namespace={namespace} name={name} /> : <New />;
}

/** Inputs that were typed in, written before the Issuer is. */
type Input = { kind: 'Secret' | 'ConfigMap'; namespace: string; name: string; key: string; text: string };
type Inputs = { current: Map<string, Input> };

/** A new Issuer takes no Secret of somebody else by its name; the inputs of one that is there are changed, or made. */
async function write(inputs: Inputs, written: Map<string, string>, isNew: boolean) {
  for (const [field, { kind, namespace, name, key, text }] of inputs.current) {
    if (text) {
      const place = `${kind}/${namespace}/${name}`;
      const request: Request = { method: 'POST', path: '/inputs', body: { kind, namespace, name, data: { [key]: base64(text) } } };
      const version = written.get(place) ?? (isNew ? undefined : '*');
      const done = await put(request, version, !isNew);
      written.set(place, done.resourceVersion);
    }
    // What is written is not kept here either.
    inputs.current.delete(field);
  }
}

async function put(request: Request, version: string | undefined, orNew: boolean): Promise<InputWritten> {
  if (version === undefined) return call({ ...request, fresh: true });
  try {
    return await call({ ...request, version });
  } catch (error) {
    if (!(orNew && version === '*' && error instanceof ApiError && error.status === 412)) throw error;
    return call({ ...request, fresh: true });
  }
}

function base64(text: string): string {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''));
}

function New() {
  const me = useMe();
  const namespaces = namespacesFor(me, 'Edit');
  const inputs = useRef(new Map<string, Input>());
  // Versions of what was written already, by kind and name: for another try.
  const written = useRef(new Map<string, string>());
  const start = useMemo(
    () => ({
      apiVersion: 'occm.dev/v1alpha1',
      kind: 'Issuer',
      metadata: { namespace: namespaces[0] ?? '', name: '' },
      spec: {
        url: '',
        authentication: { initial: { mac: { referenceValue: '', secretRef: { name: '', key: 'secret' } } }, identity: { commonName: '' } },
        trust: {},
      },
    }),
    [namespaces[0]],
  );
  if (namespaces.length === 0) return (
      <Screen title="New Issuer">
        <NoPermission what="this: making Issuers" />
      </Screen>
    );
  return <Editor kind="issuers" word="Issuer" start={start} steps={steps(true, inputs)} before={() => write(inputs, written.current, true)} />;
}

function Existing({ namespace, name }: { namespace: string; name: string }) {
  const query = useIssuer(namespace, name);
  const inputs = useRef(new Map<string, Input>());
  // Versions of what was written already, by kind and name: for another try.
  const written = useRef(new Map<string, string>());
  return (
    <Answered query={query} what="this Issuer">
      {(issuer) => <Editor key={name} kind="issuers" word="Issuer" start={wish(issuer) as Tree} version={issuer.metadata.resourceVersion} steps={steps(false, inputs)} before={() => write(inputs, written.current, false)} />}
    </Answered>
  );
}

const steps = (isNew: boolean, inputs: Inputs): Step[] => [
  { id: 'endpoint', title: 'Name and endpoint', content: <EndpointStep isNew={isNew} />, paths: ['metadata.namespace', 'metadata.name', 'spec.url', 'spec.engine', 'spec.recipient', 'spec.expectedSender', 'spec.keyUpdateSigner'] },
  { id: 'contact', title: 'First contact', content: <ContactStep inputs={inputs} />, paths: ['spec.authentication.initial'] },
  { id: 'identity', title: 'CMP identity', content: <IdentityStep />, paths: ['spec.authentication.identity'] },
  { id: 'trust', title: 'Trust', content: <TrustStep inputs={inputs} />, paths: ['spec.trust', 'spec.tls'] },
  { id: 'use', title: 'Use', content: <UseStep />, paths: ['spec.allowedNamespaces', 'spec.requests'] },
];

const options = (...values: string[]): Option[] => values.map((value) => ({ value, label: value }));

function EndpointStep({ isNew }: { isNew: boolean }) {
  const me = useMe();
  return (
    <>
      <SelectField path="metadata.namespace" label="Namespace" options={options(...namespacesFor(me, 'Edit'))} disabled={!isNew} required />
      <TextField path="metadata.name" label="Name" placeholder="lab-ca" disabled={!isNew} required />
      <TextField path="spec.url" label="Address of the CMP endpoint" placeholder="https://ca.lab.example/ejbca/publicweb/cmp/lab" required />
      <TextField path="spec.recipient" label="Name of the CA or RA" placeholder="CN=Lab Issuing CA,O=Lab" help="Empty where it is not known." />
      <div className="occm-pair">
        <SelectField path="spec.engine" label="Engine" fallback="Native" options={[{ value: 'Native', label: 'occm itself' }, { value: 'OpenSSL', label: 'the openssl command' }]} />
        <SelectField path="spec.keyUpdateSigner" label="Key update signed by" fallback="Certificate" options={[{ value: 'Certificate', label: 'the certificate itself' }, { value: 'Identity', label: 'the CMP identity' }]} />
      </div>
    </>
  );
}

function ContactStep({ inputs }: { inputs: Inputs }) {
  const { object, set } = useForm();
  const isMac = getAt(object, 'spec.authentication.initial.certificate') === undefined;
  const choose = (mac: boolean) =>
    set('spec.authentication.initial', mac ? { mac: { referenceValue: '', secretRef: { name: '', key: 'secret' } } } : { certificate: { secretRef: { name: '' } } });
  return (
    <>
      <FormGroup role="radiogroup" label="How occm shows the CA who it is, the first time" isStack>
        <Radio id="how-mac" name="how" label="With a secret that the CA gave" isChecked={isMac} onChange={() => choose(true)} />
        <Radio id="how-certificate" name="how" label="With a certificate that the CA already trusts" isChecked={!isMac} onChange={() => choose(false)} />
      </FormGroup>
      {isMac ? (
        <>
          <TextField path="spec.authentication.initial.mac.referenceValue" label="Reference value" help="The name under which the CA knows the secret." required />
          <div className="occm-pair">
            <TextField path="spec.authentication.initial.mac.secretRef.name" label="Secret" placeholder="lab-ca-mac" required />
            <TextField path="spec.authentication.initial.mac.secretRef.key" label="Key in it" placeholder="secret" required />
          </div>
          <Typed inputs={inputs} slot="mac" label="The shared secret" kind="Secret" path="spec.authentication.initial.mac.secretRef" secret />
          <div className="occm-pair">
            <SelectField path="spec.authentication.initial.mac.algorithm" label="Algorithm" fallback="PBM" options={options('PBM', 'PBMAC1')} />
            <SelectField path="spec.authentication.initial.mac.hash" label="Hash" fallback="SHA256" options={options('SHA256', 'SHA384', 'SHA512', 'SHA1')} />
          </div>
        </>
      ) : (
        <TextField path="spec.authentication.initial.certificate.secretRef.name" label="Secret with tls.crt and tls.key" help="It must be there already: private keys are not typed in here." required />
      )}
    </>
  );
}

/** Text for a Secret or ConfigMap of the Issuer's namespace; empty leaves it alone. */
function Typed(props: { inputs: Inputs; slot: string; label: string; kind: 'Secret' | 'ConfigMap'; path: string; secret?: boolean }) {
  const { object } = useForm();
  const { inputs, slot, kind } = props;
  const namespace = String(getAt(object, 'metadata.namespace') ?? '');
  const name = String(getAt(object, `${props.path}.name`) ?? '');
  const key = String(getAt(object, `${props.path}.key`) ?? '');
  const [text, setText] = useState(inputs.current.get(slot)?.text ?? '');
  inputs.current.set(slot, { kind, namespace, name, key, text });
  const id = `typed-${slot}`;
  const help = `Written to the ${kind} ${name || '…'} when you save, ${props.secret ? 'and never shown again' : 'key ' + (key || '…')}. Empty: the ${kind} is there already.`;
  return (
    <FormGroup label={props.label} fieldId={id}>
      {props.secret ? (
        <TextInput id={id} type="password" autoComplete="new-password" value={text} onChange={(_, next) => setText(next)} />
      ) : (
        <TextArea id={id} rows={4} value={text} onChange={(_, next) => setText(next)} placeholder="-----BEGIN CERTIFICATE-----" spellCheck={false} resizeOrientation="vertical" />
      )}
      <FormHelperText>
        <HelperText>
          <HelperTextItem>{help}</HelperTextItem>
        </HelperText>
      </FormHelperText>
    </FormGroup>
  );
}

function IdentityStep() {
  return (
    <>
      <Alert isInline isPlain variant="info" title="The certificate with which occm signs every later request. It is enrolled at the first contact and renewed by itself." />
      <TextField path="spec.authentication.identity.commonName" label="Common name" placeholder="occm.lab.example" help="Empty: no identity; every request is protected like the first contact." />
      <TextField path="spec.authentication.identity.literalSubject" label="Whole subject" placeholder="CN=occm,O=Lab" help="Instead of the common name." />
      <div className="occm-pair">
        <SelectField path="spec.authentication.identity.privateKey.algorithm" label="Key algorithm" fallback="ECDSA" options={options('ECDSA', 'RSA', 'Ed25519')} />
        <TextField path="spec.authentication.identity.duration" label="Life" placeholder="365d" help="Empty: the CA decides." />
      </div>
    </>
  );
}

function TrustStep({ inputs }: { inputs: Inputs }) {
  const { object } = useForm();
  const isTls = String(getAt(object, 'spec.url') ?? '').startsWith('https:');
  return (
    <>
      <Source path="spec.trust.responses" label="Who may protect answers" inputs={inputs} slot="responses" />
      {isTls && <Source path="spec.trust.tls" label="Who may be the TLS server" inputs={inputs} slot="tls" />}
    </>
  );
}

function Source({ path, label, inputs, slot }: { path: string; label: string; inputs: Inputs; slot: string }) {
  const { object } = useForm();
  const inSecret = getAt(object, `${path}.secretRef`) !== undefined;
  const where = inSecret ? 'secretRef' : 'configMapRef';
  const kind = inSecret ? 'Secret' : 'ConfigMap';
  return (
    <fieldset className="occm-fieldset">
      <legend>{label}</legend>
      <div className="occm-pair">
        <TextField path={`${path}.${where}.name`} label={kind} placeholder="lab-ca-trust" />
        <TextField path={`${path}.${where}.key`} label="Key in it" placeholder="ca.pem" />
      </div>
      <Typed inputs={inputs} slot={slot} label="CA certificates" kind={kind} path={`${path}.${where}`} />
    </fieldset>
  );
}

function UseStep() {
  return (
    <>
      <LinesField path="spec.allowedNamespaces" label="Namespaces that may use it, besides its own" help="Only an Issuer in occm's own namespace can be used from elsewhere." />
      <div className="occm-pair">
        <SelectField path="spec.requests.enrolment" label="First request for a certificate" fallback="CR" options={options('CR', 'IR', 'P10CR')} />
        <SelectField path="spec.requests.confirmation" label="Confirmation" fallback="Explicit" options={options('Explicit', 'Implicit')} />
      </div>
      <div className="occm-pair">
        <TextField path="spec.requests.certificateProfile" label="Certificate profile" />
        <SelectField path="spec.requests.modifications" label="If the CA changes names" fallback="Reject" options={[{ value: 'Reject', label: 'Refuse the certificate' }, { value: 'AcceptGranted', label: 'Take it when the CA says so' }]} />
      </div>
      <div className="occm-pair">
        <TextField path="spec.requests.ratePerSecond" label="Requests in a second" number help="Empty: no limit." />
        <TextField path="spec.requests.concurrency" label="Requests at one time" number help="Empty: 8." />
      </div>
    </>
  );
}
