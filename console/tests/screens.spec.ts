/** Every screen with real content, in both themes, and in every state that it can be in. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { accessible, expect, field, logIn, setTheme, settled, test, type Theme } from './support/browser';
import { Ca, certificate, Host, inputs, issuer } from './support/occm';

/** Pictures for people: below `docs/images` where OCCM_PICTURES says so, else beside the other results. */
const IMAGES = process.env.OCCM_PICTURES ?? 'node_modules/.cache/images';

const SCREENS: [name: string, path: string, shows: string | RegExp][] = [
  ['overview', '/', 'Needs attention'],
  ['certificates', '/certificates', 'nrf-tls'],
  ['certificate', '/certificates/default/nrf-tls', 'Valid until'],
  ['certificate-failed', '/certificates/default/refused', /IssuerNotReady|Rejected/],
  ['chain', '/certificates/default/nrf-tls/chain', 'Intermediate'],
  ['text', '/certificates/default/nrf-tls/text', '-----BEGIN CERTIFICATE-----'],
  ['outputs', '/certificates/default/nrf-tls/outputs', 'In sync'],
  ['history', '/certificates/default/nrf-tls/history', 'Missing'],
  ['events', '/certificates/default/nrf-tls/events', 'Issued'],
  ['yaml', '/certificates/default/nrf-tls/yaml', 'issuerRef'],
  ['certificate-new', '/certificates/new', 'Name and purpose'],
  ['certificate-edit-yaml', '/certificates/default/nrf-tls/edit?as=yaml', 'Dry run: the server takes this'],
  ['issuers', '/issuers', 'wrong-secret'],
  ['issuer', '/issuers/default/lab-ca', 'CN=occm.lab-ca.example'],
  ['issuer-events', '/issuers/default/wrong-secret/events', 'Rejected'],
  ['issuer-new', '/issuers/new', 'Address of the CMP endpoint'],
  ['identities', '/identities', 'CN=occm.lab-ca.example'],
  ['chains', '/chains', 'responses'],
  ['secrets', '/secrets', 'nrf-tls'],
  ['calendar', '/calendar', /renewals in these twelve months/],
  ['activity', '/activity', 'Issued'],
  ['migration-secrets', '/migration/secrets', 'Nothing to take over'],
  ['migration-issuer', '/migration/issuer', 'To the Issuer'],
  ['settings', '/settings', 'the replica'],
  ['not-found', '/no/such/page', 'There is no such page'],
];

/** In the README and the docs. */
const PICTURED: Record<Theme, string[]> = { light: ['overview', 'certificates', 'certificate', 'calendar'], dark: ['overview'] };

let ca: Ca;
let host: Host;

test.beforeAll(async () => {
  ca = await Ca.start();
  const objects = [
    ...inputs(ca),
    issuer('lab-ca', ca),
    issuer('wrong-secret', ca, { secretKey: 'wrong' }),
    certificate('nrf-tls', 'lab-ca', { usages: ['digital signature', 'server auth', 'client auth'], dnsNames: ['nrf.5gc.example', '*.nrf.5gc.example'] }),
    certificate('amf-sbi-client', 'lab-ca', { duration: '5d', renewBefore: '1d' }),
    certificate('smf-tls', 'lab-ca', { duration: '25d', renewBefore: '8d' }),
    certificate('udm-tls', 'lab-ca', { duration: '150d' }),
    certificate('sepp-n32', 'lab-ca', { duration: '300d', privateKey: { algorithm: 'ECDSA', size: 384 } }),
    certificate('ausf-tls', 'lab-ca', { duration: '60d', privateKey: { algorithm: 'Ed25519' } }),
    certificate('watched', 'lab-ca', { duration: '80d', onDrift: 'Alert' }),
    certificate('refused', 'wrong-secret'),
  ];
  host = await Host.start(objects, [
    { name: 'alice', roles: { '*': 'Admin' } },
    { name: 'viewer', roles: { '*': 'View' } },
    { name: 'stranger', roles: { elsewhere: 'View' } },
  ]);
  const outputs = ['nrf-tls', 'amf-sbi-client', 'smf-tls', 'udm-tls', 'sepp-n32', 'ausf-tls', 'watched'];
  await expect.poll(() => outputs.filter((name) => host.read(name, 'tls.crt') === undefined), { timeout: 30_000 }).toEqual([]);
  // Somebody changes an output whose wish says that this is only reported.
  writeFileSync(host.output('watched', 'tls.crt'), 'changed by hand\n');
});

