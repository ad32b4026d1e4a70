import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { describeWithChromium } from '../support/chromium.ts';
import { type Host, startWorkbench } from './start-workbench.ts';

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const hosts: Host[] = ['web', 'node'];

describeWithChromium('the harness, held against a mock debugger', () => {
  it.each(hosts)('clicks through a session, %s extension host', async (host) => {
    const workbench = await startWorkbench({
      host,
      workspace: fixture('workspace'),
      extension: fixture('mock-debugger'),
    });
    try {
      await workbench.openFile('programs/program.mock');
      await workbench.setBreakpoint(3);
      await workbench.startDebugging('Mock program');
      expect(await workbench.waitForStoppedLine(3)).toBe(3);
      await workbench.showDebugViews();
      await workbench.expandVariable('Registers');
      expect(await workbench.variables()).toEqual([{ name: 'line', value: '3' }]);
      expect(await workbench.callStack()).toEqual([
        expect.stringMatching(/^inner.*3/),
        expect.stringMatching(/^outer.*1/),
      ]);
      await workbench.waitForViewRow('Mock mode', 'stopped: breakpoint');
      await workbench.clickToolbar('step-over');
      await workbench.waitForStoppedLine(4);
      await workbench.waitForVariable('line', '4');
      expect(await workbench.viewRows('Mock mode')).toEqual(['stopped: step']);
      expect(await workbench.evaluate('where')).toBe('where = 4');
      expect(await workbench.disassembly()).toContainEqual(expect.stringContaining('mock 1'));
      await workbench.runCommand('Mock: Open Panel');
      const panel = await workbench.webview();
      await panel.locator('#text', { hasText: 'panel is alive' }).waitFor();
      await workbench.screenshot(`harness-${host}`);
      await workbench.clickToolbar('continue');
      await workbench.waitForSessionEnd();
    } catch (error) {
      await workbench.screenshot(`harness-${host}-failed`);
      throw error;
    } finally {
      await workbench.close();
    }
  });
});
