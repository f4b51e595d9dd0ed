/** What travels over the REST API. */

export type Time = string;
export type Ref = { namespace: string; name: string };
export type KindRef = Ref & { kind: string };

export type Condition = { type: string; status: string; reason: string; message: string; lastTransitionTime?: Time };
export type Metadata = {
  namespace?: string;
  name: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: Time;
  deletionTimestamp?: Time;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
};
export type Failure = { class: string; reason: string; message: string; time: Time; attempts: number };

export type PrivateKeySpec = { algorithm?: string; size?: number; encoding?: string; rotationPolicy?: string };
export type KeyRef = { name: string; key: string };
export type TrustSource = { secretRef?: KeyRef; configMapRef?: KeyRef };
export type OutputSpec = {
  secret: { name: string; namespace?: string; type?: string };
  keys: Record<string, { part: string; format?: string }>;
};
export type CertificateSpec = {
  issuerRef: { name: string; namespace?: string };
  commonName?: string;
  literalSubject?: string;
  subject?: Record<string, string[] | string>;
  dnsNames?: string[];
  ipAddresses?: string[];
  uris?: string[];
  emailAddresses?: string[];
  usages?: string[];
  privateKey?: PrivateKeySpec;
  duration?: string;
  renewBefore?: string;
  renewBeforePercentage?: number;
  secretName?: string;
  outputs?: OutputSpec[];
  onDrift?: string;
  onDelete?: string;
  existing?: string;
  purpose?: string;
  keepCopy?: boolean;
  [more: string]: unknown;
};
export type HistoryEntry = { revision: number; serialNumber: string; notAfter: Time; issuedAt: Time; reason: string };
export type CertificateStatus = {
  conditions?: Condition[];
  notBefore?: Time;
  notAfter?: Time;
  renewalTime?: Time;
  serialNumber?: string;
  fingerprint?: string;
  revision?: number;
  history?: HistoryEntry[];
  outputs?: { name: string; state: string; changedBy?: string }[];
  lastFailure?: Failure;
  nextAttempt?: Time;
  possibleOrphans?: number;
  orphans?: number;
};
export type IssuerSpec = {
  url: string;
  engine?: string;
  recipient?: string;
  expectedSender?: string;
  keyUpdateSigner?: string;
  revocationSigner?: string;
  authentication: {
    initial: {
      mac?: { referenceValue: string; secretRef: KeyRef; algorithm?: string; iterations?: number; hash?: string };
      certificate?: { secretRef: { name: string }; certificateKey?: string; privateKeyKey?: string };
    };
    identity?: { commonName?: string; literalSubject?: string; privateKey?: PrivateKeySpec; duration?: string };
  };
  trust: { responses?: TrustSource; certificates?: TrustSource; tls?: TrustSource };
  requests?: Record<string, unknown>;
  allowedNamespaces?: string[];
  [more: string]: unknown;
};
export type IdentityStatus = {
  notBefore: Time;
  notAfter: Time;
  renewalTime: Time;
  serialNumber: string;
  subject: string;
  revision: number;
};
export type IssuerStatus = {
  conditions?: Condition[];
  identity?: IdentityStatus;
  lastContact?: Time;
  lastFailure?: Failure;
  possibleOrphans?: number;
};
export type Certificate = { apiVersion: string; kind: string; metadata: Metadata; spec: CertificateSpec; status?: CertificateStatus };
export type Issuer = { apiVersion: string; kind: string; metadata: Metadata; spec: IssuerSpec; status?: IssuerStatus };

export type Band = 'expired' | '7' | '30' | '90' | '180' | 'ok';
export type CertificateRow = {
  namespace: string;
  name: string;
  uid?: string;
  resourceVersion: string;
  state: string;
  reason: string;
  message: string;
  band?: string;
  issuer: Ref;
  commonName?: string;
  dnsNames: string[];
  algorithm: string;
  size?: number;
  secretName?: string;
  notBefore?: Time;
  notAfter?: Time;
  renewalTime?: Time;
  serialNumber?: string;
  revision?: number;
  drift: boolean;
  purpose: string;
  labels: Record<string, string>;
  created?: Time;
  since?: Time;
  lastFailure?: Failure;
};
export type IssuerRow = {
  namespace: string;
  name: string;
  resourceVersion: string;
  uid?: string;
  ready: boolean;
  state: string;
  reason: string;
  message: string;
  url: string;
  engine: string;
  auth: string;
  identity?: { notAfter: Time; renewalTime: Time; serialNumber: string; band?: string };
  certificates: number;
  lastContact?: Time;
  lastError?: Failure;
};
export type Page<Row> = { items: Row[]; total: number; continue?: string };

