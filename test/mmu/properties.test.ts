import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GuestFault, VmExit } from '../../engine/cpu/events.ts';
import { CR0, CR4, EFER } from '../../engine/cpu/register-bits.ts';
import { type LinearAddress, linearAddressOf } from '../../engine/isa/linear-address.ts';
import { Access, MappingFlag, Privilege } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import type { PeekedTranslation } from '../../engine/mmu/peeked-translation.ts';
import { Outcome } from '../../engine/mmu/walk.ts';
import { type Bench, bench, enable, enableEpt, fastLookup, isLong, RAM_BYTES, setCpl, write64 } from './machine.ts';
import { referenceTranslate } from './reference-walk.ts';

/** Tables at 0x1000 to 0x8fff whose entries mostly point at each other, with bits thrown in. */
const TABLE_PAGES = 8;
/** What CR4 has in each mode besides. */
const CR4_OF: readonly number[] = [CR4.PAE, 0, CR4.PAE, CR4.PAE, CR4.PAE | CR4.LA57];

const SLOTS = [0, 1, 2, 3, 511, 1023] as const;

const entryArbitrary = fc.record({
  page: fc.integer({ min: 1, max: 12 }),
  low: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(7n, 0x27n, 0x67n, 0x167n) }, fc.bigInt(0n, 0x1ffn)),
  large: fc.boolean(),
  odd: fc.oneof(
    { weight: 8, arbitrary: fc.constant(0n) },
    fc.constantFrom(1n << 63n, 1n << 39n, 1n << 51n, 1n << 52n, 1n << 13n, 1n << 20n, 1n << 21n, 1n << 29n),
  ),
});
const scenario = fc.record({
  mode: fc.constantFrom(PagingMode.Bits32, PagingMode.PAE, PagingMode.Level4, PagingMode.Level5, PagingMode.None),
  entries: fc.array(entryArbitrary, { minLength: TABLE_PAGES * SLOTS.length, maxLength: TABLE_PAGES * SLOTS.length }),
  pdptes: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
  writeProtect: fc.boolean(),
  controls: fc.array(fc.constantFrom(CR4.SMEP, CR4.SMAP, CR4.PGE, CR4.PSE)),
  noExecute: fc.boolean(),
  alignmentCheck: fc.boolean(),
  ept: fc.option(
    fc.record({
      flags: fc.constantFrom(0x1e, 0x5e),
      damage: fc.array(
        fc.tuple(
          fc.integer({ min: 1, max: 12 }),
          fc.constantFrom(0n, 1n, 2n, 3n, 4n, 5n, 6n, 0x3fn, 0x8000000037n),
          fc.constantFrom(0n, 0x30n),
        ),
        { maxLength: 4 },
      ),
    }),
    { nil: undefined },
  ),
  accesses: fc.array(
    fc.record({
      indices: fc.array(fc.constantFrom(...SLOTS), { minLength: 5, maxLength: 5 }),
      offset: fc.integer({ min: 0, max: 0xfff }),
      access: fc.constantFrom(Access.Read, Access.Write, Access.Execute),
      cpl: fc.constantFrom(0, 3),
    }),
    { minLength: 1, maxLength: 12 },
  ),
});
type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

const shared = bench();

/** Builds the scenario in the one bench, from a clean slate. */
function build(s: Scenario): Bench {
  const b = shared;
  b.memory.bytes.fill(0, 0, 0x20_000);
  b.state.nonRoot = 0;
  b.mmu.reset();
  const wide = s.mode !== PagingMode.Bits32;
  s.entries.forEach(({ page, low, large, odd }, i) => {
    const table = 0x1000 * (1 + Math.floor(i / SLOTS.length));
    const slot = SLOTS[i % SLOTS.length] ?? 0;
    const bits = (low & ~0x80n) | (large ? 0x80n : 0n);
    // Large pages need an aligned address, or most would only show reserved bits.
    const address = large && odd === 0n ? 0n : BigInt(page) * 0x1000n;
    if (wide) write64(b, table + (slot & 511) * 8, address | bits | odd);
    else b.memory.writeU32(table + slot * 4, Number((address | bits | odd) & 0xffff_ffffn));
  });
  b.state.cpl = 0;
  b.state.cr0 = CR0.PE;
  enable(b, PagingMode.None);
  s.pdptes.forEach((present, i) => {
    b.mmu.vcpu.pdptes[i] = 0x2000 + i * 0x1000 + (present ? 1 : 0);
  });
  const { state } = b;
  state.cr3 = 0x1000;
  state.cr4 = s.controls.reduce((all, one) => all | one, CR4_OF[s.mode] as number) >>> 0;
  state.efer = (s.noExecute ? EFER.NXE : 0) | (isLong(s.mode) ? EFER.LME | EFER.LMA : 0);
  state.cr0 = (CR0.PE | (s.writeProtect ? CR0.WP : 0) | (s.mode === PagingMode.None ? 0 : CR0.PG)) >>> 0;
  state.flagsOther = s.alignmentCheck ? 2 | (1 << 18) : 2;
  if (s.ept) {
    const eptEntry = enableEpt(b, 1, s.ept.flags);
    for (const [page, rights, type] of s.ept.damage)
      write64(b, eptEntry(page * 0x1000), BigInt(page * 0x1000) | rights | type);
  }
  b.mmu.contextChanged();
  return b;
}

