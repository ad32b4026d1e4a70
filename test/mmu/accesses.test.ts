import { describe, expect, it } from 'vitest';
import { CR0 } from '../../engine/cpu/register-bits.ts';
import { CS } from '../../engine/cpu/state.ts';
import { Privilege } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { A, bench, D, enable, map, P, RAM_BYTES, RW, setCpl, thrown, write64 } from './machine.ts';

const LINEAR = 0x40_0000;
const AC = 1 << 18;

/** Two neighbouring pages that lie apart in physical memory. */
function twoPages(second = 0xb000n | P | RW) {
  const b = bench();
  const at = map(b, PagingMode.Level4, LINEAR, 0x9000n | P | RW);
  write64(b, at.PTE + 8, second);
  enable(b, PagingMode.Level4);
  return { ...b, at };
}

describe('accesses that cross a page', () => {
  it.each([2, 4, 8])('%i bytes are written and read in both pages', (size) => {
    for (let before = 1; before < size; before++) {
      const { mmu, memory } = twoPages();
      const at = LINEAR + 0x1000 - before;
      if (size === 2) mmu.writeU16(at, 0xa1b2);
      else if (size === 4) mmu.writeU32(at, 0xf1e2_d3c4);
      else mmu.writeU64(at, 0x8899_aabb_ccdd_eeffn);
      const expected = size === 2 ? 0xa1b2n : size === 4 ? 0xf1e2_d3c4n : 0x8899_aabb_ccdd_eeffn;
      let value = 0n;
      for (let i = 0; i < size; i++) {
        const physical = i < before ? 0xa000 - before + i : 0xb000 + i - before;
        value |= BigInt(memory.readU8(physical)) << BigInt(8 * i);
      }
      expect(value).toBe(expected);
      const read = size === 2 ? mmu.readU16(at) : size === 4 ? mmu.readU32(at) : mmu.readU64(at);
      expect(BigInt(read)).toBe(expected);
    }
  });

  it('a write whose second page faults writes nothing and sets no dirty flag', () => {
    const b = twoPages(0xb000n | P);
    expect(thrown(() => b.mmu.writeU32(LINEAR + 0xffe, 0xffff_ffff))).toBe('#PF(3)');
    expect(b.memory.readU16(0x9ffe)).toBe(0);
    expect(b.memory.readU32(b.at.PTE) & Number(D)).toBe(0);
  });

  it('the fault reports the page that faults', () => {
    const b = twoPages(0n);
    try {
      b.mmu.readU32(LINEAR + 0xffe);
      expect.unreachable();
    } catch (fault) {
      expect(fault).toMatchObject({ vector: 14, errorCode: 0, linear: LINEAR + 0x1000 });
    }
  });

  it('linear addresses wrap at 4 GBytes outside 64-bit mode', () => {
    const b = bench();
    b.memory.writeU8(0, 0x5a);
    b.memory.bus = { read: () => 0x11, write: () => {}, peek: () => 0x11 };
    expect(b.mmu.readU16(0xffff_ffff)).toBe(0x5a11);
  });
});

describe('probeWrite', () => {
  it('raises what a write would, in any page of the range, and has no effect', () => {
    const b = twoPages(0xb000n | P);
    expect(thrown(() => b.mmu.probeWrite(LINEAR, 0x1000))).toBe('nothing');
    expect(b.memory.readU32(b.at.PTE) & Number(A | D)).toBe(0);
    expect(thrown(() => b.mmu.probeWrite(LINEAR, 0x1001))).toBe('#PF(3)');
    expect(thrown(() => b.mmu.probeWrite(LINEAR, 1, Privilege.User))).toBe('#PF(7)');
    expect(thrown(() => b.mmu.probeRead(LINEAR, 0x2001))).toBe('#PF(0)');
  });
});

describe('values', () => {
  it('readLinearNumber64 is signed', () => {
    const b = twoPages();
    b.mmu.writeU64(LINEAR, 0xffff_8000_0000_1000n);
    expect(b.mmu.readLinearNumber64(LINEAR)).toBe(-0x7fff_ffff_f000);
    b.mmu.writeU64(LINEAR + 0xffc, 0xffff_ffff_ffff_fffen);
    expect(b.mmu.readLinearNumber64(LINEAR + 0xffc)).toBe(-2);
  });
  it('MMIO goes to the bus, 64 bits as two accesses', () => {
    const b = twoPages(BigInt(RAM_BYTES) | P | RW);
    const log: unknown[] = [];
    b.memory.bus = {
      read: (address, size) => log.push(['read', address, size]) * 0 + 7,
      write: (address, size, value) => void log.push(['write', address, size, value]),
      peek: () => 9,
    };
    expect(b.mmu.readU64(LINEAR + 0x1010)).toBe(0x7_0000_0007n);
    b.mmu.writeU32(LINEAR + 0x1008, 0xffff_fffe);
    expect(log).toEqual([
      ['read', RAM_BYTES + 0x10, 4],
      ['read', RAM_BYTES + 0x14, 4],
      ['write', RAM_BYTES + 8, 4, 0xffff_fffe],
    ]);
    expect([...b.mmu.peek(LINEAR + 0x1000, 2)]).toEqual([9, 9]);
    expect(log).toHaveLength(3);
  });
});

describe('peek and poke', () => {
  it('read and write across pages, up to what is not mapped, with no effects', () => {
    const b = twoPages(0xb000n | P);
    expect(b.mmu.poke(LINEAR + 0xffe, Uint8Array.of(1, 2, 3, 4))).toBe(4);
    expect(b.memory.readU16(0xb000)).toBe(0x0403);
    expect([...b.mmu.peek(LINEAR + 0xffd, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
    expect(b.mmu.peek(LINEAR + 0x1ffe, 6)).toHaveLength(2);
    expect(b.mmu.tlb.linear.size).toBe(0);
    expect(b.memory.readU32(b.at.PTE) & Number(A | D)).toBe(0);
  });
});

it('alignment is checked of canonical addresses, before their pages are looked at, as a real CPU does', () => {
  const b = twoPages();
  b.mmu.writeCr0((CR0.PE | CR0.PG | CR0.AM) >>> 0);
  b.state.flagsOther = 2 | AC;
  b.state.segment(CS).attributes = 0xa0fb;
  setCpl(b, 3);
  const faultAt = (linear: number) => thrown(() => b.mmu.readU32(linear));
  expect([LINEAR + 2, 2 ** 47 - 6, 2 ** 47 - 8].map(faultAt)).toEqual(['#AC(0)', '#AC(0)', '#PF(4)']);
  expect([2 ** 47 + 1, 2 ** 47 - 2].map(faultAt)).toEqual(['#GP(0)', '#GP(0)']);
});
