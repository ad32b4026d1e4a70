import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../debug-adapter/errors.ts';
import {
  type AssembledProgram,
  type LoadProgramRequest,
  loadProgram,
} from '../../debug-adapter/program/load-program.ts';
import { AssemblyError, type FileReader } from '../../debug-adapter/program/loaded-program.ts';
import { fixture, markerLine } from './fixtures.ts';

const MIB = 1 << 20;

function filesOf(contents: Record<string, Uint8Array>): FileReader {
  return {
    read: async (path) => {
      const bytes = contents[path];
      if (bytes === undefined) throw new Error(`no such file: ${path}`);
      return bytes;
    },
  };
}

const nothingAssembled: AssembledProgram = { segments: [], bits: 16, symbols: [], rows: [], diagnostics: [] };

function load(
  bytes: Uint8Array,
  request: Partial<LoadProgramRequest> = {},
  other: Record<string, Uint8Array> = {},
  assembled: AssembledProgram = nothingAssembled,
) {
  const program = request.program ?? '/work/program';
  const files = filesOf({ [program]: bytes, ...other });
  return loadProgram({ memoryBytes: 16 * MIB, ...request, program }, { files, assemble: async () => assembled });
}

const bootSector = new Uint8Array(512).fill(0xf4);

/** A copy of an ELF64 file with a field of its first PT_LOAD header replaced. */
function withSegmentField(name: string, field: number, value: bigint): Uint8Array {
  const bytes = fixture(name).slice();
  const view = new DataView(bytes.buffer);
  const first =
    Array.from({ length: 8 }, (_, index) => 64 + 56 * index).find((at) => view.getUint32(at, true) === 1) ?? 0;
  view.setBigUint64(first + field, value, true);
  return bytes;
}

describe('flat binaries', () => {
  it('are boot sectors unless something else is said', async () => {
    const program = await load(bootSector);
    expect(program).toMatchObject({
      kind: 'flat',
      bits: 16,
      segments: [{ address: 0x7c00, zeroBytes: 0 }],
      entry: { mode: 'real', address: 0x7c00n },
      description: 'flat binary, 1 segment, 512 bytes, entry 0x7c00 in real mode',
    });
  });

  it.each([
    [{ entryMode: 'long' as const }, 0x100000, 64],
    [{ entryMode: 'protected' as const, loadAddress: 0x200000 }, 0x200000, 32],
  ])('%j', async (request, address, bits) => {
    expect(await load(bootSector, request)).toMatchObject({
      bits,
      segments: [{ address }],
      entry: { address: BigInt(address) },
    });
  });

  it('take symbols and lines from another file', async () => {
    const request = { loadAddress: 0x100000, entryMode: 'long' as const, symbolFile: '/work/kernel.elf' };
    const program = await load(bootSector, request, { '/work/kernel.elf': fixture('dwarf5-O0.elf') });
    expect(program.symbols.find('classify')?.kind).toBe('function');
    expect(program.sources).toContain('/fixtures/sum.c');
  });
});

describe('ELF programs', () => {
  it('64-bit ones start in long mode, with symbols and lines', async () => {
    const program = await load(fixture('dwarf5-O0.elf'));
    const start = program.symbols.find('_start');
    expect(program).toMatchObject({
      kind: 'elf',
      bits: 64,
      entry: { mode: 'long', address: start?.address },
      diagnostics: [],
    });
    expect(program.sources).toEqual(['/fixtures/sum.c', '/fixtures/scale.h']);
    const halt = program.lines.addressesOf('/fixtures/sum.c', markerLine('sum.c', 'halt'));
    expect(program.symbols.describe(halt?.addresses[0] ?? 0n)).toMatch(/^_start\+0x/);
  });

  it('a for statement has one breakpoint address, an inlined line one in each copy', async () => {
    const { lines, symbols } = await load(fixture('dwarf5-O2.elf'));
    expect(lines.addressesOf('/fixtures/sum.c', markerLine('sum.c', 'loop'))?.addresses).toHaveLength(1);
    const copies = lines.addressesOf('/fixtures/scale.h', markerLine('scale.h', 'scaled'))?.addresses ?? [];
    expect(new Set(copies.map((address) => symbols.functionAt(address)?.symbol.name))).toEqual(
      new Set(['classify', '_start']),
    );
  });

  it('with a high-half entry need somebody who maps it', async () => {
    await expect(load(fixture('high-half.elf'))).rejects.toThrow(
      /entry is not mapped.*virtual address is its physical/,
    );
  });

  it('compressed debug information is a warning', async () => {
    const program = await load(fixture('compressed.elf'));
    expect(program.diagnostics).toEqual([expect.objectContaining({ severity: 'warning', file: '/work/program' })]);
    expect(program.sources).toEqual([]);
    expect(program.symbols.find('_start')).toBeDefined();
  });

  it.each([
    ['an object file', fixture('dwarf5.o'), 'found a relocatable object file. Link it with ld.'],
    ['an entry outside', fixture('dwarf5-O0.elf').fill(0x77, 24, 30), 'The entry lies outside of the program'],
    ['p_filesz above p_memsz', withSegmentField('dwarf5-O0.elf', 40, 1n), 'Expected p_filesz up to p_memsz 0x1'],
    ['contents beyond the file', withSegmentField('dwarf5-O0.elf', 8, 0xffffffn), 'Offset beyond the end'],
    ['a segment beyond memory', withSegmentField('dwarf5-O0.elf', 40, 0x10000000n), 'does not fit into memory'],
  ])('%s is refused', async (_, bytes, message) => {
    await expect(load(bytes)).rejects.toThrow(message);
    await expect(load(bytes)).rejects.toThrow('/work/program');
  });

  it('relative sources are looked for in the folders above', async () => {
    const bytes = fixture('dwarf2-O0.elf');
    const text = new TextDecoder('latin1').decode(bytes);
    // The directory of the compilation, /fixtures, becomes the relative "fixtures".
    for (let at = text.indexOf('/fixtures\0'); at >= 0; at = text.indexOf('/fixtures\0', at + 1)) {
      bytes.set(new TextEncoder().encode('fixtures\0'), at);
    }
    const program = await load(
      bytes,
      { program: '/home/me/build/out/kernel.elf' },
      {
        '/home/me/fixtures/sum.c': new Uint8Array(1),
      },
    );
    expect(program.sources).toContain('/home/me/fixtures/sum.c');
  });

  it('whatever bytes are changed: a program or a user error', async () => {
    const original = fixture('dwarf5-O2.elf');
    const change = fc.tuple(
      fc.oneof(fc.nat(400), fc.nat(original.length - 1)),
      fc.constantFrom(0, 1, 4, 127, 128, 255),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const bytes = original.slice();
        for (const [offset, value] of changes) bytes[offset] = value;
        const error = await load(bytes).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        expect(error === undefined || error instanceof UserError).toBe(true);
      }),
      { numRuns: 1000, seed: 5 },
    );
  });
});

