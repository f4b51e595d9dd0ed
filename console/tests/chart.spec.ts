/** The chart as it is installed: people log in to its manager with a token of the cluster, and with an OpenID Connect provider. */

import { expect, test } from './support/browser';
import { OnKubernetes } from './support/place';
import { BANNER, Release } from './support/release';
import type { Page } from '@playwright/test';

// The first start makes a certificate for itself.
test.use({ ignoreHTTPSErrors: true });

let release: Release;

test.beforeAll(async () => {
  test.setTimeout(120_000);
  const missing = OnKubernetes.missing();
  test.skip(missing !== undefined, missing ?? '');
  release = await Release.start();
});

test.afterAll(async () => {
  await release?.stop();
});

test('with a token of the cluster a viewer looks and writes nothing', async ({ page }) => {
  await page.goto(release.url);
  await expect(page.getByText(BANNER)).toBeVisible();
  await page.locator('input[type=password]').fill(release.token('vera'));
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
  const [cookie] = await page.context().cookies();
  expect(cookie).toMatchObject({ name: '__Host-occm', httpOnly: true, secure: true, sameSite: 'Strict' });
  await page.getByRole('link', { name: 'Certificates', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Certificates' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'New certificate' })).toHaveCount(0);
});

test('with the provider a person of a group works, and one without rights sees nothing', async ({ page }) => {
  await signIn(page, 'otto:operators');
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
  await page.getByRole('link', { name: 'Certificates', exact: true }).click();
  await expect(page.getByRole('link', { name: 'New certificate' }).first()).toBeVisible();

  await page.context().clearCookies();
  await signIn(page, 'nina');
  const session = await page.request.get(`${release.url}/api/v1/session`);
  expect(await session.json()).toMatchObject({ user: 'oidc:nina', kind: 'Oidc', namespaces: [] });
});

async function signIn(page: Page, user: string) {
  await page.goto(release.url);
  await page.getByRole('link', { name: 'Log in with Lab' }).click();
  await page.getByLabel('Who are you?').fill(user);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(`${release.url}/`);
}
