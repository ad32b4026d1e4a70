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

  it.each(hosts)('steps into a guest and over its VM exit, %s extension host', (host) =>
    withWorkbench(host, 'vmx', async (workbench) => {
      const { page } = workbench;
      const file = 'tiny-hypervisor/tiny-hypervisor.asm';
      const launch = lineOf(file, 'STEP INTO: VMX root → non-root');
      const handler = lineOf(file, 'STOP HERE: every VM exit comes through here');
      await workbench.openFile(file);
      await workbench.setBreakpoint(launch);
      await workbench.startDebugging('tiny-hypervisor: a hypervisor and its guest');
      await workbench.waitForStoppedLine();
      await workbench.clickToolbar('continue');
      await workbench.waitForStoppedLine(launch);
      await workbench.clickToolbar('step-into');
      await workbench.waitForStoppedLine(lineOf(file, 'guest_code:') + 1);
      await workbench.showDebugViews();
      for (const title of ['Variables', 'Watch', 'Call Stack', 'Breakpoints']) await workbench.collapseView(title);
      await workbench.waitForViewRow('CPU Mode', 'non-root (the guest of a hypervisor)');
      await workbench.runCommand('Ringside: Translate Address…');
      await page.locator('.quick-input-widget input').first().fill('rip');
      await page.keyboard.press('Enter');
      const panel = await workbench.webview();
      await panel.locator('.stage', { hasText: 'Host-physical' }).waitFor();
      expect(await panel.locator('.walk tbody.EPT').count()).toBeGreaterThan(1);
      await workbench.collapseView('CPU Mode');
      await workbench.expandViewRow('Page Tables', 'EPT');
      await workbench.waitForViewRow('Page Tables', 'R W X');
      await workbench.screenshot(`nested-walk-${host}`);
      await workbench.collapseView('Page Tables');
      await workbench.openFile(file);
      await workbench.setBreakpoint(handler);
      await workbench.showDebugViews();
      await workbench.clickToolbar('continue');
      await workbench.waitForStoppedLine(handler);
      await workbench.waitForViewRow('CPU Mode', 'root (the hypervisor)');
      await workbench.collapseView('CPU Mode');
      await workbench.expandViewRow('VMCS', 'VM-Exit Information');
      expect(await workbench.waitForViewRow('VMCS', 'Exit reason')).toContain('changed');
      const field = page.locator('.monaco-list-row', { hasText: 'I/O RCX' }).first();
      await field.hover();
      await field.locator('.codicon-edit').click();
      await page.locator('.quick-input-widget input').first().fill('not_a_number');
      await page.keyboard.press('Enter');
      await page.locator('.notification-list-item-message', { hasText: 'not_a_number' }).waitFor();
      await workbench.expandViewRow('VMCS', 'VM-Entry Control');
      const length = page.locator('.monaco-list-row', { hasText: 'VM-entry instruction length' }).first();
      await length.hover();
      await length.locator('.codicon-edit').click();
      await page.locator('.quick-input-widget input').first().fill('1 + 2');
      await page.keyboard.press('Enter');
      await workbench.waitForViewRow('VMCS', /VM-entry instruction length\s*0x3/);
    }),
  );

  it.each(hosts)('explains a VM exit at the stop, in another file than the one before, %s extension host', (host) =>
    withWorkbench(host, 'explanation', async (workbench) => {
      await workbench.showDebugViews();
      await workbench.startDebugging('tiny-hypervisor: a hypervisor and its guest');
      await workbench.waitForStoppedLine();
      await workbench.checkFilter('VM exit');
      await workbench.clickToolbar('continue');
      await workbench.waitForExplanation('CPUID');
    }),
  );

  it.each(hosts)('goes back in time, %s extension host', (host) =>
    withWorkbench(host, 'time-travel', async (workbench) => {
      const file = 'paging/paging.asm';
      const line = lineOf(file, 'STOP HERE: the TLB view marks the entry as stale');
      await workbench.openFile(file);
      await workbench.setBreakpoint(line);
      await workbench.startDebugging('paging: page sizes and a stale TLB entry');
      const first = await workbench.waitForStoppedLine();
      await workbench.clickToolbar('continue');
      await workbench.waitForStoppedLine(line);
      await workbench.clickToolbar('step-back');
      await workbench.waitForStoppedLine(line - 1);
      await workbench.clickToolbar('continue');
      await workbench.waitForStoppedLine(line);
      await workbench.screenshot(`reverse-${host}`);
      await workbench.clickToolbar('reverse-continue');
      await workbench.waitForStoppedLine(first);
    }),
  );

  it.each(hosts)('shows the chain in flight of a virtqueue, %s extension host', (host) =>
    withWorkbench(host, 'virtqueues', async (workbench) => {
      const file = 'virtio-block/virtio-block.asm';
      const line = lineOf(file, 'STOP HERE: the Virtqueues view has a chain in flight');
      await workbench.openFile(file);
      await workbench.setBreakpoint(line);
      await workbench.startDebugging('virtio-block: a disk driver, virtualized');
      await workbench.waitForStoppedLine();
      await workbench.clickToolbar('continue');
      await workbench.waitForStoppedLine(line);
      await workbench.showDebugViews();
      for (const title of ['Variables', 'Watch', 'Call Stack', 'Breakpoints', 'CPU Mode'])
        await workbench.collapseView(title);
      await workbench.expandViewRow('Virtqueues', 'Chain at');
      await workbench.waitForViewRow('Virtqueues', 'device reads');
      await workbench.waitForViewRow('Virtqueues', 'device writes');
    }),
  );
});
