/** The chart as it is installed: people log in to its manager with a token of the cluster, and with an OpenID Connect provider. */

import { expect, logInWithToken, test } from './support/browser';
import { Program } from './support/process';
import { NAMESPACE, Release, type Chosen } from './support/release';
import type { Page } from '@playwright/test';

const CLIENT_SECRET = 'the-secret-of-the-client';
const BANNER = 'For authorised people only.';

// The first start makes a certificate for itself.
test.use({ ignoreHTTPSErrors: true });

let release: Release;

test.beforeAll(async () => {
  test.setTimeout(240_000);
  const missing = Release.missing();
  test.skip(missing !== undefined, missing ?? '');
  release = await Release.start('chart', withProvider);
});

test.afterAll(async () => {
  await release?.stop();
});

test('with a token of the cluster a viewer looks and writes nothing', async ({ page }) => {
  await page.goto(release.url);
  await expect(page.getByText(BANNER)).toBeVisible();
  await logInWithToken(page, release.url, release.token('vera'));
  const [cookie] = await page.context().cookies();
  expect(cookie).toMatchObject({ name: '__Host-occm', httpOnly: true, secure: true, sameSite: 'Strict' });
  await page.getByRole('link', { name: 'Certificates', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Certificates' })).toBeVisible();
  await expect(page.getByRole('link', { name: 'New certificate' })).toHaveCount(0);
});

test('with the provider a person of a group works', async ({ page }) => {
  await signIn(page, 'otto:operators');
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
  await page.getByRole('link', { name: 'Certificates', exact: true }).click();
  await expect(page.getByRole('link', { name: 'New certificate' }).first()).toBeVisible();
});

test('with the provider a person without rights sees nothing', async ({ page }) => {
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

/** With an OpenID Connect provider of its own, a viewer by token and a group that may edit. */
async function withProvider(url: string): Promise<Chosen> {
  const provider = Program.start('node', ['tests/support/provider.mjs', 'occm', CLIENT_SECRET, `${url}/api/v1/oidc/callback`]);
  const [, issuer = ''] = await provider.says(/provider (http:\/\/\S+)/);
  return {
    values: {
      api: { enabled: true, banner: BANNER, externalUrl: url, oidc: { issuer, clientId: 'occm', clientSecretName: 'oidc-client', name: 'Lab' } },
      roles: { view: [{ kind: 'ServiceAccount', name: 'vera', namespace: NAMESPACE }], edit: [{ kind: 'Group', name: 'oidc:operators' }] },
    },
    prepare: (release) => {
      release.kubectl(`create secret generic oidc-client --from-literal=client-secret=${CLIENT_SECRET}`);
      release.kubectl('create serviceaccount vera');
    },
    beside: [provider],
  };
}