describe('Multiboot kernels', () => {
  it('start in protected mode with the information in EBX', async () => {
    const program = await load(fixture('multiboot32.elf'), { commandLine: 'quiet', program: '/work/kernel' });
    const information = Number(program.entry.registers?.EBX);
    const segment = program.segments.find(({ address }) => address === information);
    expect(program).toMatchObject({
      kind: 'multiboot',
      bits: 32,
      entry: { mode: 'protected', registers: { EAX: 0x2badb002n } },
    });
    expect(program.entry.address).toBe(program.symbols.find('_start')?.address);
    expect(new TextDecoder().decode(segment?.bytes)).toContain('kernel quiet\0');
    expect(program.lines.addressesOf('/fixtures/multiboot.S', markerLine('multiboot.S', 'answer'))?.addresses).toEqual([
      program.symbols.find('main')?.address,
    ]);
  });

  it('get their initrd at the top of memory', async () => {
    const program = await load(
      fixture('multiboot32.elf'),
      { initrd: '/work/disk' },
      { '/work/disk': new Uint8Array(5000) },
    );
    expect(program.segments.at(-1)).toMatchObject({ address: 16 * MIB - 8192, zeroBytes: 0 });
  });

  it('that are flat go where their address fields say', async () => {
    const bytes = new Uint8Array(64).fill(0xf4);
    const flags = 0x10000;
    const fields = [0x1badb002, flags, -(0x1badb002 + flags), 0x200000, 0x200000, 0, 0x201000, 0x200020];
    new Uint32Array(bytes.buffer).set(fields);
    expect(await load(bytes)).toMatchObject({
      kind: 'multiboot',
      entry: { mode: 'protected', address: 0x200020n },
      segments: [{}, { address: 0x200000, zeroBytes: 0x1000 - 64 }],
    });
  });

  it('linked high and 64-bit are entered where their segment is loaded', async () => {
    const bytes = fixture('high-half.elf');
    new Uint32Array(bytes.buffer, 0x800).set([0x1badb002, 0, -0x1badb002]); // in the gap before the first segment
    const program = await load(bytes);
    const start = program.symbols.find('_start')?.address ?? 0n;
    expect(program.entry).toMatchObject({ mode: 'protected', address: start - 0xffffffff80000000n });
    expect(program.lines.at(start)?.path).toBe('/fixtures/sum.c');
  });

  it('are plain ELF programs when a mode is asked for', async () => {
    expect(await load(fixture('multiboot32.elf'), { entryMode: 'protected' })).toMatchObject({ kind: 'elf' });
  });

  it('without a header are not', async () => {
    await expect(load(bootSector, { format: 'multiboot' })).rejects.toThrow('Multiboot header (1BADB002h)');
  });
});

