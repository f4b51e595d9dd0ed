import { defineConfig } from '@playwright/test';

/**
 * The console in a real Chromium, against the real binary (`OCCM_BIN`). No browser is downloaded: `OCCM_CHROMIUM`
 * names one. `cargo xtask test --only console-e2e` sets all that is needed.
 */
export default defineConfig({
  testDir: 'tests',
  outputDir: 'node_modules/.cache/e2e',
  workers: 2,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  timeout: 180_000,
  expect: { timeout: 30_000 },
  reporter: [['./tests/support/playwright-lines.ts']],
  use: {
    browserName: 'chromium',
    viewport: { width: 1280, height: 800 },
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    actionTimeout: 30_000,
    screenshot: 'only-on-failure',
    trace: process.env.OCCM_TRACE ? 'on' : 'off',
    launchOptions: {
      executablePath: process.env.OCCM_CHROMIUM ?? '/usr/bin/chromium',
      // Nothing leaves this machine, and root may start it.
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    },
  },
});
