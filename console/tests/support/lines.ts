/** Verdicts as lines of text in the form of Rust's test programs, so that one reader counts all tests of the project. */

export type Verdict = { name: string; result: 'ok' | 'FAILED' | 'ignored'; why?: string | undefined };

export function print(program: string, verdicts: Verdict[], seconds: number, failures: string[]) {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  say(`     Running ${program} (console)`);
  say(`running ${verdicts.length} tests`);
  for (const { name, result, why } of verdicts) say(`test ${name} ... ${result}${result === 'ignored' ? `, ${why ?? ''}` : ''}`);
  if (failures.length > 0) {
    say('failures:');
    for (const failure of failures) say(failure);
  }
  const count = (result: Verdict['result']) => verdicts.filter((verdict) => verdict.result === result).length;
  const word = count('FAILED') > 0 ? 'FAILED' : 'ok';
  say(`test result: ${word}. ${count('ok')} passed; ${count('FAILED')} failed; ${count('ignored')} ignored; finished in ${seconds.toFixed(2)}s`);
}
