/** Where the main job is done: on a directory, or on a real control plane. The test is the same. */

import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, type Page } from '@playwright/test';
import { logIn } from './browser';
import { Host } from './occm';
import { OCCM, Program } from './process';

export interface Place {
  readonly url: string;
  /** Namespace in which the job is done. */
  readonly namespace: string;
  logIn(page: Page): Promise<void>;
  /** Content of one key of an output; `undefined` while it is not there. */
  read(secret: string, key: string): string | undefined;
  /** A Secret of type TLS that somebody else made. */
  createSecret(secret: string, key: string, certificate: string): void;
  /** As somebody who should not. */
  deleteSecret(secret: string): void;
  stop(): Promise<void>;
}

export class OnDirectory implements Place {
  readonly namespace = 'default';

  private constructor(private readonly host: Host) {}

  static async start(): Promise<OnDirectory> {
    return new OnDirectory(await Host.start([], [{ name: 'alice', roles: { '*': 'Admin' } }]));
  }

  get url() {
    return this.host.url;
  }

  logIn(page: Page) {
    return logIn(page, this.url, 'alice');
  }

  read(secret: string, key: string) {
    return this.host.read(secret, key);
  }

  createSecret(secret: string, key: string, certificate: string) {
    const folder = join(this.host.folder, 'secrets', this.namespace, secret);
    mkdirSync(folder);
    writeFileSync(join(folder, 'tls.key'), key, { mode: 0o600 });
    writeFileSync(join(folder, 'tls.crt'), certificate);
  }

  deleteSecret(secret: string) {
    rmSync(join(this.host.folder, 'secrets', this.namespace, secret), { recursive: true });
  }

  stop() {
    return this.host.stop();
  }
}

/** What `xtask kube up --json` tells. */
export type Instance = { kubeconfig: string; assets: string };

/** Rights of a person who runs certificates in one namespace, and none elsewhere. */
const RIGHTS = [
  'create role occm-operator --verb=* --resource=issuers.occm.dev,certificates.occm.dev,secrets,configmaps',
  'create rolebinding occm-operator --role=occm-operator --serviceaccount=occm:operator',
  'create role occm-events --verb=list --resource=events.events.k8s.io,events',
  'create rolebinding occm-events --role=occm-events --serviceaccount=occm:operator',
];

export class OnKubernetes implements Place {
  readonly namespace = 'occm';

  private constructor(
    private readonly name: string,
    private readonly instance: Instance,
    private readonly program: Program,
    readonly url: string,
  ) {}

  /** Why there is none, if there is none. */
  static missing(): string | undefined {
    if (!process.env.OCCM_XTASK) return 'OCCM_XTASK does not name the xtask program; run `cargo xtask test --only console-e2e`';
    const assets = process.env.KUBEBUILDER_ASSETS;
    if (!assets || !existsSync(join(assets, 'kube-apiserver'))) return 'KUBEBUILDER_ASSETS does not name a folder with kube-apiserver';
    return undefined;
  }

  static async start(): Promise<OnKubernetes> {
    const name = `console-${process.pid}`;
    const up = await promisify(execFile)(process.env.OCCM_XTASK ?? '', ['kube', 'up', '--json', '--name', name, '--owner', String(process.pid)], { maxBuffer: 1e7 });
    const instance = JSON.parse(up.stdout) as Instance;
    const kubectl = kubectlOf(instance);
    kubectl('apply --server-side -f -', execFileSync(OCCM, ['crds'], { encoding: 'utf8' }));
    kubectl('create namespace occm');
    kubectl('-n occm create serviceaccount operator');
    for (const right of RIGHTS) kubectl(`-n occm ${right}`);
    const program = Program.start(OCCM, ['serve', '--namespace', 'occm', '--listen', '127.0.0.1:0'], { KUBECONFIG: instance.kubeconfig, OCCM_LOG: 'info' });
    const [, url = ''] = await program.says(/(http:\/\/127\.0\.0\.1:\d+)/);
    return new OnKubernetes(name, instance, program, url);
  }

  async logIn(page: Page) {
    const token = kubectlOf(this.instance)('-n occm create token operator').trim();
    await page.goto(this.url);
    await page.locator('input[type=password]').fill(token);
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
  }

  read(secret: string, key: string) {
    const text = kubectlOf(this.instance)(`-n occm get secret ${secret} --ignore-not-found -o json`);
    if (!text.trim()) return undefined;
    const { data } = JSON.parse(text) as { data: Record<string, string> };
    const value = data[key];
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString();
  }

  createSecret(name: string, key: string, certificate: string) {
    const secret = { apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata: { name, namespace: this.namespace }, stringData: { 'tls.key': key, 'tls.crt': certificate } };
    kubectlOf(this.instance)('create -f -', JSON.stringify(secret));
  }

  deleteSecret(secret: string) {
    kubectlOf(this.instance)(`-n occm delete secret ${secret}`);
  }

  async stop() {
    await this.program.stop();
    await promisify(execFile)(process.env.OCCM_XTASK ?? '', ['kube', 'down', '--name', this.name]);
  }
}

export function kubectlOf({ kubeconfig, assets }: Instance) {
  return (line: string, input?: string) => execFileSync(join(assets, 'kubectl'), ['--kubeconfig', kubeconfig, ...line.split(' ')], { encoding: 'utf8', ...(input === undefined ? {} : { input }), maxBuffer: 1e8 });
}
