import { describe, expect, test } from 'vitest';
import { tlbEntries } from '../../engine/inspect/tlb.ts';
import { Access } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { TranslationContext } from '../../engine/mmu/translation-context.ts';
import { InveptType, InvpcidType, InvvpidType } from '../../engine/mmu/translation-control.ts';
import { bootSource } from '../support/source-guests.ts';
import {
  A,
  type Bench,
  bench,
  CR3,
  D,
  enable,
  map,
  P,
  PS,
  RW,
  read64,
  type Tables,
  thrown,
  US,
  write64,
} from './machine.ts';

const LINEAR = 0x40_3000;
/** Of the same table, directory, directory-pointer table and PML4. */
const NEAR = { PTE: 0x40_5000, PDE: 0x60_0000, PDPTE: 0x4000_0000, PML4E: 0x80_0000_0000 };
const LEVELS = ['PML4E', 'PDPTE', 'PDE'] as const;
const PAGE = P | RW | US | A | D;
const PCIDE = 1 << 17;
const PGE = 1 << 7;

/** With LINEAR and its neighbour in the table mapped, LINEAR translated already. */
function warm(cachesStructures = true, mode: PagingMode = PagingMode.Level4): { b: Bench; at: Tables } {
  const b = bench();
  b.mmu.vcpu = new TranslationContext(undefined, cachesStructures);
  enable(b, mode);
  map(b, mode, NEAR.PTE, 0x6000n | PAGE);
  const at = map(b, mode, LINEAR, 0x5000n | PAGE);
  b.mmu.translate(LINEAR, Access.Read);
  return { b, at };
}
const cached = ({ mmu }: Bench, of = 0): string[] =>
  (mmu.tlb.structures?.entries() ?? []).filter(({ pcid }) => pcid === of).map(({ level }) => level);
const read = ({ mmu }: Bench, linear: number): string => thrown(() => mmu.translate(linear, Access.Read));

describe('what a walk passes is cached', () => {
  test('of each level but the last', () => {
    expect(cached(warm().b)).toEqual(['PML4E', 'PDPTE', 'PDE']);
    expect(cached(warm(true, PagingMode.PAE).b)).toEqual(['PDE']);
    expect(cached(warm(true, PagingMode.Bits32).b)).toEqual(['PDE']);
  });
  test('only where the processor has such caches', () => {
    const { b, at } = warm(false);
    write64(b, at.PDE, 0n);
    expect([b.mmu.tlb.structures, read(b, NEAR.PTE)]).toEqual([undefined, '#PF(0)']);
  });
  test('what maps a page is not', () => {
    const { b, at } = warm();
    write64(b, at.PDE + 8, 0x80_0000n | PAGE | PS);
    b.mmu.writeCr3(CR3);
    b.mmu.translate(NEAR.PDE, Access.Read);
    expect(cached(b)).toEqual(['PML4E', 'PDPTE']);
  });
  test('what is not present is not, and after a page fault nothing above it either', () => {
    const { b } = warm();
    expect(read(b, NEAR.PDE)).toBe('#PF(0)');
    expect(cached(b)).toEqual(['PDE']);
  });
  test('its accessed flag is set before', () => {
    const { b, at } = warm();
    expect([at.PML4E, at.PDPTE, at.PDE].map((entry) => read64(b, entry as number) & A)).toEqual([A, A, A]);
  });
});

