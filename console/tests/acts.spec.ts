/** What can be done besides the main job: with several certificates at once, with a revocation, by curl. */

import { execFileSync } from 'node:child_process';
import { expect, choice, logIn, test } from './support/browser';
import { Ca, certificate, Host, inputs, issuer, serialOf, tokenOf } from './support/occm';
import type { Page } from '@playwright/test';

const NAMES = ['one', 'two', 'three'];

let ca: Ca;
let host: Host;

test.beforeAll(async () => {
  ca = await Ca.start();
  const objects = [...inputs(ca), issuer('lab-ca', ca), issuer('new-ca', ca), issuer('unused', ca), ...NAMES.map((name) => certificate(name, 'lab-ca'))];
  host = await Host.start(objects, [{ name: 'alice', roles: { '*': 'Admin' } }]);
  await expect.poll(() => NAMES.filter((name) => host.read(name, 'tls.crt') === undefined), { timeout: 30_000 }).toEqual([]);
});

test.afterAll(async () => {
  await host?.stop();
  await ca?.stop();
});

const serials = () => NAMES.map((name) => serialOf(host.read(name, 'tls.crt') ?? ''));

async function select(page: Page, names: string[]) {
  await page.goto(`${host.url}/certificates`);
  for (const name of names) await page.getByRole('checkbox', { name: `Select ${name}`, exact: true }).check();
}

test('certificates that are selected are renewed, and moved to another Issuer', async ({ page, watched }) => {
  watched.expected.add(412);
  await logIn(page, host.url, 'alice');
  const before = serials();
  await select(page, ['one', 'two']);
  await page.getByRole('button', { name: 'Renew', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Renew now', exact: true }).click();
  await expect(dialog).toBeHidden();
  await expect.poll(() => serials().map((serial, index) => serial !== before[index])).toEqual([true, true, false]);

  const between = serials();
  await select(page, ['one', 'three']);
  await page.getByRole('button', { name: 'Migrate', exact: true }).click();
  await expect(page.getByText('2 chosen in the list')).toBeVisible();
  await choice(page, 'To the Issuer').selectOption('default/new-ca');
  await page.getByRole('button', { name: 'Dry run', exact: true }).click();
  await page.getByRole('button', { name: 'Migrate 2', exact: true }).click();
  await expect(page.getByText('Done. What happens next is in each Certificate.')).toBeVisible();
  await expect.poll(() => serials().map((serial, index) => serial !== between[index])).toEqual([true, false, true]);
  await page.getByRole('grid', { name: 'Results' }).getByRole('link', { name: 'default/three' }).click();
  await expect(page.getByRole('link', { name: 'default/new-ca' })).toBeVisible();
});

test('a certificate is replaced, then revoked by the CA', async ({ page, watched }) => {
  watched.expected.add(412);
  await logIn(page, host.url, 'alice');
  const [, before = ''] = serials();
  await page.goto(`${host.url}/certificates/default/two`);
  await page.getByRole('button', { name: 'More actions' }).click();
  await page.getByRole('menuitem', { name: 'Replace and revoke' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Replace and revoke', exact: true }).click();
  await expect(dialog).toBeHidden();
  await expect.poll(() => serials()[1]).not.toBe(before);
  await expect.poll(() => ca.stateOf(before)).toBe('revoked');
});

test('an Issuer that nobody uses is deleted', async ({ page, watched }) => {
  watched.expected.add(412);
  await logIn(page, host.url, 'alice');
  await page.goto(`${host.url}/issuers/default/unused`);
  await page.getByRole('button', { name: 'More actions' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Type unused to go on').fill('unused');
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Issuers' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'lab-ca', exact: true })).toBeVisible();
  await expect(page.getByRole('link', { name: 'unused', exact: true })).toHaveCount(0);
});

test('the log level is set for a while, and says for which replica', async ({ page }) => {
  await logIn(page, host.url, 'alice');
  await page.goto(`${host.url}/settings`);
  await choice(page, 'New level').selectOption('debug');
  await page.getByRole('button', { name: 'Set level' }).click();
  await expect(page.getByText('Log level debug')).toBeVisible();
  await expect(page.getByText(/^the replica pid-\d+$/)).toBeVisible();
  await expect(page.getByText(/in 1[45] min/)).toBeVisible();
});

/** Screens whose text form is one request, and what its answer has. */
const AS_CURL: [path: string, has: string][] = [
  ['/', '"attention"'],
  ['/certificates?q=two', '"name":"two"'],
  ['/certificates/default/two', '"kind":"Certificate"'],
  ['/issuers', '"name":"lab-ca"'],
  ['/issuers/default/lab-ca', '"kind":"Issuer"'],
  ['/identities', '"items"'],
  ['/chains', '"items"'],
  ['/secrets', '"role":"Output"'],
  ['/calendar', '"items"'],
  ['/activity', '"Issued"'],
];

test('what a screen shows as curl, a shell can run', async ({ page }) => {
  await logIn(page, host.url, 'alice');
  for (const [path, has] of AS_CURL) {
    await page.goto(host.url + path);
    await page.getByRole('button', { name: 'As code' }).first().click();
    await page.getByRole('dialog').getByRole('tab', { name: 'curl' }).click();
    const command = await page.getByRole('region', { name: 'curl command' }).innerText();
    const answer = execFileSync('sh', ['-c', command], { encoding: 'utf8', env: { ...process.env, OCCM_TOKEN: tokenOf('alice') } });
    expect(answer, `${path}: ${command}`).toContain(has);
    await page.keyboard.press('Escape');
  }
});
