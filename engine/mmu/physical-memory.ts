/**
 * Host-physical memory: RAM in the wasm memory, MMIO through handlers. `read`/`write` have side effects on devices,
 * `peek`/`poke` have none (and see only RAM and what a device allows to be peeked).
 */

import { PAGE_BYTES, PAGE_TABLES_ADDRESS, RAM_ADDRESS, RAM_BYTES_ADDRESS } from '../cpu/memory-map.ts';
import { type LinearAddress, linearAddressOf, readLinearAddress, writeLinearAddress } from '../isa/linear-address.ts';

/** RAM ends below 2^32, so its page numbers come from 32-bit shifts. */
const PAGE_SHIFT = 12;

/** The tables of RAM pages, a byte for each page, one after the other. */
export const PAGE_TABLE = { code: 0, dirty: 1, watched: 2 } as const;

/** What is watched of a RAM page: accesses, for the debugger; writes to it, as it holds paging structures. */
export const WATCH = { READ: 1, WRITE: 2, TABLE: 8 } as const;
/** Why writes to a page are told. Compiled code looks at bit 0, which is set if there is any reason. */
export const TOLD = { ANY: 1, CODE: 2, MONITORED: 4 } as const;

/** What answers for physical addresses outside RAM. Sizes 1, 2 or 4 bytes; addresses are host-physical. */
export interface MmioBus {
  read(address: number, sizeBytes: number): number;
  write(address: number, sizeBytes: number, value: number): void;
  peek(address: number, sizeBytes: number): number;
}

/** An address space with nothing behind it: reads give ones, writes vanish. */
const emptyBus: MmioBus = {
  read: (_address, sizeBytes) => ones(sizeBytes),
  write: () => {},
  peek: (_address, sizeBytes) => ones(sizeBytes),
};

const ones = (sizeBytes: number): number => (sizeBytes >= 4 ? 0xffff_ffff : 2 ** (sizeBytes * 8) - 1);

/** The memory that walks read paging-structure entries from, and set their flags in; its RAM, where that is at hand. */
export type EntryMemory = Pick<PhysicalMemory, 'readU32' | 'peekU32' | 'writeU32'> &
  Partial<Pick<PhysicalMemory, 'view' | 'ramBytes'>>;

export class PhysicalMemory {
  readonly ramBytes: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  bus: MmioBus = emptyBus;
  /** Not 0 for each RAM page whose writes must be told: it holds decoded code, or a line that MONITOR monitors. */
  readonly codePages: Uint8Array;
  /** Called before a write to a code page takes effect; set by the code cache. Offsets in bytes. */
  onCodeWrite: (address: number, lengthBytes: number) => void = () => {};
  /** Called before a write to a page with a monitored line takes effect. Offsets in bytes. */
  onMonitoredWrite: (address: number, lengthBytes: number) => void = () => {};
  /** 1 for each RAM page written since the last snapshot. */
  readonly dirtyPages: Uint8Array;
  /** WATCH bits for each RAM page. */
  readonly watchedPages: Uint8Array;
  /** Called before a write to a page whose writes are watched, whoever makes it. */
  onWatchedWrite: (address: number, lengthBytes: number) => void = () => {};

  /** The same for a page with paging structures, while somebody wants to know of these. */
  onTableWrite: (address: number, lengthBytes: number) => void = () => {};

  constructor(buffer: ArrayBuffer, ramBytes: number) {
    this.ramBytes = ramBytes;
    this.view = new DataView(buffer, RAM_ADDRESS, ramBytes);
    this.bytes = new Uint8Array(buffer, RAM_ADDRESS, ramBytes);
    const pages = Math.ceil(ramBytes / PAGE_BYTES);
    const at = RAM_ADDRESS + pages * PAGE_BYTES;
    const isInside = buffer.byteLength >= RAM_ADDRESS + PhysicalMemory.bytesFor(ramBytes);
    const table = (index: number) =>
      isInside ? new Uint8Array(buffer, at + index * pages, pages) : new Uint8Array(pages);
    this.codePages = table(PAGE_TABLE.code);
    this.dirtyPages = table(PAGE_TABLE.dirty);
    this.watchedPages = table(PAGE_TABLE.watched);
    const common = new DataView(buffer);
    common.setUint32(RAM_BYTES_ADDRESS, ramBytes, true);
    common.setUint32(PAGE_TABLES_ADDRESS, isInside ? at : 0, true);
  }

  /** Bytes of the wasm memory that RAM takes, with the tables of its pages behind it. */
  static bytesFor(ramBytes: number): number {
    return Math.ceil(ramBytes / PAGE_BYTES) * (PAGE_BYTES + Object.keys(PAGE_TABLE).length);
  }

