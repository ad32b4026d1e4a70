/** Stepping and running backwards, as a client asks for it. */
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Client, lineOf, type StoppedBody } from './client.ts';
import { boot, forever } from './programs.ts';

const BOOT = '/work/boot.asm';
const samples = resolve(import.meta.dirname, '../../samples');
const at = (marker: string): number => lineOf(boot, marker);

async function started(options: Record<string, unknown> = {}): Promise<Client> {
  const dap = new Client({ [BOOT]: boot, '/work/forever.asm': forever });
  await dap.launchStopped({ program: BOOT, ...options });
  return dap;
}

async function stepBack(dap: Client, granularity?: 'instruction' | 'line'): Promise<StoppedBody> {
  await dap.request('stepBack', { threadId: 1, ...(granularity ? { granularity } : {}) });
  return dap.stopped();
}
async function reverse(dap: Client): Promise<StoppedBody> {
  await dap.request('reverseContinue', { threadId: 1 });
  return dap.stopped();
}
const line = async (dap: Client): Promise<number> => (await dap.top()).line;

describe('step back', () => {
  it('undoes steps by instruction, and says when the beginning is reached', async () => {
    const dap = await started();
    const seen = [];
    for (let step = 0; step < 20; step++) {
      seen.push(`${await dap.where()} ax=${await dap.evaluate('ax')} sp=${await dap.evaluate('sp')}`);
      await dap.stepIn('instruction');
    }
    for (const expected of seen.reverse()) {
      expect(await stepBack(dap, 'instruction')).toMatchObject({ reason: 'step', threadId: 1 });
      expect(`${await dap.where()} ax=${await dap.evaluate('ax')} sp=${await dap.evaluate('sp')}`).toBe(expected);
    }
    const end = await stepBack(dap, 'instruction');
    expect(end).toMatchObject({ reason: 'entry', description: 'Paused at the beginning of the history' });
    expect(await line(dap)).toBe(at('; entry'));
  });

  it('passes over a call by line, and leaves a function to the line that called it', async () => {
    const dap = await started();
    await dap.setBreakpoints(BOOT, { line: at('; the loop') });
    await dap.continue();
    await stepBack(dap);
    expect(await line(dap)).toBe(at('; the call'));
    await dap.continue();
    expect(await line(dap)).toBe(at('; the loop'));
    await dap.setBreakpoints(BOOT);
    await stepBack(dap);
    expect(await line(dap)).toBe(at('; the call'));
    await dap.stepIn();
    expect(await line(dap)).toBe(at('; in add_two'));
    await dap.next();
    await stepBack(dap);
    expect(await line(dap)).toBe(at('; in add_two'));
    await stepBack(dap);
    expect(await line(dap)).toBe(at('; the call'));
  });

  it('shows memory and output as they were, and prints nothing twice', async () => {
    const dap = await started();
    await dap.setBreakpoints(BOOT, { line: at('; the end') });
    await dap.continue();
    expect(dap.console('stdout')).toBe('Hello\n');
    expect(await dap.evaluate('word[counter],d')).toBe('6');
    await dap.setBreakpoints(BOOT, { line: at('; the store') });
    expect(await reverse(dap)).toMatchObject({ reason: 'breakpoint' });
    expect(await dap.evaluate('word[counter],d')).toBe('4');
    await dap.setBreakpoints(BOOT, { line: at('; the end') });
    await dap.continue();
    expect(dap.console('stdout')).toBe('Hello\n');
  });

  it('goes back by lines of C, over what they call', async () => {
    const dap = new Client();
    await dap.launchStopped({ program: `${samples}/c-program/c-program.elf` });
    await dap.request('setFunctionBreakpoints', { breakpoints: [{ name: 'schedule' }] });
    await dap.continue();
    await dap.request('setFunctionBreakpoints', { breakpoints: [] });
    const visited = [];
    for (let step = 0; step < 5; step++) {
      visited.push(await dap.where());
      await dap.next();
    }
    const back = [];
    for (let step = 0; step < 5; step++) {
      await stepBack(dap);
      back.push(await dap.where());
    }
    expect(back).toEqual(visited.reverse());
  });
});

