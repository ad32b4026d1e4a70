import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { beforeAll, describe, expect, it } from 'vitest';
import { Client, lineOf } from './client.ts';
import { boot } from './programs.ts';

const path = '/guest/boot.asm';
const at = (marker: string) => lineOf(boot, marker);

async function stoppedAt(marker: string): Promise<Client> {
  const dap = new Client({ [path]: boot });
  await dap.launch({ program: path });
  await dap.setBreakpoints(path, { line: at(marker) });
  await dap.request('configurationDone');
  await dap.stopped();
  return dap;
}

describe('in a function', () => {
  let dap: Client;
  beforeAll(async () => {
    dap = await stoppedAt('; the store');
  });

  it('the stack has the caller', async () => {
    const frames = await dap.frames();
    expect(frames.map(({ name, line }) => [name, line])).toEqual([
      ['add_two', at('; the store')],
      ['start', at('; the call')],
    ]);
    expect(frames[0]?.instructionPointerReference).toMatch(/^0x7c[0-9a-f]{2}$/);
  });

  it('the stack comes in pages', async () => {
    const first = await dap.request('stackTrace', { threadId: 1, startFrame: 0, levels: 1 });
    expect(first.stackFrames.map(({ name }) => name)).toEqual(['add_two']);
    expect(first.totalFrames).toBeGreaterThan(1);
    const second = await dap.request('stackTrace', { threadId: 1, startFrame: 1, levels: 20 });
    expect(second.stackFrames.map(({ name }) => name)).toEqual(['start']);
    expect(second.totalFrames).toBe(2);
  });

  it('threads are vCPUs', async () => {
    const { threads } = await dap.request('threads');
    expect(threads).toEqual([{ id: 1, name: expect.stringMatching(/^vCPU 0 \(ring 0, real/i) }]);
  });

  it('scopes hold registers, with their parts', async () => {
    const { scopes } = await dap.request('scopes', { frameId: (await dap.top()).id });
    expect(scopes.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['General', 'Flags', 'Segment', 'Control', 'MSRs']),
    );
    const registers = await variables('General');
    expect(registers.find(({ name }) => name === 'RAX')?.value).toMatch(/^0x0{15}2$/);
    expect(registers.find(({ name }) => name === 'RIP')?.value).toContain('<add_two+0x3>');
    const segments = await variables('Segment');
    const cs = segments.find(({ name }) => name === 'CS');
    const parts = (await dap.request('variables', { variablesReference: cs?.variablesReference ?? 0 })).variables;
    expect(parts.map(({ name }) => name.toLowerCase())).toEqual(expect.arrayContaining(['base', 'limit']));
  });

  async function variables(scope: string): Promise<P.Variable[]> {
    const { scopes } = await dap.request('scopes', { frameId: (await dap.top()).id });
    const variablesReference = scopes.find(({ name }) => name === scope)?.variablesReference ?? 0;
    return (await dap.request('variables', { variablesReference })).variables;
  }

  it('evaluates, for hovers without the label’s colon', async () => {
    expect(await dap.evaluate('ax')).toBe('0x0002');
    expect(await dap.evaluate('SIZE')).toBe('0x2a (42)');
    expect(await dap.evaluate('add_two:', 'hover')).toContain('<add_two>');
    expect(await dap.failure('evaluate', { expression: 'ax = 1', context: 'hover' })).toContain('console');
    expect(await dap.failure('evaluate', { expression: 'axx', context: 'repl' })).toContain('not known');
  });

  it('completes registers and symbols', async () => {
    const completions = async (text: string) =>
      (await dap.request('completions', { text, column: text.length + 1 })).targets.map(({ label }) => label);
    expect(await completions('word [cou')).toEqual(['counter']);
    expect(await completions('ra')).toContain('rax');
  });

  it('lists sources and modules', async () => {
    expect((await dap.request('loadedSources')).sources).toEqual([{ name: 'boot.asm', path }]);
    const { modules } = await dap.request('modules', {});
    expect(modules).toMatchObject([{ name: 'boot.asm', symbolStatus: 'Symbols and lines' }]);
  });
});

