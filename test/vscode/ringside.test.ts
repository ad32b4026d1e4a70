/** Ringside as a person uses it: clicks in a real window. The bulk of the views' tests runs inside the hosts. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { describeWithChromium } from '../support/chromium.ts';
import { type Host, startWorkbench } from './start-workbench.ts';
import type { Workbench } from './workbench.ts';

const samples = fileURLToPath(new URL('../../samples', import.meta.url));
const hosts: Host[] = ['web', 'node'];

/** The line (from 1) that a sample marks with `marker`. */
function lineOf(path: string, marker: string): number {
  const lines = readFileSync(`${samples}/${path}`, 'utf8').split('\n');
  const at = lines.findIndex((text) => text.includes(marker));
  if (at < 0) throw new Error(`expected a line with "${marker}" in ${path}`);
  return at + 1;
}

async function withWorkbench(host: Host, name: string, body: (workbench: Workbench) => Promise<void>): Promise<void> {
  const workbench = await startWorkbench({ host, workspace: samples });
  try {
    await body(workbench);
    await workbench.screenshot(`${name}-${host}`);
  } catch (error) {
    await workbench.screenshot(`${name}-${host}-failed`);
    throw error;
  } finally {
    await workbench.close();
  }
}

describeWithChromium('Ringside in a window', () => {
  it.each(hosts)('shows a stale TLB entry and the walk of an address, %s extension host', (host) =>
    withWorkbench(host, 'paging', async (workbench) => {
      const { page } = workbench;
      const file = 'paging/paging.asm';
      const line = lineOf(file, 'STOP HERE: the TLB view marks the entry as stale');
      await workbench.openFile(file);
      await workbench.setBreakpoint(line);
      await workbench.startDebugging('paging: page sizes and a stale TLB entry');
      await workbench.waitForStoppedLine();
      await workbench.clickToolbar('continue');
      expect(await workbench.waitForStoppedLine(line)).toBe(line);
      await workbench.showDebugViews();
      expect(await workbench.waitForViewRow('CPU Mode', 'Ring')).toMatch(/^Ring ?0 \(kernel\)$/);
      await page
        .locator('.statusbar-item[id="ringside.ringside.ringside.mode"], .statusbar-item', { hasText: 'ring 0' })
        .first()
        .waitFor();
      await workbench.collapseView('Variables');
      await workbench.collapseView('Watch');
      await workbench.collapseView('CPU Mode');
      expect(await workbench.waitForViewRow('TLB', '0x0000008000000000')).toContain(
        'stale: the tables now map the page',
      );

      await workbench.runCommand('Ringside: Translate Address…');
      await page.locator('.quick-input-widget input').first().fill('0x8000000000');
      await page.keyboard.press('Enter');
      const panel = await workbench.webview();
      await panel.locator('.stage .address', { hasText: '0x0000008000000000' }).waitFor();
      await panel.locator('.warning', { hasText: 'The CPU uses a stale TLB entry instead' }).waitFor();
      expect(await panel.locator('.walk tbody tr:not(.heading) th').allInnerTexts()).toEqual([
        'PML4E 1',
        'PDPTE 0',
        'PDE 0',
        'PTE 0',
      ]);
      await workbench.screenshot(`translation-${host}`);
      await panel.locator('#expression').fill('0x123456789000');
      await panel.locator('#expression').press('Enter');
      await panel.locator('tr.fault', { hasText: 'faults here' }).waitFor();
      await panel.locator('.stage.fault', { hasText: 'is not present' }).waitFor();
    }),
  );
});
