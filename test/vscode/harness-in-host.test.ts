import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { describeWithChromium } from '../support/chromium.ts';
import { runInHost } from './in-host.ts';
import type { Host } from './start-workbench.ts';

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const hosts: Host[] = ['web', 'node'];

describeWithChromium('in-host tests of the harness itself', () => {
  it.each(hosts)('pass, fail and say why, inside the %s extension host', async (host) => {
    const options = { suite: 'harness', host, workspace: fixture('workspace'), extension: fixture('mock-debugger') };
    const results = await runInHost(options);
    expect(results.map(({ name, error }) => [name, error?.split('\n')[0]])).toEqual([
      ['the mock debugger is installed and the workspace is open', undefined],
      ['a session starts, stops and ends', undefined],
      ['this one fails, to prove that a failure is seen', 'Error: one and two: expected 2, found 1'],
    ]);
  });
});
