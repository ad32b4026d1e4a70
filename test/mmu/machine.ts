/** A bare CPU state, memory and MMU, and helpers that build paging structures by the manual's formats. */

import { GuestFault, Vector, VmExit } from '../../engine/cpu/events.ts';
import { FAST_TLB_ENTRIES, FAST_TLB_INDEX_BITS, RAM_ADDRESS } from '../../engine/cpu/memory-map.ts';
import { CR0, CR4, EFER } from '../../engine/cpu/register-bits.ts';
import { CpuState } from '../../engine/cpu/state.ts';
import { type LinearAddress, low32 } from '../../engine/isa/linear-address.ts';
import { Mmu } from '../../engine/mmu/mmu.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { PhysicalMemory } from '../../engine/mmu/physical-memory.ts';

export const RAM_BYTES = 0x100_0000;
export const MODES = [PagingMode.Bits32, PagingMode.PAE, PagingMode.Level4, PagingMode.Level5] as const;

export const isLong = (mode: PagingMode): boolean => mode === PagingMode.Level4 || mode === PagingMode.Level5;

/** Entry bits, as the manual's figures have them. */
export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const A = 1n << 5n;
export const D = 1n << 6n;
export const PS = 1n << 7n;
export const G = 1n << 8n;
export const XD = 1n << 63n;
export const R = 1n;
export const W = 2n;
export const X = 4n;
export const RWX = 7n;
export const WB = 6n << 3n;

export interface Bench {
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  readonly mmu: Mmu;
  readonly buffer: ArrayBuffer;
}

export function bench(ramBytes = RAM_BYTES): Bench {
  const buffer = new ArrayBuffer(RAM_ADDRESS + ramBytes);
  const state = new CpuState(buffer);
  state.flagsOther = 2;
  const memory = new PhysicalMemory(buffer, ramBytes);
  return { state, memory, mmu: new Mmu(state, memory), buffer };
}

export const CR3 = 0x1000;

/** Turns the paging mode on, with CR3 at 0x1000, CR0.WP and NXE set, at CPL 0. */
export function enable(b: Bench, mode: PagingMode): void {
  const { mmu, state } = b;
  mmu.writeEfer(isLong(mode) ? EFER.NXE | EFER.LME | EFER.LMA : mode === PagingMode.PAE ? EFER.NXE : 0);
  const pae = mode === PagingMode.Level5 ? CR4.PAE | CR4.LA57 : CR4.PAE;
  mmu.writeCr4((mode === PagingMode.Bits32 ? CR4.PSE : pae) | CR4.PGE);
  mmu.writeCr3(CR3);
  mmu.writeCr0(mode === PagingMode.None ? CR0.PE : (CR0.PE | CR0.WP | CR0.PG) >>> 0);
  setCpl(b, 0);
  state.activityState = 0;
}

export function setCpl({ state, mmu }: Bench, cpl: number): void {
  state.cpl = cpl;
  mmu.privilegeChanged();
}

export const write64 = ({ memory }: Bench, address: number, value: bigint): void => memory.writeU64(address, value);
export const read64 = ({ memory }: Bench, address: number): bigint => memory.readU64(address);

/** Where `map` puts the tables: entry addresses by level name, for the tests to change them. */
export interface Tables {
  PML5E?: number;
  PML4E?: number;
  PDPTE?: number;
  PDE: number;
  PTE: number;
}

const TABLE_RIGHTS = P | RW | US;
const PML4_OF_FIVE = 0xf000;

/**
 * Maps one 4-KByte page in the mode, through tables at 0x1000 (CR3), 0xf000 (between the first and the next if there are
 * five), 0x2000, 0x3000 and 0x4000 whose entries allow everything; `entry` is the PTE. Returns the addresses of the entries.
 */