function linearOf(mode: PagingMode, indices: readonly number[], offset: number): LinearAddress {
  const [a = 0, c = 0, d = 0, e = 0, first = 0] = indices;
  if (mode === PagingMode.None) return (d & 3) * 0x4000 + offset;
  if (mode === PagingMode.Bits32) return a * 2 ** 22 + c * 0x1000 + offset;
  if (mode === PagingMode.PAE) return (a & 3) * 2 ** 30 + (c & 511) * 2 ** 21 + (d & 511) * 0x1000 + offset;
  const bits = (a & 511) * 2 ** 39 + (c & 511) * 2 ** 30 + (d & 511) * 2 ** 21 + (e & 511) * 0x1000 + offset;
  if (mode === PagingMode.Level4) return bits >= 2 ** 47 ? bits - 2 ** 48 : bits;
  return linearAddressOf(BigInt.asIntN(57, (BigInt(first & 511) << 48n) | BigInt(bits)));
}

function actual(run: () => number): string {
  try {
    return `0x${run().toString(16)}`;
  } catch (error) {
    if (error instanceof GuestFault) return `#PF(${error.errorCode})`;
    if (!(error instanceof VmExit)) throw error;
    if (error.reason === 49) return `exit 49 ${error.guestPhysical}`;
    return `exit 48 ${error.qualification} ${error.guestPhysical}`;
  }
}

function inWords(peek: PeekedTranslation): string {
  switch (peek.outcome) {
    case Outcome.Mapped:
      return `0x${peek.physical?.toString(16)}`;
    case Outcome.PageFault:
      return `#PF(${peek.errorCode})`;
    case Outcome.EptMisconfiguration:
      return `exit 49 ${peek.guestPhysical}`;
    default:
      return `exit 48 ${peek.qualification} ${peek.guestPhysical}`;
  }
}

const runs = { numRuns: 1500, seed: 20240521 };

describe('random tables', () => {
  it('translate and peekTranslate agree with a reference walk', () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(scenario, (s) => {
        const b = build(s);
        for (const { indices, offset, access, cpl } of s.accesses) {
          const linear = linearOf(s.mode, indices, offset);
          setCpl(b, cpl);
          const expected = referenceTranslate(b, linear, access, cpl === 3);
          outcomes.set(expected.slice(0, 7), (outcomes.get(expected.slice(0, 7)) ?? 0) + 1);
          expect(inWords(b.mmu.peekTranslate(linear, access, Privilege.Current, { mode: 'walk' }))).toBe(expected);
          expect(actual(() => b.mmu.translate(linear, access))).toBe(expected);
          // Nothing stale from one access to the next: each is held against the tables as they are.
          b.mmu.tlb.linear.dropAll({});
          b.mmu.tlb.guestPhysical.dropAll({});
        }
      }),
      runs,
    );
    // The scenarios must reach every kind of end, or they would prove little.
    for (const kind of ['0x', '#PF(0)', '#PF(1', '#PF(3)', '#PF(7)', '#PF(9)', '#PF(11)', 'exit 48', 'exit 49']) {
      const count = [...outcomes].filter(([key]) => key.startsWith(kind)).reduce((sum, [, n]) => sum + n, 0);
      expect(count, kind).toBeGreaterThan(10);
    }
  });

  it('with a warm TLB, translate does what peekTranslate said it would', () => {
    fc.assert(
      fc.property(scenario, (s) => {
        const b = build(s);
        for (const { indices, offset, access, cpl } of [...s.accesses, ...s.accesses]) {
          const linear = linearOf(s.mode, indices, offset);
          setCpl(b, cpl);
          const expected = inWords(b.mmu.peekTranslate(linear, access));
          expect(actual(() => b.mmu.translate(linear, access))).toBe(expected);
        }
      }),
      runs,
    );
  });

  it('the fast TLB is a subset of what the architectural TLB allows', () => {
    let checked = 0;
    fc.assert(
      fc.property(scenario, (s) => {
        const b = build(s);
        for (const { indices, offset, access, cpl } of s.accesses) {
          const linear = linearOf(s.mode, indices, offset & ~7);
          setCpl(b, cpl);
          const isWrite = access === Access.Write;
          if (isWrite) actual(() => Number(b.mmu.writeU8(linear, 0x67)));
          else actual(() => b.mmu.readU8(linear));
          if (fastLookup(b, linear, 1, isWrite) === undefined) continue;
          const peek = b.mmu.peekTranslate(linear, isWrite ? Access.Write : Access.Read);
          expect(peek.outcome).toBe(Outcome.Mapped);
        }
        for (const entry of b.mmu.fast.entries()) {
          checked++;
          expect(entry.physical).toBeLessThan(RAM_BYTES);
          if (s.mode === PagingMode.None) continue;
          const mapping = b.mmu.cachedMapping(entry.page);
          expect(mapping && mapping.physical + (entry.page - mapping.page)).toBe(entry.physical);
          if (entry.write) expect((mapping?.flags ?? 0) & MappingFlag.Dirty).toBe(MappingFlag.Dirty);
        }
      }),
      runs,
    );
    expect(checked).toBeGreaterThan(1000);
  });
});
