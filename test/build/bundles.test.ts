import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, expect, it } from 'vitest';
import { bundleOptions, bundles } from '../../scripts/build.mjs';
import { describeWithChromium, launchChromium } from '../support/chromium.ts';
import { decodeOne } from './fixtures/decode-one.ts';

const fixtures = fileURLToPath(new URL('fixtures/', import.meta.url));
const outputs = mkdtempSync(join(tmpdir(), 'ringside-bundles-'));
afterAll(() => rmSync(outputs, { recursive: true, force: true }));

/** Builds a fixture exactly as the shipped file `like` is built. */
async function bundleLike(like: string, fixture: string): Promise<string> {
  const shipped = bundles.find(({ out }) => out === like);
  if (shipped === undefined) throw new Error(`scripts/build.mjs has no bundle ${like}`);
  const out = join(outputs, `${fixture}.js`);
  await build(bundleOptions({ ...shipped, entry: join(fixtures, `${fixture}.ts`), out }));
  return out;
}

it('the decoder works unbundled', () => {
  expect(decodeOne(new Uint8Array([0x0f, 0x01, 0xc2]))).toBe('vmlaunch');
});

it('a Node bundle of the decoder and the debug adapter library is one file that runs anywhere', async () => {
  const file = await bundleLike('dist/debug-adapter.js', 'node-entry');
  const printed = execFileSync(process.execPath, [file], { encoding: 'utf8', cwd: outputs });
  expect(JSON.parse(printed)).toEqual({ text: 'vmlaunch', session: 'function' });
});

describeWithChromium('a web bundle', () => {
  it('decodes in a web worker, with the debug adapter library beside it', async () => {
    const source = readFileSync(await bundleLike('dist/web/debug-adapter-worker.js', 'worker-entry'), 'utf8');
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      const message = await page.evaluate(async (code) => {
        const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
        return new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = ({ message }) => reject(new Error(message));
        });
      }, source);
      expect(message).toEqual({ text: 'vmlaunch', session: 'function' });
    } finally {
      await browser.close();
    }
  });
});