describe('memory', () => {
  it('is read in each address space', async () => {
    const dap = await stoppedAt('; the end');
    const text = await dap.evaluate('text,x');
    for (const memoryReference of [text, `gpa:${text}`, `hpa:${text}`]) {
      const { data } = (await dap.request('readMemory', { memoryReference, count: 5 })) ?? {};
      expect(atob(data ?? '')).toBe('Hello');
    }
    expect(await dap.evaluate('text,s')).toBe('"Hello\\n"');
  });

  it('is written, and the client is told', async () => {
    const dap = await stoppedAt('; after the interrupt');
    const memoryReference = await dap.evaluate('text,x');
    const { bytesWritten } = (await dap.request('writeMemory', { memoryReference, data: btoa('Howdy') })) ?? {};
    expect(bytesWritten).toBe(5);
    expect((await dap.event('memory')).body).toMatchObject({ memoryReference, count: 5 });
    await dap.request('continue', { threadId: 1 });
    await dap.event('terminated');
    expect(dap.console('stdout')).toBe('Howdy\n');
  });

  it('that is not there is said to be unreadable', async () => {
    const dap = await stoppedAt('; the end');
    const answer = await dap.request('readMemory', { memoryReference: 'hpa:0x7fffffffffff0000', count: 16 });
    expect(answer).toEqual({ address: '0x7fffffffffff0000', unreadableBytes: 16 });
    expect(await dap.failure('readMemory', { memoryReference: 'there', count: 1 })).toContain('gpa:0x1000');
  });
});

describe('edits', () => {
  it('of a register take effect', async () => {
    const dap = await stoppedAt('; the loop');
    const { scopes } = await dap.request('scopes', { frameId: (await dap.top()).id });
    const variablesReference = scopes[0]?.variablesReference ?? 0;
    const set = await dap.request('setVariable', { variablesReference, name: 'RCX', value: '1 + 0' });
    expect(set.value).toMatch(/^0x0{15}1$/);
    await dap.event('invalidated');
    await dap.next();
    expect(await dap.where()).toContain(`:${at('; the interrupt')} `);
  });

  it('flag by flag, and other bits that have a name', async () => {
    const dap = await stoppedAt('; the loop');
    const { scopes } = await dap.request('scopes', { frameId: (await dap.top()).id });
    const scope = scopes.find(({ name }) => name === 'Flags')?.variablesReference ?? 0;
    const [rflags] = (await dap.request('variables', { variablesReference: scope })).variables;
    const variablesReference = rflags?.variablesReference ?? 0;
    const carry = (await dap.request('variables', { variablesReference })).variables.find(({ name }) => name === 'CF');
    expect(carry?.evaluateName).toBe('rflags.cf');
    await dap.evaluate('rflags = 0x3002', 'repl');
    expect(await dap.evaluate('cf')).toBe('0x0');
    expect((await dap.request('setVariable', { variablesReference, name: 'CF', value: '1' })).value).toBe('1');
    expect(await dap.evaluate('rflags')).toBe('0x3003');
    expect(await dap.evaluate('cf == 1 && !zf')).toBe('1');
    expect(await dap.evaluate('rflags.iopl')).toBe('0x3');
    expect(await dap.evaluate('IA32_EFER.LME')).toBe('0x0');
    expect(await dap.failure('setVariable', { variablesReference, name: 'CF', value: '2' })).toContain('has 1 bit');
  });

  it('by expression', async () => {
    const dap = await stoppedAt('; the loop');
    await dap.request('setExpression', { expression: 'word [counter],d', value: '7' });
    expect(await dap.evaluate('word [counter],d')).toBe('7');
    expect(await dap.evaluate('bl = 0x55', 'repl')).toContain('0x55');
    expect(await dap.evaluate('bx & 0xff,x')).toBe('0x55');
    expect(await dap.failure('setExpression', { expression: '5', value: '7' })).toContain('cannot be changed');
  });
});

describe('disassembly', () => {
  it('has symbols, bytes and source lines, and goes backwards', async () => {
    const dap = await stoppedAt('; the store');
    const memoryReference = (await dap.top()).instructionPointerReference ?? '';
    const { instructions } = (await dap.request('disassemble', {
      memoryReference,
      instructionOffset: -3,
      instructionCount: 8,
    })) ?? { instructions: [] };
    expect(instructions).toHaveLength(8);
    expect(instructions.slice(2, 5)).toMatchObject([
      {
        instruction: 'add ax, 2',
        symbol: 'add_two',
        instructionBytes: '83 c0 02',
        line: at('; in add_two'),
        location: { path },
      },
      { address: memoryReference, line: at('; the store') },
      { instruction: 'ret', instructionBytes: 'c3', line: at('; the return') },
    ]);
    const all = await dap.request('disassemble', { memoryReference: '0x7c00', instructionCount: 12 });
    expect(all?.instructions.map(({ instruction }) => instruction)).toContain('call add_two');
  });

  it('pads what is not mapped', async () => {
    const dap = await stoppedAt('; the store');
    const answer = await dap.request('disassemble', {
      memoryReference: '0x0',
      instructionOffset: -4,
      instructionCount: 5,
    });
    expect(answer?.instructions).toHaveLength(5);
    const addresses = (answer?.instructions ?? []).map(({ address }) => BigInt(address));
    expect(new Set(addresses).size).toBe(5);
  });
});

