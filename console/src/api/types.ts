/** What travels over the REST API: names for what `schema.ts` has, which `npm run check` makes from the OpenAPI file. */

import type { components } from './schema';

/** The document says "or null" for what may be absent; the server leaves it out and never sends null. */
type Present<T> = T extends readonly (infer Item)[] ? Present<Item>[] : T extends object ? { [Name in keyof T]: Present<Exclude<T[Name], null>> } : T;

type Schema<Name extends keyof components['schemas']> = Present<components['schemas'][Name]>;

export type Ref = { namespace: string; name: string };
export type KindRef = Schema<'ObjectName'>;
export type Page<Row> = { items: Row[]; total: number; continue?: string };

export type Certificate = Schema<'Certificate'>;
export type CertificateSpec = Certificate['spec'];
export type CertificateStatus = NonNullable<Certificate['status']>;
export type OutputSpec = NonNullable<CertificateSpec['outputs']>[number];
export type HistoryEntry = NonNullable<CertificateStatus['history']>[number];
export type Failure = NonNullable<CertificateStatus['lastFailure']>;
export type Condition = NonNullable<CertificateStatus['conditions']>[number];
export type Issuer = Schema<'Issuer'>;
export type TrustSource = NonNullable<Issuer['spec']['trust']['responses']>;

export type CertificateRow = Schema<'CertificateRow'>;
export type IssuerRow = Schema<'IssuerRow'>;
export type Overview = Schema<'Overview'>;
export type ActivityItem = Schema<'ActivityRow'>;
export type Activity = Schema<'Activity'>;
export type ObjectEvents = Schema<'EventsAnswer'>;
export type Chain = Schema<'Chain'>;
export type ChainCertificate = Schema<'Link'>;
export type Identity = Schema<'Identity'>;
export type SecretItem = Schema<'Watched'>;
export type KnownCa = Schema<'CaCertificate'>;
export type CalendarDay = Schema<'Day'>;
export type TestResult = Schema<'Test'>;
export type InputWritten = Schema<'InputWritten'>;
export type LogLevel = Schema<'LogLevel'>;
export type Limits = Schema<'LimitsAnswer'>;
export type Health = Schema<'Health'>;
export type Version = Schema<'Version'>;
export type Session = Schema<'SessionAnswer'>;
export type Role = Schema<'Role'>;
export type FieldProblem = Schema<'WrongField'>;
/** An answer that is no success; also made here, where there is no answer at all. */
export type Problem = { title: string; status: number; code: string; detail?: string; errors?: FieldProblem[]; requestId?: string };

export type Move = Schema<'Migration'>;
export type Adoption = Schema<'Adoption'>;
/** A body that is not filled in yet. */
export type Sent<Body> = { [Field in keyof Body]?: Body[Field] | undefined };

export type Candidate = Schema<'CandidateRow'>;
/** How it went with one Certificate that moves, or one Secret that is adopted. */
export type Outcome = Schema<'Moved'> | Schema<'Adopted'>;
