/** The whole main job through the console, as a person does it; the outputs are judged by OpenSSL. */

import { stringify } from 'yaml';
import { accessible, choice, expect, field, next, test } from './support/browser';
import { belongTogether, Ca, issuer, REFERENCE, SECRET, serialOf, subjectOf } from './support/occm';
import { OnDirectory, OnKubernetes, type Place } from './support/place';
import { Release } from './support/release';
import type { Page } from '@playwright/test';

const NAME = 'nrf-tls';

// The chart's first start makes a certificate for itself.
test.use({ ignoreHTTPSErrors: true });

for (const kind of ['a directory', 'Kubernetes'] as const) {
  test.describe(`on ${kind}`, () => {
    let ca: Ca;
    let place: Place;

    test.beforeAll(async () => {
      test.setTimeout(240_000);
      const missing = kind === 'Kubernetes' ? Release.missing() : undefined;
      test.skip(missing !== undefined, missing ?? '');
      ca = await Ca.start();
      place = kind === 'Kubernetes' ? await OnKubernetes.start() : await OnDirectory.start();
    });

    test.afterAll(async () => {
      await place?.stop();
      await ca?.stop();
    });

    test('from an Issuer to a certificate that is repaired, recreated, migrated and deleted', async ({ page, watched }) => {
      // In a cluster a status that is written between two looks makes a new version; the request is sent once more.
      watched.expected.add(412);
      await place.logIn(page);
      await makeIssuer(page, ca);
      await refusedIssuer(page, ca);
      await makeCertificate(page);
      const first = await issued(page, place);

      await page.getByRole('tab', { name: 'Chain' }).click();
      await expect(page.getByText('Valid', { exact: true })).toBeVisible();

      // Somebody deletes the Secret: the same bytes are back, and the console says so.
      const key = place.read(NAME, 'tls.key');
      place.deleteSecret(NAME);
      await expect.poll(() => place.read(NAME, 'tls.crt')).toBe(first);
      expect(place.read(NAME, 'tls.key')).toBe(key);
      await page.getByRole('tab', { name: 'Events' }).click();
      await expect(page.getByRole('grid', { name: 'Events' }).getByText('Restored').first()).toBeVisible();

      await page.getByRole('tab', { name: 'Overview' }).click();
      await recreate(page);
      await expect.poll(() => place.read(NAME, 'tls.crt')).not.toBe(first);
      const second = place.read(NAME, 'tls.crt') ?? '';
      expect(belongTogether(place.read(NAME, 'tls.key') ?? '', second)).toBe(true);
      expect(place.read(NAME, 'tls.key')).not.toBe(key);
      await expect(page.getByText(serialOf(second), { exact: true }).first()).toBeVisible();

      await migrate(page, ca, place);
      await expect.poll(() => serialOf(place.read(NAME, 'tls.crt') ?? second)).not.toBe(serialOf(second));

      await remove(page);
      await expect(page.getByText('No certificates yet')).toBeVisible();
      // `onDelete: Keep` is the default: the workload keeps what it has.
      expect(place.read(NAME, 'tls.crt')).toBeTruthy();

      await takeOver(page, place);
    });
  });
}

async function makeIssuer(page: Page, ca: Ca) {
  await page.getByRole('link', { name: 'Issuers', exact: true }).click();
  await page.getByRole('link', { name: 'New Issuer' }).first().click();
  await describeIssuer(page, ca, 'lab-ca');
  await expect(page.getByText('Dry run: the server takes this Issuer')).toBeVisible();
  // Typed once, shown nowhere.
  expect(await page.content()).not.toContain(SECRET);
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'lab-ca' })).toBeVisible();
  await expect(page.locator('.occm-headline').getByText('Ready', { exact: true })).toBeVisible();
  await expect(page.getByText('CN=occm.lab.example', { exact: true })).toBeVisible();
  await page.getByRole('button', { name: 'Test connection' }).click();
  await expect(page.getByText('The CA answers')).toBeVisible();
}

/** The same inputs typed in for another Issuer: they are somebody's already. */
async function refusedIssuer(page: Page, ca: Ca) {
  await page.getByRole('link', { name: 'Issuers', exact: true }).first().click();
  await page.getByRole('link', { name: 'New Issuer' }).first().click();
  await describeIssuer(page, ca, 'other-ca');
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await expect(page.getByText(/lab-ca-mac exists already/)).toBeVisible();
}

async function describeIssuer(page: Page, ca: Ca, name: string) {
  await field(page, 'Name').fill(name);
  await field(page, 'Address of the CMP endpoint').fill(ca.url);
  await next(page);
  await field(page, 'Reference value').fill(REFERENCE);
  await field(page, 'Secret').fill('lab-ca-mac');
  await page.getByLabel('The shared secret').fill(SECRET);
  await next(page);
  await field(page, 'Common name').fill('occm.lab.example');
  await next(page);
  await field(page, 'ConfigMap').fill('lab-ca-trust');
  await field(page, 'Key in it').fill('ca.pem');
  await field(page, 'CA certificates').fill(ca.root);
  await next(page);
  await next(page);
}

