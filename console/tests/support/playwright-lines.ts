import type { FullConfig, FullResult, Reporter, Suite, TestCase, TestResult } from '@playwright/test/reporter';
import { print, type Verdict } from './lines';

/** The browser tests' verdicts. */
export default class Lines implements Reporter {
  private readonly verdicts = new Map<string, Verdict>();
  private readonly failures: string[] = [];
  private started = Date.now();

  onBegin(_: FullConfig, suite: Suite) {
    this.started = Date.now();
    process.stderr.write(`${suite.allTests().length} tests in the browser\n`);
  }

  onTestEnd(test: TestCase, result: TestResult) {
    const name = test.titlePath().filter(Boolean).join(' > ');
    const why = test.annotations.find((note) => note.type === 'skip')?.description;
    const verdict = result.status === 'skipped' ? 'ignored' : test.ok() ? 'ok' : 'FAILED';
    this.verdicts.set(test.id, { name, result: verdict, why });
    process.stderr.write(`${verdict} ${name} (${result.duration} ms)\n`);
    if (verdict === 'FAILED') this.failures.push(`${name}\n${result.errors.map((error) => error.stack ?? error.message ?? '').join('\n')}`);
  }

  onError(error: { message?: string }) {
    this.failures.push(error.message ?? 'an error outside of the tests');
  }

  onEnd(result: FullResult) {
    const verdicts = [...this.verdicts.values()];
    if (result.status !== 'passed' && !verdicts.some((verdict) => verdict.result === 'FAILED')) verdicts.push({ name: `the run as a whole: ${result.status}`, result: 'FAILED' });
    print('tests', verdicts, (Date.now() - this.started) / 1000, this.failures);
  }
}