test.afterAll(async () => {
  await host?.stop();
  await ca?.stop();
});

async function open(page: Page, path: string, shows: string | RegExp) {
  await page.goto(host.url + path);
  await settled(page);
  await expect(page.getByText(shows).filter({ visible: true }).first()).toBeVisible();
}

for (const theme of ['light', 'dark'] as Theme[]) {
  test(`every screen in the ${theme} theme is complete and accessible`, async ({ page, watched }) => {
    test.setTimeout(180_000);
    await logIn(page, host.url, 'alice');
    await setTheme(page, theme);
    mkdirSync(IMAGES, { recursive: true });
    for (const [name, path, shows] of SCREENS) {
      await test.step(name, async () => {
        await page.setViewportSize({ width: 1280, height: 800 });
        await open(page, path, shows);
        await accessible(page, `${name}, ${theme}`);
        await uncut(page, name);
        await picture(page, name, theme);
      });
    }
    expect(watched.errors).toEqual([]);
  });
}

/** No screen is wider than its window: nothing is cut off at the right. */
async function uncut(page: Page, name: string) {
  const over = await page.evaluate(() => {
    const main = document.querySelector('#main');
    return Math.max(document.documentElement.scrollWidth - innerWidth, main ? main.scrollWidth - main.clientWidth : 0);
  });
  expect(over, `${name} is wider than the window by`).toBeLessThanOrEqual(0);
}

async function picture(page: Page, name: string, theme: Theme) {
  const wanted = process.env.OCCM_PICTURES ? PICTURED[theme].includes(name) : true;
  if (!wanted) return;
  await page.screenshot({ path: join(IMAGES, `${name}-${theme}.png`) });
  if (process.env.OCCM_PICTURES) return;
  await page.setViewportSize({ width: 1920, height: 1080 });
  await settled(page);
  await page.screenshot({ path: join(IMAGES, `${name}-${theme}-wide.png`) });
}

test('the login refuses a wrong password, and goes where one wanted to go', async ({ page, watched }) => {
  watched.expected.add(401);
  await page.goto(`${host.url}/certificates?state=Ready`);
  await accessible(page, 'the login');
  await field(page, 'User').fill('alice');
  await page.locator('input[type=password]').fill('wrong');
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await expect(page.getByText('Not logged in')).toBeVisible();
  await logIn(page, `${host.url}/`, 'alice');
  await page.getByRole('button', { name: 'alice' }).click();
  await page.getByRole('menuitem', { name: 'Log out' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Log in' })).toBeVisible();
});

test('a page that nobody looks at keeps no session alive', async ({ page }) => {
  await page.clock.install();
  await logIn(page, host.url, 'alice');
  const heads: (string | undefined)[] = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/log-level')) heads.push(request.headers()['x-occm-background']);
  });
  await page.goto(`${host.url}/settings`);
  await expect.poll(() => heads.length).toBeGreaterThan(0);
  expect(heads).not.toContain('1');
  await page.clock.runFor(100_000);
  await expect.poll(() => heads.at(-1)).toBe('1');
  await page.mouse.move(100, 100);
  await page.mouse.move(200, 200);
  await page.clock.runFor(31_000);
  await expect.poll(() => heads.at(-1)).toBeUndefined();
});

test('who may only look is offered nothing that would be refused', async ({ page }) => {
  await logIn(page, host.url, 'viewer');
  await expect(page.getByRole('link', { name: 'New certificate' })).toHaveCount(0);
  await expect(page.getByRole('link', { name: 'Migration' })).toHaveCount(0);
  await open(page, '/certificates/default/nrf-tls', 'Valid until');
  await expect(page.getByRole('button', { name: 'Renew now' })).toHaveAttribute('aria-disabled', 'true');
  await open(page, '/certificates/new', 'No permission');
});

test('who may see another namespace only sees nothing of this one', async ({ page, watched }) => {
  watched.expected.add(404).add(403);
  await logIn(page, host.url, 'stranger');
  await open(page, '/certificates', /No certificates yet|No permission/);
  await page.goto(`${host.url}/certificates/default/nrf-tls`);
  await expect(page.getByText(/Not found|No permission/).first()).toBeVisible();
  expect(await page.content()).not.toContain('nrf.5gc.example');
});

