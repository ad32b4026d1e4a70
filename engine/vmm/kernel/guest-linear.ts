/**
 * Accesses through the guest's segments and page tables, as an instruction that the hypervisor carries out for it makes
 * them: to the guest's memory, or to a device where there is no memory. Faults are the guest's and are thrown.
 */

import { isCanonical, withinLimit } from '../../cpu/access.ts';
import { GP, GuestFault, SS_ } from '../../cpu/events.ts';
import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import { FS, SS } from '../../cpu/state.ts';
import { type LinearAddress, linearAddressOf, low32, offsetInPage, plus } from '../../isa/linear-address.ts';
import type { Alignment } from '../../isa/operation.ts';
import type { OracleAccess } from '../../isa/oracle.ts';
import { Access } from '../../mmu/access.ts';
import { type GuestPaging, pagingOf } from './guest-memory.ts';
import type { KernelParts } from './virtual-cpu.ts';

/** A part of an access that lies in one page. */
interface Piece {
  readonly guestPhysical: number;
  /** Offset in the access. */
  readonly at: number;
  readonly bytes: number;
}

export class GuestLinear {
  readonly #parts: KernelParts;
  readonly #paging: GuestPaging;
  readonly #is64Bit: boolean;

  constructor(parts: KernelParts) {
    this.#parts = parts;
    this.#paging = pagingOf(parts.guest);
    this.#is64Bit = parts.guest.is64Bit;
  }

  read(access: OracleAccess): bigint {
    let value = 0n;
    for (const piece of this.#pieces(access, access.forWrite ? Access.Write : Access.Read)) {
      value |= this.#readPhysical(piece.guestPhysical, piece.bytes) << BigInt(piece.at * 8);
    }
    return value;
  }
  write(access: OracleAccess, value: bigint): void {
    for (const { guestPhysical, at, bytes } of this.#pieces(access, Access.Write)) {
      this.#writePhysical(guestPhysical, bytes, BigInt.asUintN(bytes * 8, value >> BigInt(at * 8)));
    }
  }
  /** Faults as a write would. */
  probe(access: OracleAccess): void {
    this.#pieces(access, Access.Write);
  }

  /** Bytes of code from a RIP on; fewer if the next page cannot be fetched. Device memory holds no code. */
  fetch(rip: LinearAddress, count: number, codeBase: LinearAddress): Uint8Array {
    const linear = this.#is64Bit ? rip : low32(plus(codeBase, rip));
    const inFirst = Math.min(count, PAGE_BYTES - offsetInPage(linear));
    const first = this.#fetchPage(linear, inFirst);
    if (inFirst === count || first.length === 0) return first;
    try {
      return Uint8Array.of(...first, ...this.#fetchPage(plus(linear, inFirst), count - inFirst));
    } catch (fault) {
      // Only an instruction that does reach into the page faults; the decoder will tell.
      if (fault instanceof GuestFault) return first;
      throw fault;
    }
  }
  #fetchPage(linear: LinearAddress, count: number): Uint8Array {
    const { memory } = this.#parts;
    const physical = this.#translate(linear, Access.Execute);
    if (!memory.contains(physical, count)) return new Uint8Array(0);
    return memory.physical.bytes.subarray(memory.hostAddress(physical), memory.hostAddress(physical) + count);
  }

  #pieces({ segment, offset, bytes, alignment }: OracleAccess, access: Access): Piece[] {
    const linear = this.#linear(segment, offset, bytes, alignment);
    const inFirst = Math.min(bytes, PAGE_BYTES - offsetInPage(linear));
    const first = { guestPhysical: this.#translate(linear, access), at: 0, bytes: inFirst };
    if (inFirst === bytes) return [first];
    const second = this.#translate(plus(linear, inFirst), access);
    return [first, { guestPhysical: second, at: inFirst, bytes: bytes - inFirst }];
  }

  #translate(linear: LinearAddress, access: Access): number {
    return this.#parts.memory.translate(this.#paging, linear, access);
  }

  #linear(index: number, offset: bigint, bytes: number, alignment: Alignment | undefined): LinearAddress {
    const segment = this.#parts.guest.segment(index);
    const fault = () => (index === SS ? SS_(0) : GP(0));
    if (this.#is64Bit) {
      const base = index >= FS ? BigInt(segment.base) : 0n;
      const linear = linearAddressOf(base + offset);
      if (isMisaligned(base + offset, alignment)) throw GP(0);
      const { state } = this.#parts;
      if (!isCanonical(state, linear) || !isCanonical(state, plus(linear, bytes - 1))) throw fault();
      return linear;
    }
    if (!withinLimit(segment, Number(offset), bytes)) throw fault();
    if (isMisaligned(BigInt(segment.base) + offset, alignment)) throw GP(0);
    return low32(plus(segment.base, linearAddressOf(offset)));
  }

  #readPhysical(guestPhysical: number, bytes: number): bigint {
    const { memory, userHalf } = this.#parts;
    let value = 0n;
    const inMemory = memory.contains(guestPhysical, bytes);
    forEachPart(bytes, inMemory, (at, size) => {
      const part = inMemory
        ? BigInt(memory.physical.readU8(memory.hostAddress(guestPhysical + at)))
        : BigInt(userHalf.readMemory(guestPhysical + at, size));
      value |= part << BigInt(at * 8);
    });
    return value;
  }

  #writePhysical(guestPhysical: number, bytes: number, value: bigint): void {
    const { memory, userHalf } = this.#parts;
    const inMemory = memory.contains(guestPhysical, bytes);
    forEachPart(bytes, inMemory, (at, size) => {
      const part = Number(BigInt.asUintN(size * 8, value >> BigInt(at * 8)));
      if (inMemory) memory.physical.writeU8(memory.hostAddress(guestPhysical + at), part);
      else userHalf.writeMemory(guestPhysical + at, size, part);
    });
  }
}

const isMisaligned = (linear: bigint, alignment: Alignment | undefined): boolean =>
  alignment !== undefined && linear % BigInt(alignment) !== 0n;

/** Devices take 4, 2 or 1 bytes at a time; memory is written byte by byte. */
function forEachPart(bytes: number, byByte: boolean, visit: (at: number, size: number) => void): void {
  for (let at = 0; at < bytes; ) {
    const left = bytes - at;
    const size = byByte || left < 2 ? 1 : left < 4 ? 2 : 4;
    visit(at, size);
    at += size;
  }
}
