/** A CA and an occm on a directory, as tests need them. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { OCCM, Program } from './process';

export const SECRET = 'the secret of the tests';
export const REFERENCE = 'tests';

/** The development CA, in a process of its own. */
export class Ca {
  private constructor(
    private readonly program: Program,
    private readonly folder: string,
    readonly address: string,
    readonly root: string,
  ) {}

  static async start(): Promise<Ca> {
    const folder = mkdtempSync(join(tmpdir(), 'occm-console-ca-'));
    const file = join(folder, 'secret');
    writeFileSync(file, SECRET);
    const program = Program.start(OCCM, ['ca', '--listen', '127.0.0.1:0', '--secret-file', `${REFERENCE}=${file}`]);
    const [, address = ''] = await program.says(/CMP\s+(http:\/\/\S+)\/cmp/);
    const root = await (await fetch(`${address}/-/ca.pem`)).text();
    return new Ca(program, folder, address, root);
  }

  get url() {
    return `${this.address}/cmp`;
  }

  /** How the CA's ledger has a certificate: `confirmed`, `revoked`, ... */
  async stateOf(serial: string): Promise<string | undefined> {
    const entries = (await (await fetch(`${this.address}/-/ledger`)).json()) as { serial: string; state: { is: string } }[];
    return entries.find((entry) => entry.serial === serial)?.state.is;
  }

  async stop() {
    await this.program.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export type Wish = { kind: string; metadata: { name: string; namespace?: string; labels?: Record<string, string> }; [more: string]: unknown };

export function issuer(name: string, ca: Ca, more: { secretKey?: string; namespaces?: string[] } = {}): Wish {
  return {
    apiVersion: 'occm.dev/v1alpha1',
    kind: 'Issuer',
    metadata: { name },
    spec: {
      url: ca.url,
      authentication: {
        initial: { mac: { referenceValue: REFERENCE, secretRef: { name: 'ca-mac', key: more.secretKey ?? 'secret' } } },
        identity: { commonName: `occm.${name}.example` },
      },
      trust: { responses: { configMapRef: { name: 'ca-trust', key: 'ca.pem' } } },
      ...(more.namespaces ? { allowedNamespaces: more.namespaces } : {}),
    },
  };
}

export function inputs(ca: Ca): Wish[] {
  return [
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'ca-mac' }, stringData: { secret: SECRET, wrong: 'not the secret' } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ca-trust' }, data: { 'ca.pem': ca.root } },
  ];
}

export function certificate(name: string, from: string, more: Record<string, unknown> = {}): Wish {
  return {
    apiVersion: 'occm.dev/v1alpha1',
    kind: 'Certificate',
    metadata: { name },
    spec: { issuerRef: { name: from }, commonName: `${name}.example`, dnsNames: [`${name}.example`], secretName: name, duration: '90d', renewBefore: '30d', ...more },
  };
}

/** A user of the directory: the token's hash stands in the file of users. */
export type User = { name: string; roles: Record<string, 'View' | 'Edit' | 'Admin'> };
export const tokenOf = (user: string) => `token-of-${user}-${'0'.repeat(24)}`;
export const passwordOf = (user: string) => `password of ${user}`;

/** Objects in one file: files of a directory are bounded. */
const PER_FILE = 500;

/** `occm serve` on a directory that goes away with it. */
export class Host {
  private constructor(
    private readonly program: Program,
    readonly folder: string,
    readonly url: string,
  ) {}

  static async start(objects: Wish[], users: User[], more: string[] = []): Promise<Host> {
    const folder = mkdtempSync(join(tmpdir(), 'occm-console-'));
    const store = join(folder, 'store');
    mkdirSync(store, { mode: 0o700 });
    for (let from = 0; from < objects.length; from += PER_FILE) {
      const text = objects.slice(from, from + PER_FILE).map((object) => stringify(object)).join('---\n');
      writeFileSync(join(store, `objects-${from}.yaml`), text, { mode: 0o600 });
    }
    const file = join(folder, 'users.yaml');
    writeFileSync(file, stringify({ users: users.map(entry) }), { mode: 0o600 });
    const program = Program.start(OCCM, ['serve', '--store', store, '--listen', '127.0.0.1:0', '--users', file, '--requests-per-second', '1000', ...more]);
    const [, url = ''] = await program.says(/(http:\/\/127\.0\.0\.1:\d+)/);
    return new Host(program, store, url);
  }

  output(name: string, key: string): string {
    return join(this.folder, 'secrets/default', name, key);
  }

  /** Content of an output; `undefined` while it is not there. */
  read(name: string, key: string): string | undefined {
    const file = this.output(name, key);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  }

  async stop() {
    await this.program.stop();
    rmSync(join(this.folder, '..'), { recursive: true, force: true });
  }
}

function entry({ name, roles }: User) {
  const password = execFileSync(OCCM, ['password'], { input: `${passwordOf(name)}\n`, encoding: 'utf8' }).trim();
  return { name, password, tokenSha256: createHash('sha256').update(tokenOf(name)).digest('hex'), roles };
}

/** What OpenSSL says about a certificate: a judge that shares no code with occm. */
export function subjectOf(pem: string): string {
  return execFileSync('openssl', ['x509', '-noout', '-subject', '-nameopt', 'RFC2253'], { input: pem, encoding: 'utf8' }).trim();
}

export function serialOf(pem: string): string {
  return execFileSync('openssl', ['x509', '-noout', '-serial'], { input: pem, encoding: 'utf8' }).trim().replace('serial=', '').toLowerCase();
}

/** Whether OpenSSL finds that key and certificate belong together. */
export function belongTogether(key: string, certificatePem: string): boolean {
  const ofKey = execFileSync('openssl', ['pkey', '-pubout'], { input: key, encoding: 'utf8' });
  const ofCertificate = execFileSync('openssl', ['x509', '-noout', '-pubkey'], { input: certificatePem, encoding: 'utf8' });
  return ofKey === ofCertificate;
}
