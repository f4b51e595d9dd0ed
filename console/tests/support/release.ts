/** The chart, installed by helm into a real control plane, with its manager as a process: what a kubelet would do is done here. */

import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { kubectlOf, type Instance } from './place';
import { OCCM, Program } from './process';

const NAMESPACE = 'occm';
const CLIENT_SECRET = 'the-secret-of-the-client';
export const BANNER = 'For authorised people only.';

type Source = { secret?: { secretName: string; optional?: boolean }; configMap?: { name: string } };
type Pod = {
  containers: { args: string[]; env: { name: string; value?: string; valueFrom?: { fieldRef: { fieldPath: string } } }[]; volumeMounts: { name: string; mountPath: string }[] }[];
  volumes: ({ name: string } & Source)[];
};

export class Release {
  private constructor(
    private readonly name: string,
    private readonly folder: string,
    private readonly instance: Instance,
    private readonly programs: Program[],
    readonly url: string,
  ) {}

  static async start(): Promise<Release> {
    const name = `chart-${process.pid}`;
    const folder = mkdtempSync(join(tmpdir(), 'occm-chart-'));
    const url = `https://localhost:${await freePort()}`;
    const provider = Program.start('node', ['tests/support/provider.mjs', 'occm', CLIENT_SECRET, `${url}/api/v1/oidc/callback`]);
    const [, issuer = ''] = await provider.says(/provider (http:\/\/\S+)/);
    const up = await promisify(execFile)(process.env.OCCM_XTASK ?? '', ['kube', 'up', '--json', '--name', name, '--owner', String(process.pid)], { maxBuffer: 1e7 });
    const instance = JSON.parse(up.stdout) as Instance;
    const release = new Release(name, folder, instance, [provider], url);
    release.install(issuer);
    await release.run();
    return release;
  }

  kubectl(line: string, input?: string) {
    return kubectlOf(this.instance)(`-n ${NAMESPACE} ${line}`, input);
  }

  private install(issuer: string) {
    const values = {
      api: { enabled: true, banner: BANNER, externalUrl: this.url, oidc: { issuer, clientId: 'occm', clientSecretName: 'oidc-client', name: 'Lab' } },
      roles: { view: [{ kind: 'ServiceAccount', name: 'vera', namespace: NAMESPACE }], edit: [{ kind: 'Group', name: 'oidc:operators' }] },
    };
    const file = join(this.folder, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const home = { HELM_CACHE_HOME: this.folder, HELM_CONFIG_HOME: this.folder, HELM_DATA_HOME: this.folder };
    const line = ['install', 'occm', '../deploy/chart', '--namespace', NAMESPACE, '--create-namespace', '--values', file];
    execFileSync(join(this.instance.assets, 'helm'), line, { env: { ...process.env, KUBECONFIG: this.instance.kubeconfig, ...home }, stdio: 'pipe' });
    this.kubectl(`create secret generic oidc-client --from-literal=client-secret=${CLIENT_SECRET}`);
    this.kubectl('create serviceaccount vera');
  }

  /** The manager's container as its Deployment says, with the token of its ServiceAccount. */
  private async run() {
    const deployment = JSON.parse(this.kubectl('get deployment occm -o json')) as { spec: { template: { spec: Pod } } };
    const pod = deployment.spec.template.spec;
    const [container] = pod.containers;
    if (!container) throw new Error('the Deployment has no container');
    for (const { name, mountPath } of container.volumeMounts) this.mount(mountPath, pod.volumes.find((volume) => volume.name === name) ?? {});
    const fields: Record<string, string> = { 'metadata.namespace': NAMESPACE, 'metadata.uid': 'uid-1' };
    const value = (one: (typeof container.env)[number]) => one.value?.replace(/^\/etc\/occm/, this.folder) ?? fields[one.valueFrom?.fieldRef.fieldPath ?? ''] ?? '';
    const env = Object.fromEntries(container.env.map((one) => [one.name, value(one)]));
    const program = Program.start(OCCM, container.args, { ...env, KUBECONFIG: this.kubeconfig(), OCCM_LISTEN: new URL(this.url).host.replace('localhost', '127.0.0.1'), OCCM_LISTEN_HEALTH: '127.0.0.1:0' });
    this.programs.push(program);
    await program.says(/keys of session cookies were read/);
  }

  private mount(path: string, { secret, configMap }: Source) {
    const folder = path.replace(/^\/etc\/occm/, this.folder);
    mkdirSync(folder, { recursive: true });
    const what = secret ? `secret ${secret.secretName}` : `configmap ${configMap?.name}`;
    const text = this.kubectl(`get ${what} -o json${secret?.optional ? ' --ignore-not-found' : ''}`);
    if (!text.trim()) return;
    const { data } = JSON.parse(text) as { data: Record<string, string> };
    for (const [key, value] of Object.entries(data)) writeFileSync(join(folder, key), secret ? Buffer.from(value, 'base64') : value);
  }

  private kubeconfig(): string {
    const administrator = JSON.parse(this.kubectl('config view --raw -o json')) as { clusters: object[]; contexts: { context: { cluster: string } }[] };
    const cluster = administrator.contexts[0]?.context.cluster;
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: administrator.clusters,
      users: [{ name: 'occm', user: { token: this.token('occm') } }],
      contexts: [{ name: 'occm', context: { cluster, user: 'occm', namespace: NAMESPACE } }],
      'current-context': 'occm',
    };
    const file = join(this.folder, 'kubeconfig.json');
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  }

  token(account: string) {
    return this.kubectl(`create token ${account}`).trim();
  }

  async stop() {
    for (const program of this.programs.reverse()) await program.stop();
    await promisify(execFile)(process.env.OCCM_XTASK ?? '', ['kube', 'down', '--name', this.name]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