describe('reverse', () => {
  it('stops at breakpoints whose conditions hold, without counting or logging', async () => {
    const dap = await started();
    await dap.setBreakpoints(
      BOOT,
      { line: at('; the store'), condition: 'ax == 4' },
      { line: at('; the call'), logMessage: 'called' },
    );
    await dap.continue();
    expect(await dap.evaluate('ax,d')).toBe('4');
    await dap.setBreakpoints(BOOT, { line: at('; the end') });
    await dap.continue();
    const logged = dap.console('console');
    await dap.setBreakpoints(
      BOOT,
      { line: at('; the store'), condition: 'ax == 4' },
      { line: at('; the call'), logMessage: 'called' },
    );
    expect(await reverse(dap)).toMatchObject({ reason: 'breakpoint' });
    expect([await line(dap), await dap.evaluate('ax,d')]).toEqual([at('; the store'), '4']);
    expect(dap.console('console')).toBe(logged);
    expect(await reverse(dap)).toMatchObject({ description: 'Paused at the beginning of the history' });
    expect(await line(dap)).toBe(at('; entry'));
  });

  it('finds who wrote a variable last', async () => {
    const dap = await started();
    await dap.setBreakpoints(BOOT, { line: at('; the interrupt') });
    await dap.continue();
    const info = await dap.request('dataBreakpointInfo', { name: 'counter', bytes: 2, asAddress: false });
    await dap.request('setDataBreakpoints', { breakpoints: [{ dataId: info.dataId as string, accessType: 'write' }] });
    expect(await reverse(dap)).toMatchObject({ reason: 'data breakpoint' });
    expect(await line(dap)).toBe(at('; the return'));
    expect(await dap.evaluate('word[counter],d')).toBe('6');
    await stepBack(dap, 'instruction');
    expect([await line(dap), await dap.evaluate('word[counter],d')]).toEqual([at('; the store'), '4']);
  });

  it('goes back through the VM exits of a guest, with their explanations', async () => {
    const dap = new Client();
    await dap.launch({ program: `${samples}/tiny-hypervisor/tiny-hypervisor.asm` });
    await dap.request('setExceptionBreakpoints', { filters: ['vm-exit'] });
    await dap.request('configurationDone');
    const forth = [];
    for (let exit = 0; exit < 5; exit++) {
      const { text } = exit === 0 ? await dap.stopped() : await dap.continue();
      forth.push(`${text} ${await dap.evaluate('vmcs.guest_rip')}`);
    }
    for (const expected of forth.slice(0, -1).reverse()) {
      const { reason, text } = await reverse(dap);
      expect(reason).toBe('exception');
      expect(`${text} ${await dap.evaluate('vmcs.guest_rip')}`).toBe(expected);
    }
  });

  it('can be paused, and is then where it began', async () => {
    const dap = await started({ program: '/work/forever.asm' });
    await dap.request('continue', { threadId: 1 });
    await new Promise((done) => setTimeout(done, 300));
    await dap.request('pause', { threadId: 1 });
    await dap.stopped();
    const before = await dap.evaluate('eax');
    await dap.setBreakpoints('/work/forever.asm', {
      line: lineOf(forever, '; the loop'),
      condition: 'eax == 0xffffffff',
    });
    await dap.request('reverseContinue', { threadId: 1 });
    await dap.request('pause', { threadId: 1 });
    await dap.stopped();
    expect(await dap.evaluate('eax')).toBe(before);
  });
});

it('without a history, going back is refused in words', async () => {
  const dap = await started({ history: false });
  expect(await dap.failure('stepBack', { threadId: 1 })).toContain('"history": true');
  expect(await dap.failure('reverseContinue', { threadId: 1 })).toContain('no history');
});
