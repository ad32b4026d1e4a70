import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LineRow, LineTable } from '../../debug-adapter/program/line-table.ts';
import { directoryOf, extensionOf, pathKey, resolvePath } from '../../debug-adapter/program/source-path.ts';
import { type ProgramSymbol, SymbolTable } from '../../debug-adapter/program/symbols.ts';

/** `0x10 5:3` is a statement at line 5, column 3; `~` before it: not a statement; `end`: of the sequence. */
function rows(text: string, path = '/src/a.c'): LineRow[] {
  return text.split(',').map((item) => {
    const [, tilde, address, line, column] = /(~?)(0x\w+) (\d+|end)(?::(\d+))?/.exec(item) ?? [];
    return {
      address: BigInt(address ?? 0),
      path,
      line: line === 'end' ? 0 : Number(line),
      column: Number(column ?? 0),
      isStatement: tilde === '',
      endSequence: line === 'end',
    };
  });
}

function symbol(name: string, address: bigint, kind: ProgramSymbol['kind'] = 'label', size = 0): ProgramSymbol {
  return { name, address, kind, size, isGlobal: !name.includes('.') };
}

describe('line table', () => {
  it('gives the line of every byte and nothing outside', () => {
    const table = new LineTable(rows('0x10 3:1, 0x14 4:2, 0x18 end'));
    expect([0xfn, 0x10n, 0x13n, 0x14n, 0x17n, 0x18n].map((address) => table.at(address)?.line)).toEqual([
      undefined,
      3,
      3,
      4,
      4,
      undefined,
    ]);
  });

  it('sorts sequences, keeps the last of several rows of one address, and takes line 0 out', () => {
    const table = new LineTable([...rows('0x40 9, 0x44 end'), ...rows('0x10 3, 0x10 4, 0x14 0, 0x18 5, 0x1c end')]);
    expect([0x10n, 0x14n, 0x18n, 0x40n].map((address) => table.at(address)?.line)).toEqual([4, undefined, 5, 9]);
  });

  it('joins adjacent rows of a line into one range', () => {
    const table = new LineTable(rows('0x10 3:1, 0x14 3:9, 0x18 3:1, 0x20 4:1, 0x30 3:1, 0x34 end'));
    expect(table.rangeAt(0x15n)).toEqual({ path: '/src/a.c', line: 3, column: 9, start: 0x10n, end: 0x20n });
    expect(table.rangeAt(0x33n)).toMatchObject({ start: 0x30n, end: 0x34n });
    expect(table.rangeAt(0x34n)).toBeUndefined();
  });

  it('a breakpoint goes to the next line that has code', () => {
    const table = new LineTable(rows('0x10 3, 0x14 7, 0x18 end'));
    expect(table.addressesOf('/src/a.c', 1)).toEqual({ line: 3, column: 0, addresses: [0x10n] });
    expect(table.addressesOf('/src/a.c', 4)).toEqual({ line: 7, column: 0, addresses: [0x14n] });
    expect(table.addressesOf('/src/a.c', 8)).toBeUndefined();
    expect(table.addressesOf('/src/b.c', 3)).toBeUndefined();
  });

  it('a line of which no row is a statement has no breakpoint, and a later statement of it has', () => {
    const table = new LineTable(rows('~0x10 3, 0x14 4, ~0x18 5, 0x1c 5, 0x20 end'));
    expect(table.addressesOf('/src/a.c', 3)?.line).toBe(4);
    expect(table.addressesOf('/src/a.c', 5)?.addresses).toEqual([0x1cn]);
  });

  it('of several rows of one address the last statement holds, as in gdb', () => {
    const table = new LineTable(rows('0x10 3:1, 0x14 4:1, ~0x14 9:5, 0x18 5:1, 0x18 6:1, ~0x18 5:7, 0x1c end'));
    expect(table.at(0x14n)).toMatchObject({ line: 4, column: 1 });
    expect(table.addressesOf('/src/a.c', 4)).toEqual({ line: 4, column: 1, addresses: [0x14n] });
    expect(table.addressesOf('/src/a.c', 9)).toBeUndefined();
    expect(table.addressesOf('/src/a.c', 5)).toEqual({ line: 6, column: 1, addresses: [0x18n] });
  });

  it('of a for statement only the part that comes first, of an inlined line every copy', () => {
    const table = new LineTable(
      rows('0x10 3:8, 0x14 4:5, 0x18 3:20, 0x1c 3:30, 0x20 9:1, 0x24 4:5, 0x28 9:1, 0x2c end'),
    );
    expect(table.addressesOf('/src/a.c', 3)?.addresses).toEqual([0x10n]);
    expect(table.addressesOf('/src/a.c', 3, 20)).toEqual({ line: 3, column: 20, addresses: [0x18n] });
    expect(table.addressesOf('/src/a.c', 4)?.addresses).toEqual([0x14n, 0x24n]);
    expect(table.breakpointLocations('/src/a.c', 3, 4)).toEqual([
      { line: 3, column: 8, address: 0x10n },
      { line: 3, column: 20, address: 0x18n },
      { line: 3, column: 30, address: 0x1cn },
      { line: 4, column: 5, address: 0x14n },
    ]);
  });

  it('in each function the first part of a line', () => {
    const options = { functionStart: (address: bigint) => address & ~0xfn };
    const table = new LineTable(rows('0x10 3:8, 0x14 4:1, 0x20 3:20, 0x24 4:1, 0x28 end'), options);
    expect(table.addressesOf('/src/a.c', 3)?.addresses).toEqual([0x10n, 0x20n]);
  });

  it('leaves out what is not loaded, as a function that the linker took out', () => {
    const all = [...rows('0x0 3, 0x10 end'), ...rows('0x100000 4, 0x100010 end')];
    const table = new LineTable(all, { isLoaded: (address) => address >= 0x100000n });
    expect(table.at(0n)).toBeUndefined();
    expect(table.addressesOf('/src/a.c', 3)?.addresses).toEqual([0x100000n]);
  });

  it('knows a Windows path in another spelling', () => {
    const table = new LineTable(rows('0x10 3, 0x14 end', 'C:\\Src\\A.c'));
    expect(table.addressesOf('c:/src/a.c', 3)?.addresses).toEqual([0x10n]);
    expect(table.sources).toEqual(['C:\\Src\\A.c']);
  });

  it('gives the lines of a range, cut to it', () => {
    const table = new LineTable(rows('0x10 3, 0x14 4, 0x18 5, 0x1c end'));
    expect([...table.within(0x12n, 0x18n)].map(({ line, start, end }) => [line, start, end])).toEqual([
      [3, 0x12n, 0x14n],
      [4, 0x14n, 0x18n],
    ]);
  });

  it('agrees with a linear search, whatever the rows', () => {
    const row = fc.tuple(fc.nat(60), fc.integer({ min: 0, max: 4 }), fc.boolean());
    fc.assert(
      fc.property(fc.array(row, { minLength: 2, maxLength: 20 }), (items) => {
        const sorted = items.map(([address]) => address).sort((a, b) => a - b);
        const sequence = items.map(([, line, isStatement], index) => ({
          address: BigInt(sorted[index] ?? 0),
          path: '/a',
          line,
          column: 0,
          isStatement,
          endSequence: index === items.length - 1,
        }));
        const table = new LineTable(sequence);
        for (let address = 0n; address < 64n; address += 1n) {
          const reached = sequence.filter((one) => one.address <= address);
          const rowsThere = reached.filter((one) => one.address === reached.at(-1)?.address);
          const at = rowsThere.filter((one) => one.isStatement).at(-1) ?? rowsThere.at(-1);
          const isOutside = at === undefined || rowsThere.some((one) => one.endSequence) || at.line === 0;
          const line = isOutside ? undefined : at.line;
          expect(table.at(address)?.line).toBe(line);
          expect(table.rangeAt(address)?.line).toBe(line);
        }
      }),
      { seed: 3 },
    );
  });

  it('takes 400,000 rows and answers at once', () => {
    const count = 400_000;
    const many = Array.from({ length: count + 1 }, (_, index) => ({
      address: BigInt(index * 4),
      path: `/src/${index % 7}.c`,
      line: 1 + (index % 5000),
      column: 1,
      isStatement: true,
      endSequence: index === count,
    }));
    const table = new LineTable(many);
    expect(table.at(BigInt(count * 4 - 1))).toMatchObject({ line: 5000 });
    expect(table.addressesOf('/src/0.c', 1)?.addresses.length).toBeGreaterThan(1);
  });
});

