import { describe, expect, it } from 'vitest';
import { Client, lineOf } from './client.ts';
import { boot, forever } from './programs.ts';

const path = '/guest/boot.asm';
const at = (marker: string) => lineOf(boot, marker);

function client(): Client {
  return new Client({ [path]: boot, '/guest/forever.asm': forever });
}

describe('a run', () => {
  it('stops on entry at the first line', async () => {
    const dap = client();
    const stopped = await dap.launchStopped({ program: path });
    expect(stopped.reason).toBe('entry');
    expect(await dap.where()).toBe(`boot.asm:${at('; entry')} start`);
  });

  it('ends with the exit code of the guest, and shows what it prints', async () => {
    const dap = client();
    await dap.launch({ program: path });
    await dap.request('configurationDone');
    const exited = await dap.event('exited');
    expect(exited.body.exitCode).toBe(0);
    await dap.event('terminated');
    expect(dap.console('stdout')).toBe('Hello\n');
  });

  it('pauses a guest that never stops', async () => {
    const dap = client();
    await dap.launch({ program: '/guest/forever.asm' });
    await dap.request('configurationDone');
    await dap.request('pause', { threadId: 1 });
    const stopped = await dap.stopped();
    expect(stopped.reason).toBe('pause');
    expect(await dap.where()).toContain('main');
  });

  it('answers requests while the guest runs', async () => {
    const dap = client();
    await dap.launch({ program: '/guest/forever.asm' });
    await dap.request('configurationDone');
    expect(await dap.evaluate('rip')).toContain('main');
    expect(await dap.failure('next', { threadId: 1 })).toContain('ause it first');
    await dap.request('disconnect');
  });

  it('restarts from the beginning, breakpoints kept', async () => {
    const dap = client();
    await dap.launch({ program: path });
    await dap.setBreakpoints(path, { line: at('; after the interrupt') });
    await dap.request('configurationDone');
    await dap.stopped();
    expect(await dap.evaluate('bx')).toContain('0x1234');
    await dap.request('restart');
    await dap.stopped();
    expect(await dap.where()).toContain(String(at('; after the interrupt')));
  });

  it('is over after terminate', async () => {
    const dap = client();
    await dap.launchStopped({ program: path });
    await dap.request('terminate');
    await dap.event('terminated');
    expect(await dap.failure('threads')).toContain('No program is being debugged');
  });
});

describe('breakpoints', () => {
  async function run(...breakpoints: Parameters<Client['setBreakpoints']>[1][]) {
    const dap = client();
    await dap.launch({ program: path });
    const set = await dap.setBreakpoints(path, ...breakpoints);
    await dap.request('configurationDone');
    return { dap, set };
  }

  it('stops at its line and says which one', async () => {
    const { dap, set } = await run({ line: at('; in the handler') });
    const stopped = await dap.stopped();
    expect(stopped).toMatchObject({ reason: 'breakpoint', hitBreakpointIds: [set[0]?.id] });
    expect(await dap.where()).toBe(`boot.asm:${at('; in the handler')} handler`);
  });

  it('moves from a line without code to the next one that has some', async () => {
    const { set } = await run({ line: at('Empty lines have no code') });
    expect(set[0]).toMatchObject({ verified: true, line: at('; in add_two') });
  });

  it('is not verified below the last line of code, or in a file that is not of the program', async () => {
    const { dap, set } = await run({ line: at('SIZE ') });
    expect(set[0]).toMatchObject({ verified: false, message: expect.stringContaining('no code') });
    const [other] = await dap.setBreakpoints('/guest/other.asm', { line: 1 });
    expect(other).toMatchObject({ verified: false, message: expect.stringContaining('boot.asm') });
  });

  it('stops only where the condition holds', async () => {
    const { dap } = await run({ line: at('; in add_two'), condition: 'ax == 2 && word [counter] == 2' });
    await dap.stopped();
    expect(await dap.evaluate('cx,d')).toBe('2');
  });

  it('stops from the hit count on', async () => {
    const { dap } = await run({ line: at('; in add_two'), hitCondition: '== 3' });
    await dap.stopped();
    expect(await dap.evaluate('cx,d')).toBe('1');
  });

  it('logs instead of stopping', async () => {
    const { dap } = await run({ line: at('; the store'), logMessage: 'ax is {ax,d} {{here}}' });
    await dap.event('terminated');
    expect(dap.console('console')).toContain('ax is 2 {here}\nax is 4 {here}\nax is 6 {here}\n');
  });

  it('says what is wrong with a condition', async () => {
    const { set } = await run(
      { line: at('; in add_two'), condition: 'ax ==' },
      { line: at('; the end'), hitCondition: 'often' },
    );
    expect(set[0]).toMatchObject({ verified: false, message: expect.stringContaining('end of the expression') });
    expect(set[1]).toMatchObject({ verified: false, message: expect.stringContaining('hit count') });
  });

  it('stops where a condition cannot be evaluated, and says why', async () => {
    const { dap } = await run({ line: at('; in add_two'), condition: 'nonsense == 1' });
    await dap.stopped();
    expect(dap.console()).toContain('The name is not known');
  });

  it('lists the lines that can have one', async () => {
    const { dap } = await run();
    const { breakpoints } = (await dap.request('breakpointLocations', {
      source: { path },
      line: at('; in add_two'),
      endLine: at('; the return'),
    })) ?? { breakpoints: [] };
    expect(breakpoints.map(({ line }) => line)).toEqual([at('; in add_two'), at('; the store'), at('; the return')]);
  });

  it('by function name, and by address', async () => {
    const dap = client();
    await dap.launch({ program: path });
    const functions = await dap.request('setFunctionBreakpoints', {
      breakpoints: [{ name: 'handler' }, { name: 'handlr' }],
    });
    expect(functions.breakpoints[0]).toMatchObject({ verified: true, line: at('; in the handler') });
    expect(functions.breakpoints[1]).toMatchObject({ verified: false, message: expect.stringContaining('handler') });
    const address = await dap.evaluate('add_two,x');
    const instructions = await dap.request('setInstructionBreakpoints', {
      breakpoints: [{ instructionReference: address, offset: 3 }],
    });
    expect(instructions.breakpoints[0]).toMatchObject({ verified: true, line: at('; the store') });
    await dap.request('configurationDone');
    expect((await dap.stopped()).reason).toBe('instruction breakpoint');
    await dap.request('setInstructionBreakpoints', { breakpoints: [] });
    expect((await dap.continue()).reason).toBe('function breakpoint');
  });

  it('on data: stops at the write, with the value in place', async () => {
    const dap = client();
    await dap.launchStopped({ program: path });
    const info = await dap.request('dataBreakpointInfo', { name: 'word [counter]' });
    expect(info).toMatchObject({ dataId: expect.any(String), accessTypes: ['read', 'write', 'readWrite'] });
    const { breakpoints } = await dap.request('setDataBreakpoints', {
      breakpoints: [{ dataId: info.dataId ?? '', accessType: 'write' }],
    });
    expect(breakpoints[0]).toMatchObject({ verified: true });
    const stopped = await dap.continue();
    expect(stopped.reason).toBe('data breakpoint');
    expect(stopped.text).toContain('counter');
    expect(await dap.evaluate('word [counter],d')).toBe('2');
    expect(await dap.where()).toContain('add_two');
  });

  it('on data: a register has none', async () => {
    const dap = client();
    await dap.launchStopped({ program: path });
    const info = await dap.request('dataBreakpointInfo', { name: 'ax' });
    expect(info.dataId).toBeNull();
    expect(info.description).toContain('a register');
  });
});

