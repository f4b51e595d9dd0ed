/** Links to objects. */

import { Link } from 'react-router';
import type { KindRef, Ref } from '../api/types';

export const certificatePath = ({ namespace, name }: Ref, tab = '') =>
  `/certificates/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}${tab && `/${tab}`}`;
export const issuerPath = ({ namespace, name }: Ref) => `/issuers/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;

export const CertificateLink = ({ of, full }: { of: Ref; full?: boolean }) => (
  <Link to={certificatePath(of)} className="occm-ellipsis" title={`${of.namespace}/${of.name}`}>
    {full ? `${of.namespace}/${of.name}` : of.name}
  </Link>
);
export const IssuerLink = ({ of, full }: { of: Ref; full?: boolean }) => (
  <Link to={issuerPath(of)} className="occm-ellipsis" title={`${of.namespace}/${of.name}`}>
    {full ? `${of.namespace}/${of.name}` : of.name}
  </Link>
);

/** A link where there is a screen for it, else its name. */
export function ObjectLink({ of, short = false }: { of: KindRef; short?: boolean }) {
  if (of.kind === 'Certificate') return <CertificateLink of={of} full={!short} />;
  if (of.kind === 'Issuer') return <IssuerLink of={of} full={!short} />;
  return (
    <span className="occm-ellipsis" title={`${of.kind} ${of.namespace}/${of.name}`}>
      {of.kind} {of.namespace}/{of.name}
    </span>
  );
}
