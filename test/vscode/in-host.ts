import { join } from 'node:path';
import { build } from 'esbuild';
import type { Page } from 'playwright-core';
import { describe, it } from 'vitest';
import { chromiumPath, describeWithChromium, launchChromium, requireAll } from '../support/chromium.ts';
import { endMark, type Result, resultMark } from './in-host/runner.ts';
import { repository, serve, type WorkbenchOptions } from './start-workbench.ts';

export interface InHostOptions extends Omit<WorkbenchOptions, 'testsPath'> {
  /** Name of the suite: the file test/vscode/in-host/SUITE.ts. */
  suite: string;
}

/** Bundles a suite for its extension host; returns the file that VS Code loads. */
async function bundleSuite({ suite, host }: InHostOptions): Promise<string> {
  const outfile = join(repository, 'out/in-host', host, `${suite}.js`);
  await build({
    stdin: {
      contents: `import './${suite}.ts'; export { run } from './runner.ts';`,
      resolveDir: join(repository, 'test/vscode/in-host'),
    },
    outfile,
    bundle: true,
    format: 'cjs',
    platform: host === 'web' ? 'browser' : 'node',
    target: 'node20',
    external: ['vscode'],
    logLevel: 'warning',
  });
  return outfile;
}

/** Reads the results that the extension host prints, until it says that it is done or ends. */
async function collect(page: Page, url: string): Promise<Result[]> {
  const results: Result[] = [];
  const log: string[] = [];
  const done = new Promise<void>((fulfil, reject) => {
    const seen = (text: string) => {
      log.push(text);
      if (text.includes(endMark)) fulfil();
      const at = text.indexOf(resultMark);
      if (at >= 0) results.push(JSON.parse(text.slice(at + resultMark.length)));
    };
    page.on('console', (message) => seen(message.text()));
    page.exposeFunction('codeAutomationLog', () => undefined);
    page.exposeFunction('codeAutomationExit', (code: number) =>
      reject(new Error(`the extension host ended with ${code} before its tests did:\n${log.slice(-40).join('\n')}`)),
    );
    setTimeout(
      () => reject(new Error(`the in-host tests did not end:\n${log.slice(-40).join('\n')}`)),
      150_000,
    ).unref();
  });
  await page.goto(url);
  await done;
  return results;
}

/** Runs a suite inside VS Code and returns what each of its tests came to. */
export async function runInHost(options: InHostOptions): Promise<Result[]> {
  const served = await serve({ ...options, testsPath: await bundleSuite(options) });
  try {
    const browser = await launchChromium();
    try {
      return await collect(await browser.newPage({ viewport: { width: 1600, height: 1000 } }), served.url);
    } finally {
      await browser.close();
    }
  } finally {
    await served.close();
  }
}

/**
 * Declares a suite of in-host tests as tests of the file that calls it, at its top level: await it. Without Chromium
 * the suite is skipped, saying so.
 */
export async function describeInHost(options: InHostOptions): Promise<void> {
  const name = `${options.suite}, inside the ${options.host} extension host`;
  if (chromiumPath === undefined && !requireAll) {
    describeWithChromium(name, () => it('is run by VS Code', () => undefined));
    return;
  }
  const results = await runInHost(options);
  describe(name, () => {
    for (const { name, error } of results) {
      it(name, () => {
        if (error !== undefined) throw new Error(error);
      });
    }
    it('has tests', ({ expect }) => expect(results).not.toEqual([]));
  });
}