export type FieldProblem = { field: string; problem: string; allowed?: string };
export type Problem = {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  code: string;
  errors?: FieldProblem[];
  requestId?: string;
};

export type Role = 'View' | 'Edit' | 'Admin';
export type Session = {
  user: string;
  kind: 'Bearer' | 'Oidc' | 'Local' | 'None';
  roles: Record<string, Role>;
  namespaces: string[];
  expires?: Time;
  idleTimeoutSeconds?: number;
  csrfToken?: string;
  banner?: string;
  login: { local: boolean; token: boolean; oidc: boolean; oidcName?: string };
};
export type Health = { status: string; leader: boolean; holder?: string; synced: boolean; store: string; since?: Time };
export type Version = { version: string; features: string[]; apiVersion: string };

export type ActivityItem = {
  time: Time;
  kind: 'Event' | 'Audit';
  who?: string;
  from?: string;
  what: string;
  object: KindRef;
  severity: string;
  reason: string;
  message: string;
  result?: string;
};
export type Activity = { items: ActivityItem[]; reachesBackTo?: Time; note?: string };
export type Overview = {
  counts: {
    total: number;
    ready: number;
    issuing: number;
    failed: number;
    drifted: number;
    expired: number;
    bands: Record<string, number>;
  };
  issuers: { namespace: string; name: string; ready: boolean; reason: string; lastContact?: Time }[];
  attention: { kind: string; namespace: string; name: string; reason: string; message: string; since?: Time }[];
  renewals: { namespace: string; name: string; renewalTime: Time }[];
  activity: ActivityItem[];
  version: string;
  store: string;
  namespaces: string[];
  leader: boolean;
  holder?: string;
};
export type ChainCertificate = {
  subject: string;
  issuer: string;
  serialNumber: string;
  notBefore: Time;
  notAfter: Time;
  fingerprintSha256: string;
  isCa: boolean;
  selfSigned: boolean;
  text: string;
  pem: string;
  problems: string[];
};
export type Chain = { verdict: string; why: string; certificates: ChainCertificate[] };
export type CertificateEvents = {
  items: { time: Time; severity: string; reason: string; message: string; count?: number }[];
  reachesBackTo?: Time;
  source?: string;
};
export type Identity = {
  issuer: Ref;
  subject: string;
  notAfter?: Time;
  renewalTime?: Time;
  serialNumber?: string;
  state: string;
  reason: string;
  revision?: number;
};
export type SecretItem = {
  namespace: string;
  name: string;
  role: string;
  owner?: KindRef;
  state: string;
  since?: Time;
  lastWriter?: string;
  reason?: string;
  keys: string[];
  action: string;
};
export type KnownCa = {
  subject: string;
  issuer: string;
  fingerprintSha256: string;
  notAfter: Time;
  selfSigned: boolean;
  usedBy: (KindRef & { use: string })[];
};
export type CalendarDay = { day: string; expiring: number; renewing: number };
export type Candidate = {
  namespace: string;
  secret: string;
  type: string;
  key: string;
  subject: string;
  issuer: string;
  sans: string[];
  notAfter: Time;
  algorithm: string;
  managedBy?: string;
  keyFits: boolean;
  problems: string[];
  suggested?: Certificate;
};
export type Outcome = { namespace: string; name?: string; secret?: string; result: string; problem?: Problem | string };
export type TestResult = { ok: boolean; steps: { name: string; ok: boolean; detail: string; tookMs: number }[] };
export type LogLevel = { level: string; replica: string; until?: Time };
export type Limits = Record<string, number | string>;