describe('assembled programs', () => {
  const assembled: AssembledProgram = {
    segments: [{ address: 0x100000, bytes: new Uint8Array(16), zeroBytes: 0 }],
    bits: 64,
    symbols: [{ name: 'start', address: 0x100000n, size: 0, kind: 'label', isGlobal: true }],
    rows: [
      { address: 0x100000n, path: '/work/a.asm', line: 2, column: 3, isStatement: true, endSequence: false },
      { address: 0x100010n, path: '/work/a.asm', line: 2, column: 3, isStatement: true, endSequence: true },
    ],
    diagnostics: [],
  };

  it('start in the mode of their first instruction', async () => {
    const program = await load(new Uint8Array(1), { program: '/work/a.asm' }, {}, assembled);
    expect(program).toMatchObject({
      kind: 'assembly',
      entry: { mode: 'long', address: 0x100000n },
      sources: ['/work/a.asm'],
    });
  });

  it.each([
    ['without an origin move with their symbols', 0, 0x7c04n],
    ['with an origin keep their symbols', 0x600, 0x604n],
  ])('that are loaded elsewhere, %s', async (_, origin, expected) => {
    const program = await load(
      new Uint8Array(1),
      { program: '/work/a.asm', loadAddress: 0x7c00 },
      {},
      {
        segments: [{ address: origin, bytes: new Uint8Array(16), zeroBytes: 0 }],
        bits: 16,
        symbols: [{ name: 'late', address: BigInt(origin + 4), size: 0, kind: 'label', isGlobal: true }],
        rows: [
          {
            address: BigInt(origin + 4),
            path: '/work/a.asm',
            line: 5,
            column: 1,
            isStatement: true,
            endSequence: false,
          },
          {
            address: BigInt(origin + 8),
            path: '/work/a.asm',
            line: 5,
            column: 1,
            isStatement: true,
            endSequence: true,
          },
        ],
        diagnostics: [],
      },
    );
    expect(program).toMatchObject({ segments: [{ address: 0x7c00 }], entry: { mode: 'real', address: 0x7c00n } });
    expect(program.symbols.find('late')?.address).toBe(expected);
    expect(program.lines.addressesOf('/work/a.asm', 5)?.addresses).toEqual([expected]);
  });

  it('with a Multiboot header are booted by it', async () => {
    const bytes = new Uint8Array(64);
    const flags = 0x10000;
    const fields = [0x1badb002, flags, -(0x1badb002 + flags), 0x100000, 0x100000, 0, 0x101000, 0x100020];
    new Uint32Array(bytes.buffer).set(fields);
    const segments = [{ address: 0x100000, bytes, zeroBytes: 0 }];
    const program = await load(new Uint8Array(1), { program: '/work/a.asm' }, {}, { ...assembled, segments });
    expect(program).toMatchObject({ kind: 'assembly', entry: { mode: 'protected', address: 0x100020n } });
    expect(program.segments.at(-1)).toMatchObject({ address: 0x100000, zeroBytes: 0x1000 - 64 });
    expect(program.symbols.find('start')).toBeDefined();
  });

  it('with errors are refused with all of them', async () => {
    const diagnostics = [3, 5].map((line) => ({
      severity: 'error' as const,
      message: 'unknown mnemonic',
      file: '/work/a.asm',
      line,
      column: 1,
      endColumn: 4,
    }));
    const failure = load(new Uint8Array(1), { program: '/work/a.asm' }, {}, { ...nothingAssembled, diagnostics });
    await expect(failure).rejects.toBeInstanceOf(AssemblyError);
    await expect(failure).rejects.toMatchObject({ diagnostics, message: expect.stringContaining('/work/a.asm:3:1') });
    await expect(failure).rejects.toThrow(
      'The program cannot be assembled: unknown mnemonic (/work/a.asm:3:1). The Debug Console lists all 2 errors.',
    );
  });
});

describe('bad programs', () => {
  it('that are not there', async () => {
    const services = { files: filesOf({}), assemble: async () => nothingAssembled };
    await expect(loadProgram({ program: '/no', memoryBytes: MIB }, services)).rejects.toThrow(
      'The program cannot be read (/no). Expected a file, found no such file: /no. Check the path',
    );
  });

  const linux = new Uint8Array(1024);
  linux.set(new TextEncoder().encode('HdrS'), 0x202);
  it.each([
    ['empty', new Uint8Array(0), {}, 'The program is empty (/work/program)'],
    [
      'an assembled file without code',
      new Uint8Array(1),
      { program: '/work/a.asm' },
      'The program is empty (/work/a.asm)',
    ],
    ['C source', new Uint8Array(10), { program: '/work/a.c' }, 'The program is a source file'],
    ['a bzImage', linux, {}, 'found a Linux bzImage'],
    ['a text', new TextEncoder().encode('# Read me\n\nKernel → guest\n'), {}, 'found a text'],
    [
      'larger than memory',
      new Uint8Array(MIB),
      { memoryBytes: MIB },
      'Expected addresses below 0x100000 (1 MiB of memory)',
    ],
    [
      'real mode above 1 MiB',
      bootSector,
      { entryMode: 'real' as const, loadAddress: 2 * MIB },
      'cannot be reached in real mode',
    ],
    ['a negative load address', bootSector, { loadAddress: -1 }, 'Expected a number from 0, found -1'],
  ])('%s', async (_, bytes, request, message) => {
    await expect(load(bytes, request)).rejects.toThrow(message);
    await expect(load(bytes, request)).rejects.toBeInstanceOf(UserError);
  });
});
