/** Where the main job is done: on a directory, or on a real control plane. The test is the same. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { logIn, logInWithToken } from './browser';
import { Host } from './occm';
import { NAMESPACE, Release } from './release';

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

/** A release of the chart; the manager has the rights of its ServiceAccount, the person those of the Role `occm-admin`. */
export class OnKubernetes implements Place {
  readonly namespace = NAMESPACE;

  private constructor(private readonly release: Release) {}

  static async start(): Promise<OnKubernetes> {
    const operator = { kind: 'ServiceAccount', name: 'operator', namespace: NAMESPACE };
    const release = await Release.start('console', () => ({
      values: { api: { enabled: true }, roles: { admin: [operator] } },
      prepare: (prepared) => prepared.kubectl('create serviceaccount operator'),
    }));
    return new OnKubernetes(release);
  }

  get url() {
    return this.release.url;
  }

  logIn(page: Page) {
    return logInWithToken(page, this.url, this.release.token('operator'));
  }

  read(secret: string, key: string) {
    const text = this.release.kubectl(`get secret ${secret} --ignore-not-found -o json`);
    if (!text.trim()) return undefined;
    const { data } = JSON.parse(text) as { data: Record<string, string> };
    const value = data[key];
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString();
  }

  createSecret(name: string, key: string, certificate: string) {
    const secret = { apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata: { name }, stringData: { 'tls.key': key, 'tls.crt': certificate } };
    this.release.kubectl('create -f -', JSON.stringify(secret));
  }

  deleteSecret(secret: string) {
    this.release.kubectl(`delete secret ${secret}`);
  }

  stop() {
    return this.release.stop();
  }
}
