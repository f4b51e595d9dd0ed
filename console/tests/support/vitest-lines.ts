import type { Reporter, TestModule } from 'vitest/node';
import { print, type Verdict } from './lines';

/** The unit tests' verdicts. */
export default class Lines implements Reporter {
  private started = Date.now();

  onTestRunStart() {
    this.started = Date.now();
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly { message: string }[]) {
    const verdicts: Verdict[] = [];
    const failures = errors.map((error) => error.message);
    for (const module of modules) {
      failures.push(...module.errors().map((error) => `${module.moduleId}: ${error.message}`));
      for (const each of module.children.allTests()) {
        const result = each.result();
        const name = each.fullName;
        verdicts.push({ name, result: result.state === 'passed' ? 'ok' : result.state === 'skipped' ? 'ignored' : 'FAILED' });
        for (const error of result.errors ?? []) failures.push(`${name}: ${error.message}\n${error.diff ?? ''}`);
      }
    }
    if (failures.length > 0 && !verdicts.some((verdict) => verdict.result === 'FAILED')) verdicts.push({ name: 'the run as a whole', result: 'FAILED' });
    print('src', verdicts, (Date.now() - this.started) / 1000, failures);
  }
}