describe('a walk begins behind the lowest entry that is cached', () => {
  test.each(LEVELS)('a %s that was cleared still serves the page beside', (level) => {
    const { b, at } = warm();
    write64(b, at[level] as number, 0n);
    expect(b.mmu.translate(NEAR.PTE, Access.Read)).toBe(0x6000);
  });
  test.each([PagingMode.PAE, PagingMode.Bits32])('a PDE too, in paging mode %i', (mode) => {
    const { b, at } = warm(true, mode);
    b.memory.writeU32(at.PDE, 0);
    expect(b.mmu.translate(NEAR.PTE, Access.Read)).toBe(0x6000);
  });
  test('where it leads though the tables say otherwise', () => {
    const { b, at } = warm();
    write64(b, at.PDE, 0x7000n | P | RW | US);
    write64(b, 0x7000 + 5 * 8, 0x9000n | PAGE);
    expect(b.mmu.translate(NEAR.PTE, Access.Read)).toBe(0x6000);
    b.mmu.invlpg(NEAR.PTE);
    expect(b.mmu.translate(NEAR.PTE, Access.Read)).toBe(0x9000);
  });
  test('entries above the one that is not cached are not read again', () => {
    const { b, at } = warm();
    write64(b, at.PDE + 8, 0x4000n | P | RW | US);
    write64(b, 0x4000, 0x8000n | PAGE);
    write64(b, at.PML4E as number, 0n);
    expect(b.mmu.translate(NEAR.PDE, Access.Read)).toBe(0x8000);
  });
  test('with the rights it had: what they refuse is a page fault once, as that drops it', () => {
    const { b, at } = warm();
    write64(b, at.PDE, 0x4000n | P | US);
    b.mmu.invlpg(LINEAR);
    b.mmu.translate(LINEAR, Access.Read);
    write64(b, at.PDE, 0x4000n | P | US | RW);
    const write = () => thrown(() => b.mmu.translate(NEAR.PTE, Access.Write));
    expect([write(), write()]).toEqual(['#PF(3)', 'nothing']);
  });
  test('and a peek foresees it', () => {
    const { b, at } = warm();
    write64(b, at.PDE, 0n);
    expect(b.mmu.peekTranslate(NEAR.PTE, Access.Read)).toMatchObject({ physical: 0x6000 });
    expect(cached(b)).toHaveLength(3);
  });
});

describe('what invalidates them', () => {
  const { IndividualAddress, SingleContext, AllContextsRetainingGlobals } = InvpcidType;
  const PCID = 7;
  /** As `warm`, in PCID 7. */
  const inPcid = () => {
    const { b } = warm();
    b.mmu.writeCr4(b.state.cr4 | PCIDE);
    b.mmu.writeCr3(CR3 + PCID);
    b.mmu.translate(LINEAR, Access.Read);
    return b;
  };
  const all = [...LEVELS];
  test.each<[string, (b: Bench) => void, readonly string[]]>([
    ['INVLPG, of whatever address', ({ mmu }) => mmu.invlpg(0x7f_0000_0000), []],
    ['MOV to CR3', ({ mmu }) => mmu.writeCr3(CR3 + PCID), []],
    ['not MOV to CR3 with bit 63', ({ mmu }) => mmu.writeCr3(CR3 + PCID, true), all],
    ['not MOV to CR3 of another PCID', ({ mmu }) => mmu.writeCr3(CR3 + 8), all],
    ['MOV to CR4 that changes PGE', ({ mmu, state }) => mmu.writeCr4(state.cr4 ^ PGE), []],
    ['INVPCID of the address', ({ mmu }) => mmu.invpcid(IndividualAddress, PCID, LINEAR), []],
    ['INVPCID of an address with the same PDPTE', ({ mmu }) => mmu.invpcid(IndividualAddress, PCID, NEAR.PDE), ['PDE']],
    ['INVPCID of an address with another PML4E', ({ mmu }) => mmu.invpcid(IndividualAddress, PCID, NEAR.PML4E), all],
    ['not INVPCID of another PCID', ({ mmu }) => mmu.invpcid(SingleContext, 8, 0), all],
    ['INVPCID of the PCID', ({ mmu }) => mmu.invpcid(SingleContext, PCID, 0), []],
    ['INVPCID of all but global', ({ mmu }) => mmu.invpcid(AllContextsRetainingGlobals, 0, 0), []],
    ['INVVPID of VPID 0', ({ mmu }) => mmu.invvpid(InvvpidType.SingleContext, 0, 0), []],
    ['not INVVPID of all contexts, as VPID 0 is none', ({ mmu }) => mmu.invvpid(InvvpidType.AllContexts, 0, 0), all],
    ['not INVEPT, as EPT had no part in them', ({ mmu }) => mmu.invept(InveptType.AllContexts, 0), all],
    ['VM entry without VPIDs', ({ mmu }) => mmu.enterNonRoot(0, undefined), []],
    ['not VM entry with a VPID', ({ mmu }) => mmu.enterNonRoot(3, undefined), all],
    ['a page fault of the address', (b) => read(b, 0x40_6000), []],
    ['a page fault of an address with the same PML4E', (b) => read(b, NEAR.PDPTE), ['PDPTE', 'PDE']],
  ])('%s', (_name, act, left) => {
    const b = inPcid();
    act(b);
    expect(cached(b, PCID)).toEqual(left);
  });

  test('MOV to CR0 that turns paging off', () => {
    const { b } = warm();
    b.mmu.writeCr0(1);
    expect(cached(b)).toEqual([]);
  });
  test('those of another PCID are not used', () => {
    const b = inPcid();
    b.mmu.writeCr3(0x8000 + 8);
    expect(read(b, NEAR.PTE)).toBe('#PF(0)');
    b.mmu.writeCr3(0x8000 + PCID, true);
    expect(b.mmu.translate(NEAR.PTE, Access.Read)).toBe(0x6000);
  });
  test('room for another one of the level', () => {
    const { b, at } = warm();
    for (let index = 0; index < 40; index++) {
      write64(b, 0x3000 + index * 8, 0x4000n | P | RW | US);
      if (index * 2 ** 21 + 0x3000 !== LINEAR) b.mmu.translate(index * 2 ** 21 + 0x3000, Access.Read);
    }
    expect(cached(b).filter((level) => level === 'PDE')).toHaveLength(32);
    write64(b, at.PDE, 0n);
    expect(read(b, NEAR.PTE)).toBe('#PF(0)');
  });
});

