import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';
import { describe } from 'vitest';

const usualPlaces = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const { CHROMIUM_PATH } = process.env;

/** Where a Chromium is installed, or undefined. Set, CHROMIUM_PATH is the only place looked at. */
export const chromiumPath = (CHROMIUM_PATH === undefined ? usualPlaces : [CHROMIUM_PATH]).find((path) =>
  existsSync(path),
);

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

/** True where nothing may be skipped: continuous integration sets RINGSIDE_REQUIRE_ALL=1. */
export const requireAll = process.env.RINGSIDE_REQUIRE_ALL === '1';

export function launchChromium(): Promise<Browser> {
  if (chromiumPath === undefined) {
    throw new Error('expected a Chromium (for example Debian’s package "chromium"), found none; or set CHROMIUM_PATH');
  }
  return chromium.launch({ executablePath: chromiumPath, headless: true, args: flags });
}

/** `describe` for tests that need a browser: skipped, saying so, where there is none and RINGSIDE_REQUIRE_ALL is unset. */
export function describeWithChromium(name: string, body: () => void): void {
  if (chromiumPath !== undefined || requireAll) {
    describe(name, body);
    return;
  }
  console.warn(`skipped: ${name} (no Chromium found; install one or set CHROMIUM_PATH)`);
  describe.skip(`${name} (needs Chromium)`, body);
}