  isRam(address: number, lengthBytes = 1): boolean {
    return address >= 0 && address + lengthBytes <= this.ramBytes;
  }

  /** Marks a write to RAM: dirty for snapshots, and decoded code under it is invalidated. */
  touch(address: number, lengthBytes: number): void {
    const first = address >>> PAGE_SHIFT;
    const last = (address + lengthBytes - 1) >>> PAGE_SHIFT;
    for (let page = first; page <= last; page++) {
      this.dirtyPages[page] = 1;
      const told = this.codePages[page] as number;
      if (told & TOLD.CODE) this.onCodeWrite(address, lengthBytes);
      if (told & TOLD.MONITORED) this.onMonitoredWrite(address, lengthBytes);
      const watched = this.watchedPages[page] as number;
      if (watched & WATCH.WRITE) this.onWatchedWrite(address, lengthBytes);
      if (watched & WATCH.TABLE) this.onTableWrite(address, lengthBytes);
    }
  }

  /** Writes to a RAM page are to be told from now on for this reason, or no more; the fast TLB is the caller's matter. */
  tellWrites(page: number, reason: number, isTold: boolean): void {
    const others = (this.codePages[page] as number) & ~(reason | TOLD.ANY);
    const reasons = isTold ? others | reason : others;
    this.codePages[page] = reasons === 0 ? 0 : reasons | TOLD.ANY;
  }

  readU8(address: number): number {
    return this.isRam(address) ? this.view.getUint8(address) : this.bus.read(address, 1);
  }
  readU16(address: number): number {
    return this.isRam(address, 2) ? this.view.getUint16(address, true) : this.bus.read(address, 2);
  }
  readU32(address: number): number {
    return this.isRam(address, 4) ? this.view.getUint32(address, true) : this.bus.read(address, 4);
  }
  readU64(address: number): bigint {
    if (this.isRam(address, 8)) return this.view.getBigUint64(address, true);
    return BigInt(this.bus.read(address, 4) >>> 0) | (BigInt(this.bus.read(address + 4, 4) >>> 0) << 32n);
  }
  /** 64 bits as an address. */
  readLinearAddress(address: number): LinearAddress {
    if (this.isRam(address, 8)) return readLinearAddress(this.view, address);
    return linearAddressOf(this.readU64(address));
  }
  writeU8(address: number, value: number): void {
    if (!this.isRam(address)) {
      this.bus.write(address, 1, value);
      return;
    }
    this.touch(address, 1);
    this.view.setUint8(address, value);
  }
  writeU16(address: number, value: number): void {
    if (!this.isRam(address, 2)) {
      this.bus.write(address, 2, value);
      return;
    }
    this.touch(address, 2);
    this.view.setUint16(address, value, true);
  }
  writeU32(address: number, value: number): void {
    if (!this.isRam(address, 4)) {
      this.bus.write(address, 4, value >>> 0);
      return;
    }
    this.touch(address, 4);
    this.view.setUint32(address, value, true);
  }
  writeU64(address: number, value: bigint): void {
    if (!this.isRam(address, 8)) {
      this.bus.write(address, 4, Number(value & 0xffff_ffffn));
      this.bus.write(address + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
      return;
    }
    this.touch(address, 8);
    this.view.setBigUint64(address, value, true);
  }
  /** Stores an address, or another integer number, as 64 bits in two's complement. */
  writeLinearAddress(address: number, value: LinearAddress): void {
    if (!this.isRam(address, 8)) {
      this.writeU64(address, BigInt.asUintN(64, BigInt(value)));
      return;
    }
    this.touch(address, 8);
    writeLinearAddress(this.view, address, value);
  }

  /** 32 bits as `readU32` would read them, without the side effects a device may have. */
  peekU32(address: number): number {
    return this.isRam(address, 4) ? this.view.getUint32(address, true) : this.bus.peek(address, 4) >>> 0;
  }
  /** 8 bits as `readU8` would read them, without the side effects a device may have. */
  peekU8(address: number): number {
    return this.isRam(address) ? this.view.getUint8(address) : this.bus.peek(address, 1) & 0xff;
  }

  /** A copy of RAM bytes, or undefined where the range is not all RAM. No side effects. */
  peek(address: number, lengthBytes: number): Uint8Array | undefined {
    return this.isRam(address, lengthBytes) ? this.bytes.slice(address, address + lengthBytes) : undefined;
  }
  /** Writes RAM on behalf of the debugger or a loader; returns false where the range is not all RAM. */
  poke(address: number, bytes: Uint8Array): boolean {
    if (!this.isRam(address, bytes.length)) return false;
    if (bytes.length > 0) this.touch(address, bytes.length);
    this.bytes.set(bytes, address);
    return true;
  }
}