test('they are saved and restored with the TLB', () => {
  const { b, at } = warm();
  const saved = b.mmu.vcpu.save();
  b.mmu.invlpg(LINEAR);
  write64(b, at.PDE, 0n);
  b.mmu.vcpu.restore(saved);
  b.mmu.contextChanged();
  expect(b.mmu.translate(NEAR.PTE, Access.Read)).toBe(0x6000);
});

describe('the view', () => {
  const reasons = (b: Bench) =>
    tlbEntries(b.mmu)
      .filter(({ kind }) => kind === 'paging-structure')
      .map(({ level, stale }) => `${level}: ${stale?.reason ?? 'fresh'}`);
  test.each<[string, (b: Bench, at: Tables) => void, string]>([
    ['nothing', () => {}, 'fresh'],
    ['gone', (b, at) => write64(b, at.PDE, 0n), 'the PDE is not present any more'],
    ['a page', (b, at) => write64(b, at.PDE, 0x80_0000n | PAGE | PS), 'the PDE now maps a page'],
    [
      'another table',
      (b, at) => write64(b, at.PDE, 0x7000n | P | RW | US),
      'the PDE now references the table at 0x7000',
    ],
    ['other rights', (b, at) => write64(b, at.PDE, 0x4000n | P | US), 'the tables now deny writes'],
  ])('tells what changed: %s', (_name, change, expected) => {
    const { b, at } = warm();
    change(b, at);
    expect(reasons(b)).toEqual(['PML4E: fresh', 'PDPTE: fresh', `PDE: ${expected}`]);
  });
  test('shows where an entry leads and what it covers', () => {
    const { b } = warm();
    const entry = tlbEntries(b.mmu).find(({ level }) => level === 'PDE');
    expect(entry).toMatchObject({ page: 0x40_0000, pageBytes: 2 ** 21, physical: 0x4000, usable: true, vpid: 0 });
  });
});

describe('a guest that gives a PDPTE another page directory', () => {
  /** Reads 8 MiB, which the old directory maps to a 1, the new one to a 2. */
  const run = (invalidation: string, pagingStructureCaches: boolean, slice: number) => {
    const { machine } = bootSource(
      `bits 64
org 0x100000
  mov rbx, cr3
  mov rsi, [rbx + 0x1000]
  and rsi, ~0xfff
  mov edi, 0x200000
  mov ecx, 512
  rep movsq
  mov dword [0x200000 + 4 * 8], 0xa00083
  mov rax, [rbx + 0x1000]
  and eax, 0xfff
  or eax, 0x200000
  mov [rbx + 0x1000], rax
  ${invalidation}
  mov al, [0x800000]
  out 0xf4, al`,
      { mode: 'long', cpu: { pagingStructureCaches } },
    );
    machine.vcpus[0]?.poke('guest-physical', 0x80_0000n, Uint8Array.of(1));
    machine.vcpus[0]?.poke('guest-physical', 0xa0_0000n, Uint8Array.of(2));
    let stop = machine.run({ instructions: slice });
    while (stop.kind === 'limit') stop = machine.run({ instructions: slice });
    return stop.kind === 'exited' ? stop.code : stop.kind;
  };
  test.each([
    ['nothing invalidates', '', 1],
    ['INVLPG of another page', 'invlpg [0x700000]', 2],
    ['MOV to CR3', 'mov cr3, rbx', 2],
  ])('%s', (_name, invalidation, expected) => {
    expect(run(invalidation, true, 10_000)).toBe(expected);
    expect(run(invalidation, true, 3)).toBe(expected);
    expect(run(invalidation, false, 10_000)).toBe(2);
  });
});
