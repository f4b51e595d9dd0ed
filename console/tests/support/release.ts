/** The chart, installed by helm into a real control plane, with its manager as a process: what a kubelet would do is done here. */

import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { OCCM, Program } from './process';

export const NAMESPACE = 'occm';

/** What `xtask kube up --json` tells. */
type Instance = { kubeconfig: string; assets: string };

/** How a release is installed. */
export type Chosen = {
  values: Record<string, unknown>;
  /** What the Pod needs and the chart does not make. */
  prepare: (release: Release) => void;
  /** Programs that end with the release. */
  beside?: Program[];
};

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

  /** Why there is none, if there is none. */
  static missing(): string | undefined {
    if (!process.env.OCCM_XTASK) return 'OCCM_XTASK does not name the xtask program; run `cargo xtask test --only console-e2e`';
    const assets = process.env.KUBEBUILDER_ASSETS;
    if (!assets || !existsSync(join(assets, 'kube-apiserver'))) return 'KUBEBUILDER_ASSETS does not name a folder with kube-apiserver';
    return undefined;
  }

  /** `choose` says how, once it is known where browsers will reach it. */
  static async start(kind: string, choose: (url: string) => Chosen | Promise<Chosen>): Promise<Release> {
    const name = `${kind}-${process.pid}`;
    const folder = mkdtempSync(join(tmpdir(), `occm-${kind}-`));
    const url = `https://localhost:${await freePort()}`;
    const { values, prepare, beside = [] } = await choose(url);
    const up = await promisify(execFile)(process.env.OCCM_XTASK ?? '', ['kube', 'up', '--json', '--name', name, '--owner', String(process.pid)], { maxBuffer: 1e7 });
    const instance = JSON.parse(up.stdout) as Instance;
    const release = new Release(name, folder, instance, beside, url);
    release.install(values);
    prepare(release);
    await release.run();
    return release;
  }

  /** As an administrator of the cluster. */
  kubectl(line: string, input?: string) {
    const { kubeconfig, assets } = this.instance;
    const command = ['--kubeconfig', kubeconfig, '-n', NAMESPACE, ...line.split(' ')];
    return execFileSync(join(assets, 'kubectl'), command, { encoding: 'utf8', ...(input === undefined ? {} : { input }), maxBuffer: 1e8 });
  }

  private install(values: Record<string, unknown>) {
    const file = join(this.folder, 'values.json');
    writeFileSync(file, JSON.stringify(values));
    const home = { HELM_CACHE_HOME: this.folder, HELM_CONFIG_HOME: this.folder, HELM_DATA_HOME: this.folder };
    const line = ['install', 'occm', '../deploy/chart', '--namespace', NAMESPACE, '--create-namespace', '--values', file];
    execFileSync(join(this.instance.assets, 'helm'), line, { env: { ...process.env, KUBECONFIG: this.instance.kubeconfig, ...home }, stdio: 'pipe' });
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