describe('symbol table', () => {
  const table = new SymbolTable(
    [
      symbol('main', 0x100n, 'function', 0x20),
      symbol('main.loop', 0x108n),
      symbol('data', 0x200n, 'object', 4),
      symbol('start', 0x80n),
      symbol('PORT', 0xe9n, 'constant'),
      symbol('alias', 0x100n),
    ],
    [{ start: 0x80n, end: 0x300n }],
  );

  it.each([
    [0x100n, 'main'],
    [0x107n, 'main+0x7'],
    [0x10an, 'main.loop+0x2'],
    [0x80n, 'start'],
    [0xe9n, 'start+0x69'],
    [0x2ffn, 'data+0xff'],
    [0x7fn, undefined],
    [0x300n, undefined],
  ])('%s is %s', (address, text) => {
    expect(table.describe(address)).toBe(text);
  });

  it('finds by name, constants too', () => {
    expect(table.find('PORT')).toMatchObject({ address: 0xe9n, kind: 'constant' });
    expect(table.find('nothing')).toBeUndefined();
    expect(table.namesFrom('ma', 5)).toEqual(['main', 'main.loop']);
  });

  it.each([
    [0x10an, { start: 0x100n, end: 0x120n, name: 'main' }],
    [0x90n, { start: 0x80n, end: 0x100n, name: 'start' }],
    [0x130n, { start: 0x100n, end: 0x300n, name: 'alias' }],
  ])('the function at %s', (address, { name, ...range }) => {
    expect(table.functionAt(address)).toMatchObject({ ...range, symbol: { name } });
  });

  it('is near nothing in another part of the program', () => {
    const extent = [
      { start: 0n, end: 0x10n },
      { start: 0x1000n, end: 0x1010n },
    ];
    expect(new SymbolTable([symbol('low', 4n)], extent).describe(0x1004n)).toBeUndefined();
  });

  it('names high-half addresses', () => {
    expect(new SymbolTable([symbol('kernel', 0xffffffff80100000n)]).describe(0xffffffff80100010n)).toBe('kernel+0x10');
  });
});

describe('paths', () => {
  it.each([
    ['/a/b', 'c/../d.c', '/a/b/d.c'],
    ['/a/b', '../../../d.c', '/d.c'],
    ['a', '../../d.c', '../d.c'],
    ['/a', '/x/./y.c', '/x/y.c'],
    ['C:\\a', 'b\\..\\c.c', 'C:\\a\\c.c'],
    ['vscode-vfs://host/a', '../c.c', 'vscode-vfs://host/c.c'],
    ['.', 'c.c', 'c.c'],
  ])('%s and %s make %s', (directory, path, resolved) => {
    expect(resolvePath(directory, path)).toBe(resolved);
  });

  it('have a directory and an extension', () => {
    expect(['/a/b.ASM', '/b', 'b.c', 'C:\\x\\y.bin'].map(directoryOf)).toEqual(['/a', '/', '.', 'C:\\x']);
    expect(['/a.b/c', 'x.ASM', '.hidden'].map(extensionOf)).toEqual(['', '.asm', '']);
    expect(pathKey('C:\\A\\b.c')).toBe(pathKey('c:/a/B.c'));
    expect(pathKey('/A')).not.toBe(pathKey('/a'));
  });
});
