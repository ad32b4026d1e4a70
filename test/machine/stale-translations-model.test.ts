/**
 * The filter "stale translation used" against a model of a TLB that never evicts: random programs that read, write and call
 * pages, change what maps them, and invalidate or forget to.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { HotSpotOptions } from '../../engine/exec/compiler/hot-spots.ts';
import { guestFromSource } from '../vmm/run-guest.ts';

const PAGES = 4;
const pages = Array.from({ length: PAGES }, (_, page) => page);
const FIRST_LINEAR = 0x80_0000_0000;
/** The page directory has one entry; it leads to one of two tables. */
const DIRECTORY = 0x201000;
const TABLES = [0x202000, 0x203000] as const;
const BETWEEN = 0x10000;
/** Of each page there are two in RAM; each begins with a RET. */
const pageInRam = (page: number, which: number): number => 0x300000 + which * BETWEEN + page * 0x1000;
const ACCESSED = 0x20;
const ACCESSED_AND_DIRTY = 0x60;
const TURNS = 40;

type Operation =
  | { readonly kind: 'read' | 'write' | 'call' | 'invlpg'; readonly page: number }
  | {
      readonly kind: 'map';
      readonly page: number;
      readonly table: number;
      readonly to: number;
      readonly isDirty: boolean;
    }
  | { readonly kind: 'flip'; readonly page: number; readonly table: number }
  | { readonly kind: 'directory'; readonly table: number; readonly isAccessed: boolean }
  | { readonly kind: 'cr3' };

const page = fc.nat(PAGES - 1);
const which = fc.nat(1);
const access = fc.record({ kind: fc.constantFrom('read', 'write', 'call'), page });
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 12, arbitrary: access },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('invlpg'), page }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('map'), page, table: which, to: which, isDirty: fc.boolean() }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('flip'), page, table: which }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('directory'), table: which, isAccessed: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cr3') }) },
);

const entryOf = (page: number, to: number, isDirty: boolean): number =>
  pageInRam(page, to) + 3 + (isDirty ? ACCESSED_AND_DIRTY : 0);

function sourceOf(one: Operation): string {
  switch (one.kind) {
    case 'read':
      return `mov eax, [rbx + ${one.page * 0x1000 + 8}]`;
    case 'write':
      return `mov [rbx + ${one.page * 0x1000 + 8}], eax`;
    case 'call':
      return `lea rdx, [rbx + ${one.page * 0x1000}]\n call rdx`;
    case 'invlpg':
      return `invlpg [rbx + ${one.page * 0x1000}]`;
    case 'map':
      return `mov qword [${(TABLES[one.table] as number) + one.page * 8}], ${entryOf(one.page, one.to, one.isDirty)}`;
    case 'flip':
      return `xor dword [${(TABLES[one.table] as number) + one.page * 8}], ${BETWEEN}`;
    case 'directory':
      return `mov qword [${DIRECTORY}], ${(TABLES[one.table] as number) + 3 + (one.isAccessed ? ACCESSED : 0)}`;
    case 'cr3':
      return 'mov rax, cr3\n mov cr3, rax';
  }
}

const programOf = (operations: readonly Operation[]): string => `bits 64
org 0x100000
  mov rsp, 0x90000
  mov rax, cr3
  mov qword [rax + 8], 0x200003
  mov qword [0x200000], ${DIRECTORY + 3}
  mov qword [${DIRECTORY}], ${TABLES[0] + 3}
  ${pages.map((page) => TABLES.map((table) => `mov qword [${table + 8 * page}], ${entryOf(page, 0, false)}`).join('\n')).join('\n')}
  ${pages.map((page) => `mov byte [${pageInRam(page, 0)}], 0xc3\n mov byte [${pageInRam(page, 1)}], 0xc3`).join('\n')}
  mov rbx, ${FIRST_LINEAR}
  mov ecx, ${TURNS}
again:
  ${operations.map(sourceOf).join('\n  ')}
  dec ecx
  jnz again
  mov al, 0
  out 0xf4, al
`;

interface Entry {
  to: number;
  isDirty: boolean;
}

/** Every access by a translation that the tables contradict, as the filter's titles begin. */
function staleAccesses(operations: readonly Operation[]): string[] {
  const told: string[] = [];
  const tables = TABLES.map(() => Array.from({ length: PAGES }, (): Entry => ({ to: 0, isDirty: false })));
  let directory = 0;
  const tlb = new Map<number, Entry>();
  const use = (kind: 'read' | 'write' | 'call', page: number) => {
    const now = tables[directory]?.[page] as Entry;
    const cached = tlb.get(page);
    // A write to a page that is not dirty yet has to walk.
    if (cached && (kind !== 'write' || cached.isDirty)) {
      if (cached.to !== now.to) told.push(`${kind === 'call' ? 'fetch' : kind} ${page}`);
      return;
    }
    if (kind === 'write') now.isDirty = true;
    tlb.set(page, { ...now });
  };
  const flip = (table: number, page: number) => {
    const entry = tables[table]?.[page] as Entry;
    entry.to = 1 - entry.to;
  };
  for (let turn = 0; turn < TURNS; turn++) {
    for (const one of operations) {
      if (one.kind === 'invlpg') tlb.delete(one.page);
      else if (one.kind === 'cr3') tlb.clear();
      else if (one.kind === 'flip') flip(one.table, one.page);
      else if (one.kind === 'directory') directory = one.table;
      else if (one.kind === 'map')
        Object.assign(tables[one.table]?.[one.page] as Entry, { to: one.to, isDirty: one.isDirty });
      else use(one.kind, one.page);
    }
  }
  return told;
}

const INTERPRETED = { hotAfter: 1_000_000, watchedBlocks: 8 };
const COMPILED = { hotAfter: 1, sampleEvery: 100, watchedBlocks: 8 };
const PATTERN = /: (read|write|fetch) of (0x\w+), /;

async function told(operations: readonly Operation[], hotSpots: HotSpotOptions) {
  const { machine } = await guestFromSource(programOf(operations), { virtualization: 'none', hotSpots });
  const all: string[] = [];
  machine.setFilter('stale-translation', true, ({ title }) => {
    const [, access, address] = PATTERN.exec(title) ?? [];
    all.push(`${access} ${(Number(address) - (Number(address) % 0x1000) - FIRST_LINEAR) / 0x1000}`);
    return false;
  });
  expect(machine.run({ instructions: 1_000_000 })).toMatchObject({ kind: 'exited' });
  return all;
}

test('what is told is what a model of the TLB says, interpreted and compiled', async () => {
  let stale = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 30, size: 'max' }), async (operations) => {
      const expected = staleAccesses(operations);
      stale += expected.length;
      expect(await told(operations, INTERPRETED)).toEqual(expected);
      expect(await told(operations, COMPILED)).toEqual(expected);
    }),
    { seed: 1, numRuns: 40 },
  );
  expect(stale).toBeGreaterThan(1000);
});
test('a table that is read for the first time by the walk of a page that was confirmed before', async () => {
  const read = [
    { kind: 'invlpg', page: 0 },
    { kind: 'read', page: 0 },
  ] as const;
  const operations: Operation[] = [
    ...read,
    { kind: 'directory', table: 1, isAccessed: true },
    ...read,
    { kind: 'flip', page: 0, table: 1 },
    { kind: 'read', page: 0 },
  ];
  expect(staleAccesses(operations)).toHaveLength(TURNS);
  expect(await told(operations, INTERPRETED)).toEqual(staleAccesses(operations));
});