describe('steps', () => {
  async function atLine(marker: string): Promise<Client> {
    const dap = client();
    await dap.launch({ program: path });
    await dap.setBreakpoints(path, { line: at(marker) });
    await dap.request('configurationDone');
    await dap.stopped();
    await dap.setBreakpoints(path);
    return dap;
  }

  it('over a call', async () => {
    const dap = await atLine('; the call');
    expect((await dap.next()).reason).toBe('step');
    expect(await dap.where()).toContain(`:${at('; the loop')} `);
  });

  it('into a call and out of it', async () => {
    const dap = await atLine('; the call');
    await dap.stepIn();
    expect(await dap.where()).toBe(`boot.asm:${at('; in add_two')} add_two`);
    await dap.stepOut();
    expect(await dap.where()).toContain(`:${at('; the loop')} `);
  });

  it('over an interrupt, and into it', async () => {
    const over = await atLine('; the interrupt');
    await over.next();
    expect(await over.where()).toContain(`:${at('; after the interrupt')} `);
    const into = await atLine('; the interrupt');
    await into.stepIn();
    expect(await into.where()).toContain(`:${at('; in the handler')} handler`);
    await into.stepOut();
    expect(await into.where()).toContain(`:${at('; after the interrupt')} `);
  });

  it('stops at a breakpoint within what is stepped over', async () => {
    const dap = await atLine('; the call');
    const [set] = await dap.setBreakpoints(path, { line: at('; the store') });
    expect(await dap.next()).toMatchObject({ reason: 'breakpoint', hitBreakpointIds: [set?.id] });
  });

  it('says that there is nothing to step out to', async () => {
    const dap = client();
    await dap.launchStopped({ program: path });
    expect(await dap.failure('stepOut', { threadId: 1 })).toContain('no caller');
  });

  it('to a line by goto', async () => {
    const dap = await atLine('; the call');
    const { targets } = await dap.request('gotoTargets', { source: { path }, line: at('; the end') });
    await dap.request('goto', { threadId: 1, targetId: targets[0]?.id ?? 0 });
    expect((await dap.stopped()).reason).toBe('goto');
    expect(await dap.where()).toContain(`:${at('; the end')} `);
  });
});

describe('several vCPUs', () => {
  it('are threads, of which one is stepped', async () => {
    const dap = client();
    await dap.launchStopped({ program: '/guest/forever.asm', cpus: 2 });
    const { threads } = await dap.request('threads');
    expect(threads.map(({ id }) => id)).toEqual([1, 2]);
    expect((await dap.next()).threadId).toBe(1);
    expect((await dap.stepIn('instruction')).threadId).toBe(1);
    expect(await dap.frames(2)).toHaveLength(1);
  });
});