describe('exception filters', () => {
  const faulty = `
        bits 32
        org 0x100000
        mov eax, 0x1234
        ud2                             ; the fault
        jmp $
`;

  async function launched(filterOptions: P.ExceptionFilterOptions[]) {
    const dap = new Client({ '/guest/faulty.asm': faulty });
    await dap.launch({ program: '/guest/faulty.asm' });
    const answer = await dap.request('setExceptionBreakpoints', { filters: [], filterOptions });
    await dap.request('configurationDone');
    return { dap, breakpoints: answer?.breakpoints ?? [] };
  }

  it('stop before an exception is delivered, and explain it', async () => {
    const { dap } = await launched([{ filterId: 'exception', condition: 'vector == 6 && eax == 0x1234' }]);
    const stopped = await dap.stopped();
    expect(stopped).toMatchObject({ reason: 'exception', text: expect.stringContaining('#UD') });
    expect(await dap.where()).toContain(`:${lineOf(faulty, '; the fault')} `);
    const info = await dap.request('exceptionInfo', { threadId: 1 });
    expect(info.exceptionId).toBe('exception');
    expect(info.description).toContain('Invalid Opcode');
    expect(info.details?.stackTrace).toMatch(/^A condition can ask for: .*vector = 6.*$/);
  });

  it('pass by what the condition does not want, to the triple fault', async () => {
    const { dap } = await launched([
      { filterId: 'exception', condition: 'vector == 14' },
      { filterId: 'triple-fault' },
    ]);
    expect(await dap.stopped()).toMatchObject({ reason: 'exception', text: 'Triple fault' });
  });

  it('say what is wrong with them', async () => {
    const { dap, breakpoints } = await launched([
      { filterId: 'exception', condition: 'vector ==' },
      { filterId: 'nonsense' },
    ]);
    expect(breakpoints).toMatchObject([
      { verified: false, message: expect.stringContaining('end of the expression') },
      { verified: false, message: expect.stringContaining('vm-exit') },
    ]);
    await dap.request('disconnect');
  });

  it('stop at a condition that cannot be evaluated, and say so once', async () => {
    const { dap } = await launched([{ filterId: 'exception', condition: 'nonsense == 1' }]);
    expect((await dap.stopped()).reason).toBe('exception');
    expect(dap.console()).toContain('The condition of "exception" cannot be evaluated');
  });
});

describe('the requests of the views', () => {
  it('answer with plain data', async () => {
    const dap = await stoppedAt('; the store');
    const { vcpus, current } = await dap.request('ringside/cpuMode', {});
    expect(vcpus).toMatchObject([{ vcpu: 0, vmxOperation: 'off', ring: 0, codeSize: 16 }]);
    expect(current).toBe(0);
    expect(await dap.request('ringside/vmcs', {})).toEqual({ changed: [] });
    expect(await dap.request('ringside/pageTables', { kind: 'guest' })).toEqual({
      tree: 'Guest paging',
      nodes: [],
      reason: expect.stringContaining('Paging is off'),
    });
    expect(await dap.request('ringside/pageTables', { kind: 'ept' })).toMatchObject({ nodes: [] });
    expect((await dap.request('ringside/tlb', {})).entries).toEqual([]);
    expect(await dap.request('ringside/translate', { expression: 'text' })).toMatchObject({
      symbol: 'text',
      translation: { result: { kind: 'mapped' } },
      memoryReferences: { linear: await dap.evaluate('text,x') },
    });
    expect((await dap.request('ringside/statistics', {})).instructions).toBeGreaterThan(5);
    expect(await dap.failure('ringside/translate', { expression: 'txt' })).toContain('id you mean text?');
  });

  it('show the page tables of a guest in long mode', async () => {
    const long = 'bits 64\norg 0x100000\nmain: mov eax, [main]\nnop ; after\njmp $\n';
    const dap = new Client({ '/guest/long.asm': long });
    await dap.launchStopped({ program: '/guest/long.asm' });
    await dap.next();
    const root = await dap.request('ringside/pageTables', { kind: 'guest' });
    expect(root.table?.level).toBe('PML4E');
    const entry = root.nodes.find(({ kind }) => kind === 'entry');
    const below = await dap.request('ringside/pageTables', {
      kind: 'guest',
      ...(entry?.table ? { table: entry.table } : {}),
    });
    expect(below.nodes[0]).toMatchObject({ kind: 'entry', level: 'PDPTE' });
    expect((await dap.request('ringside/tlb', {})).entries.length).toBeGreaterThan(0);
  });
});
