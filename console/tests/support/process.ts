/** Programs that tests start: waited for by what they print, ended with the test. */

import { spawn, type ChildProcess } from 'node:child_process';

export const OCCM = process.env.OCCM_BIN ?? '../target/debug/occm';

const PATIENCE_MS = 30_000;

export class Program {
  private text = '';
  private readonly watchers = new Set<() => void>();
  private ended: string | undefined;

  private constructor(
    private readonly child: ChildProcess,
    private readonly line: string,
  ) {
    const read = (chunk: Buffer) => {
      this.text += chunk.toString();
      this.look();
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('exit', (code, signal) => {
      this.ended = `ended with ${code ?? signal}`;
      this.look();
    });
    child.on('error', (error) => {
      this.ended = error.message;
      this.look();
    });
  }

  static start(program: string, args: string[], env: Record<string, string> = {}): Program {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    return new Program(child, [program, ...args].join(' '));
  }

  private look() {
    for (const watcher of this.watchers) watcher();
  }

  /** The first match in what it printed, also of what it prints later. */
  says(pattern: RegExp): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        done();
        reject(new Error(`${this.line}: ${why}; it said:\n${this.text}`));
      };
      const timer = setTimeout(() => fail(`nothing like ${pattern} for ${PATIENCE_MS} ms`), PATIENCE_MS);
      const watch = () => {
        const match = this.text.match(pattern);
        if (match) {
          done();
          resolve(match);
        } else if (this.ended) fail(this.ended);
      };
      const done = () => {
        clearTimeout(timer);
        this.watchers.delete(watch);
      };
      this.watchers.add(watch);
      watch();
    });
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await gone;
    clearTimeout(timer);
  }
}