export function map(b: Bench, mode: PagingMode, linear: LinearAddress, entry: bigint): Tables {
  const bits = BigInt.asUintN(57, BigInt(linear));
  const index = (shift: bigint, mask: bigint) => Number((bits >> shift) & mask);
  if (mode === PagingMode.Bits32) {
    const at = { PDE: CR3 + index(22n, 0x3ffn) * 4, PTE: 0x4000 + index(12n, 0x3ffn) * 4 };
    b.memory.writeU32(at.PDE, Number(0x4000n | TABLE_RIGHTS));
    b.memory.writeU32(at.PTE, Number(entry));
    return at;
  }
  const at: Tables = { PDE: 0x3000 + index(21n, 0x1ffn) * 8, PTE: 0x4000 + index(12n, 0x1ffn) * 8 };
  if (mode === PagingMode.PAE) {
    at.PDPTE = CR3 + index(30n, 3n) * 8;
    write64(b, at.PDPTE, 0x3000n | P);
    b.mmu.vcpu.pdptes[index(30n, 3n)] = Number(0x3000n | P);
  } else {
    if (mode === PagingMode.Level5) {
      at.PML5E = CR3 + index(48n, 0x1ffn) * 8;
      write64(b, at.PML5E, BigInt(PML4_OF_FIVE) | TABLE_RIGHTS);
    }
    at.PML4E = (mode === PagingMode.Level5 ? PML4_OF_FIVE : CR3) + index(39n, 0x1ffn) * 8;
    at.PDPTE = 0x2000 + index(30n, 0x1ffn) * 8;
    write64(b, at.PML4E, 0x2000n | TABLE_RIGHTS);
    write64(b, at.PDPTE, 0x3000n | TABLE_RIGHTS);
  }
  write64(b, at.PDE, 0x4000n | TABLE_RIGHTS);
  write64(b, at.PTE, entry);
  return at;
}

/** What a function throws, in short: `#PF(code)`, `#GP(0)`, `exit 48`; 'nothing' if it returns. */
export function thrown(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof GuestFault) {
      const name = Object.entries(Vector).find(([, vector]) => vector === error.vector)?.[0];
      return `#${name}(${error.errorCode})`;
    }
    if (error instanceof VmExit) return `exit ${error.reason}`;
    throw error;
  }
  return 'nothing';
}

/** The VM exit that a function throws. */
export function exitOf(run: () => unknown): VmExit {
  try {
    run();
  } catch (error) {
    if (error instanceof VmExit) return error;
    throw error;
  }
  throw new Error('expected a VM exit, found none');
}

/** What compiled code does with the fast TLB: the wasm address for an access, or undefined for a miss. */
export function fastLookup(b: Bench, linear: LinearAddress, sizeBytes: number, isWrite: boolean): number | undefined {
  const view = new DataView(b.buffer);
  const page = Number((BigInt.asUintN(32, BigInt(linear)) >> 12n) & 0xf_ffffn);
  const index = (page ^ (page >>> FAST_TLB_INDEX_BITS)) % FAST_TLB_ENTRIES;
  const entry = b.state.tlbBase + index * 32;
  const tag = view.getBigInt64(entry + (isWrite ? 8 : 0), true);
  if (BigInt.asIntN(64, (BigInt(linear) + BigInt(sizeBytes - 1)) & ~0xfffn) !== tag) return undefined;
  return ((low32(linear) | 0) + view.getInt32(entry + 16, true)) >>> 0;
}

/**
 * Builds identity EPT tables for the RAM with 4-KByte pages (PML4 at 0x80_0000) and turns EPT on. Returns the address
 * of the EPT entry for a guest-physical address, for the tests to change it.
 */
export const EPT_ROOT = 0x80_0000;
export function enableEpt(b: Bench, vpid = 1, flags = 0x1e): (guestPhysical: number) => number {
  write64(b, EPT_ROOT, BigInt(EPT_ROOT + 0x1000) | RWX);
  write64(b, EPT_ROOT + 0x1000, BigInt(EPT_ROOT + 0x2000) | RWX);
  for (let table = 0; table < RAM_BYTES / 0x20_0000; table++) {
    const base = EPT_ROOT + 0x3000 + table * 0x1000;
    write64(b, EPT_ROOT + 0x2000 + table * 8, BigInt(base) | RWX);
    for (let i = 0; i < 512; i++) write64(b, base + i * 8, BigInt(table * 0x20_0000 + i * 0x1000) | RWX | WB);
  }
  b.state.nonRoot = 1;
  b.mmu.enterNonRoot(vpid, EPT_ROOT | flags);
  return (guestPhysical) =>
    EPT_ROOT + 0x3000 + Math.floor(guestPhysical / 0x20_0000) * 0x1000 + (Math.floor(guestPhysical / 0x1000) % 512) * 8;
}