async function makeCertificate(page: Page) {
  await page.getByRole('link', { name: 'Certificates', exact: true }).click();
  await page.getByRole('link', { name: 'New certificate' }).first().click();
  const name = field(page, 'Name');
  await name.fill('Not A Name');
  await name.blur();
  await expect(page.getByText(/allowed:/).first()).toBeVisible();
  await name.fill(NAME);
  await next(page);
  await choice(page, 'Issuer').selectOption({ index: 1 });
  await next(page);
  await field(page, 'Common name').fill('nrf.5gc.example');
  await field(page, 'DNS names').fill('nrf.5gc.example\nbad name');
  await field(page, 'DNS names').blur();
  await expect(page.getByText('[1]', { exact: true })).toBeVisible();
  await field(page, 'DNS names').fill('nrf.5gc.example\n*.nrf.5gc.example');
  await next(page);
  await field(page, 'Life').fill('80d');
  await field(page, 'Renew before its end').fill('30d');
  await next(page);
  await field(page, 'Secret').fill(NAME);
  await next(page);
  await expect(page.getByText('Dry run: the server takes this Certificate')).toBeVisible();
  await expect(page.getByRole('region', { name: 'YAML', exact: true })).toContainText('secretName: nrf-tls');
  await page.getByRole('tab', { name: 'curl' }).click();
  await expect(page.getByRole('region', { name: 'curl command' })).toContainText('curl -sS -X POST');
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: NAME })).toBeVisible();
}

/** Waits for the first certificate and looks at it. */
async function issued(page: Page, place: Place): Promise<string> {
  await expect(page.locator('.occm-headline').getByText('Ready', { exact: true })).toBeVisible();
  const pem = place.read(NAME, 'tls.crt') ?? '';
  expect(subjectOf(pem)).toBe('subject=CN=nrf.5gc.example');
  expect(belongTogether(place.read(NAME, 'tls.key') ?? '', pem)).toBe(true);
  await expect(page.getByText(serialOf(pem), { exact: true }).first()).toBeVisible();
  await expect(page.getByText('≤ 90 days')).toBeVisible();
  return pem;
}

async function recreate(page: Page) {
  await page.getByRole('button', { name: 'More actions' }).click();
  await page.getByRole('menuitem', { name: 'Recreate with a new key' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'As YAML, as curl' }).click();
  await expect(dialog.getByRole('region', { name: 'YAML', exact: true })).toContainText('occm.dev/recreate');
  await accessible(page, 'the dialog');
  await dialog.getByRole('button', { name: 'Recreate', exact: true }).click();
  await expect(dialog).toBeHidden();
}

async function migrate(page: Page, ca: Ca, place: Place) {
  await page.getByRole('link', { name: 'Issuers', exact: true }).click();
  await page.getByRole('link', { name: 'New Issuer' }).first().click();
  await page.getByRole('button', { name: 'YAML', exact: true }).click();
  const other = issuer('new-ca', ca) as unknown as { metadata: object; spec: { authentication: { initial: object }; trust: object } };
  other.metadata = { name: 'new-ca', namespace: place.namespace };
  other.spec.authentication.initial = { mac: { referenceValue: REFERENCE, secretRef: { name: 'lab-ca-mac', key: 'secret' } } };
  other.spec.trust = { responses: { configMapRef: { name: 'lab-ca-trust', key: 'ca.pem' } } };
  await page.getByLabel('YAML', { exact: true }).fill(stringify(other));
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await expect(page.locator('.occm-headline').getByText('Ready', { exact: true })).toBeVisible();

  await page.getByRole('link', { name: 'Certificates', exact: true }).click();
  await page.getByRole('link', { name: NAME, exact: true }).click();
  await page.getByRole('button', { name: 'Edit', exact: true }).click();
  await next(page);
  await choice(page, 'Issuer').selectOption(`${place.namespace}/new-ca`);
  for (let step = 0; step < 4; step++) await next(page);
  await expect(page.getByText('Dry run: the server takes this Certificate')).toBeVisible();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(page.getByRole('link', { name: `${place.namespace}/new-ca` })).toBeVisible();
  await expect(page.locator('.occm-headline').getByText('Ready', { exact: true })).toBeVisible();
}

async function remove(page: Page) {
  await page.getByRole('button', { name: 'More actions' }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('button', { name: 'Delete' })).toBeDisabled();
  await dialog.getByLabel(`Type ${NAME} to go on`).fill(NAME);
  await dialog.getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Certificates' })).toBeVisible();
}

/** A Secret that somebody else made is taken over as it is. */
async function takeOver(page: Page, place: Place) {
  const [key, certificate] = [place.read(NAME, 'tls.key') ?? '', place.read(NAME, 'tls.crt') ?? ''];
  place.createSecret('legacy', key, certificate);
  await page.getByRole('link', { name: 'Migration', exact: true }).click();
  const candidates = page.getByRole('grid', { name: 'Secrets with certificates' });
  await candidates.getByRole('checkbox', { name: 'Select legacy' }).check();
  await accessible(page, 'Secrets that can be taken over');
  await choice(page, 'Renew from').selectOption(`${place.namespace}/new-ca`);
  await page.getByRole('button', { name: 'Dry run', exact: true }).click();
  const results = page.getByRole('grid', { name: 'Results' });
  await expect(results).toContainText('legacy');
  await page.getByRole('button', { name: 'Take over 1', exact: true }).click();
  await expect(page.getByText('Done. What happens next is in each Certificate.')).toBeVisible();
  await accessible(page, 'Secrets that were taken over');
  await page.getByRole('button', { name: 'Look for more Secrets' }).click();
  await expect(page.getByText('Nothing to take over')).toBeVisible();
  await page.goto(`${place.url}/certificates/${place.namespace}/legacy`);
  await expect(page.locator('.occm-headline').getByText('Ready', { exact: true })).toBeVisible();
  await expect(page.getByText(serialOf(certificate), { exact: true }).first()).toBeVisible();
  expect(place.read('legacy', 'tls.crt')).toBe(certificate);
  expect(place.read('legacy', 'tls.key')).toBe(key);
}
