/** Pages that watch themselves: nothing in the console, nothing against the policy, nothing inaccessible. */

import AxeBuilder from '@axe-core/playwright';
import { expect, test as base, type Page } from '@playwright/test';
import { passwordOf } from './occm';

export type Theme = 'light' | 'dark';

type Watched = { errors: string[]; /** Answers that a test provokes, by status. */ expected: Set<number> };

declare global {
  interface Window {
    violations: string[];
  }
}

/** A page whose test fails if the browser complained about anything. */
export const test = base.extend<{ watched: Watched }>({
  watched: [
    async ({ page }, use) => {
      const watched: Watched = { errors: [], expected: new Set() };
      await page.addInitScript(() => {
        window.violations = [];
        document.addEventListener('securitypolicyviolation', (event) => {
          window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
          console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
        });
      });
      page.on('pageerror', (error) => watched.errors.push(error.stack ?? error.message));
      page.on('console', (message) => {
        if (!['error', 'warning'].includes(message.type())) return;
        const status = Number(/status of (\d+)/.exec(message.text())?.[1]);
        // A dry run that finds something is an answer, not an error of the page.
        if (status === 422 || status === 400 || watched.expected.has(status)) return;
        watched.errors.push(`${message.type()}: ${message.text()} (${message.location().url})`);
      });
      await use(watched);
      expect(watched.errors, 'what the browser complained about').toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

export async function logIn(page: Page, url: string, user: string) {
  await page.goto(url);
  await field(page, 'User').fill(user);
  await page.locator('input[type=password]').fill(passwordOf(user));
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
}

export async function logInWithToken(page: Page, url: string, token: string) {
  await page.goto(url);
  await page.locator('input[type=password]').fill(token);
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Overview' })).toBeVisible();
}

export async function setTheme(page: Page, theme: Theme) {
  await page.evaluate((value) => localStorage.setItem('occm.theme', value), theme);
  await page.reload();
  await settled(page);
}

/** Nothing is being loaded any more. */
export async function settled(page: Page) {
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.locator('.occm-loading')).toHaveCount(0);
  await page.evaluate(() => document.fonts.ready);
}

/** WCAG 2.0, 2.1 and 2.2, A and AA. */
export async function accessible(page: Page, what: string) {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']).analyze();
  const found = violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(' ')} ${node.failureSummary?.split('\n')[1]?.trim() ?? ''}`));
  expect(found, `what axe finds on ${what}`).toEqual([]);
}

/** Goes on with the wizard. */
export const next = (page: Page) => page.getByRole('button', { name: 'Next' }).click();

/** A field to write in, by its name without the mark of a required one. */
export const field = (page: Page, name: string) => page.getByRole('textbox', { name, exact: true });

/** A field to choose in. */
export const choice = (page: Page, name: string) => page.getByRole('combobox', { name, exact: true });