test('while an answer is awaited its place is kept, and a fault is said with a way on', async ({ page, watched }) => {
  watched.expected.add(500);
  await logIn(page, host.url, 'alice');
  let answer = () => {};
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  await page.route('**/api/v1/secrets*', async (route) => {
    await asked;
    await route.fulfill({ status: 500, contentType: 'application/problem+json', body: JSON.stringify({ title: 'Internal error', status: 500, code: 'Internal', detail: 'the store broke', requestId: 'r-1' }) });
  });
  await page.getByRole('link', { name: 'Secrets', exact: true }).click();
  await expect(page.getByRole('status', { name: 'Loading Secrets' })).toBeVisible();
  await accessible(page, 'loading');
  answer();
  await expect(page.getByText('the store broke')).toBeVisible();
  await expect(page.getByText('r-1')).toBeVisible();
  await accessible(page, 'a fault');
  await page.unroute('**/api/v1/secrets*');
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByRole('grid', { name: 'Secrets' })).toBeVisible();
});

test('without objects every list says what would be there', async ({ page }) => {
  const empty = await Host.start([], [{ name: 'alice', roles: { '*': 'Admin' } }]);
  try {
    await logIn(page, empty.url, 'alice');
    for (const [path, shows] of [
      ['/', 'Nothing here yet'],
      ['/certificates', 'No certificates yet'],
      ['/certificates?state=Ready', 'No certificate matches'],
      ['/issuers', 'No Issuers yet'],
      ['/identities', 'No CMP identities'],
      ['/chains', 'No CA certificates'],
      ['/secrets', 'No Secrets'],
    ] as const) {
      await page.goto(empty.url + path);
      await settled(page);
      await expect(page.getByText(shows).first()).toBeVisible();
      await accessible(page, `${path}, empty`);
    }
  } finally {
    // Else the browser would complain about the end of the stream.
    await page.goto('about:blank');
    await empty.stop();
  }
});

test('keys alone are enough: search, rows, screens, help, and a whole wizard', async ({ page }) => {
  await logIn(page, host.url, 'alice');
  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await expect(page.getByRole('grid', { name: 'Certificates' })).toBeVisible();
  await page.keyboard.press('/');
  await page.keyboard.type('tls');
  await expect(page).toHaveURL(/q=tls/);
  await page.keyboard.press('Tab');
  await page.getByRole('heading', { level: 1 }).click();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.keyboard.press('x');
  await expect(page.getByText(', 1 selected')).toBeVisible();
  const row = page.locator('tr[data-row="0"] a').first();
  await expect(row).toBeFocused();
  const name = await row.innerText();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  await page.keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Help' })).toBeVisible();
  await accessible(page, 'help');
  await page.keyboard.press('Escape');

  await page.goto(`${host.url}/certificates/new`);
  await settled(page);
  await tabTo(page, 'Name');
  await page.keyboard.type('by-keys');
  await nextByKeys(page);
  await tabTo(page, 'Issuer');
  await expect(page.getByRole('option', { name: 'Choose an Issuer' })).toBeAttached();
  await page.keyboard.press('ArrowDown');
  await expect(page.getByRole('combobox', { name: 'Issuer' })).not.toHaveValue('');
  await nextByKeys(page);
  await tabTo(page, 'Common name');
  await page.keyboard.type('keys.example');
  await nextByKeys(page);
  await nextByKeys(page);
  await tabTo(page, 'Secret');
  await page.keyboard.type('by-keys');
  await nextByKeys(page);
  await expect(page.getByText('Dry run: the server takes this Certificate')).toBeVisible();
  await tabTo(page, 'Cancel');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'Certificates' })).toBeVisible();
});

/** Goes to the next step of a wizard, and waits until it is there: a key that is pressed too early is lost. */
async function nextByKeys(page: Page) {
  const step = page.locator('[aria-current="step"]');
  const before = await step.innerText();
  await tabTo(page, 'Next');
  await page.keyboard.press('Enter');
  await expect(step).not.toHaveText(before);
}

/** Presses Tab until the focus is on the control of that name. */
async function tabTo(page: Page, name: string) {
  for (let presses = 0; presses < 80; presses++) {
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      if (!(element instanceof HTMLElement)) return '';
      const label = element.id ? document.querySelector(`label[for="${element.id}"] .pf-v6-c-form__label-text`)?.textContent : undefined;
      return label ?? element.getAttribute('aria-label') ?? element.textContent ?? '';
    });
    if (focused.trim() === name) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`the focus never came to ${name}`);
}
