import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';

/* Multiboot Specification version 0.6.96, the first of its name; "header" is 3.1, "information" 3.3. */

const HEADER_MAGIC = 0x1badb002;
/** The header lies completely within so many first bytes of the file, aligned to 4. */
const SEARCHED_BYTES = 8192;
const HEADER_BYTES = 12;
const HEADER_WITH_ADDRESSES_BYTES = 32;

/** EAX at entry. */
export const MULTIBOOT_BOOTLOADER_MAGIC = 0x2badb002;

/** Header flags; 0 to 15 are demands, from 16 on they are offers. */
const PAGE_ALIGN_MODULES = 1 << 0;
const MEMORY_INFORMATION = 1 << 1;
const VIDEO_MODE = 1 << 2;
const DEMANDS = 0xffff;
const ADDRESS_FIELDS = 1 << 16;

/** Where to load an image that is not ELF, as its header says. Physical addresses; an end of 0 is "not given". */
export interface MultibootAddresses {
  readonly header: number;
  readonly load: number;
  readonly loadEnd: number;
  readonly bssEnd: number;
  readonly entry: number;
}

export interface MultibootHeader {
  /** Bytes from the start of the file. */
  readonly offset: number;
  readonly flags: number;
  /** With flag 16 (the "a.out kludge"). */
  readonly addresses?: MultibootAddresses;
}

/**
 * Looks for a Multiboot header: magic, flags and checksum, the three adding up to 0 modulo 2^32.
 *
 * @returns undefined if there is none
 * @throws UserError if the header demands what this loader does not provide, or is cut off
 */
export function findMultibootHeader(image: Uint8Array): MultibootHeader | undefined {
  const view = new DataView(image.buffer, image.byteOffset, Math.min(image.length, SEARCHED_BYTES));
  for (let offset = 0; offset + HEADER_BYTES <= view.byteLength; offset += 4) {
    const flags = view.getUint32(offset + 4, true);
    const sum = (HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) >>> 0;
    if (view.getUint32(offset, true) === HEADER_MAGIC && sum === 0) {
      checkDemands(flags, offset);
      return (flags & ADDRESS_FIELDS) === 0
        ? { offset, flags }
        : { offset, flags, addresses: readAddresses(view, offset) };
    }
  }
  return undefined;
}

function checkDemands(flags: number, offset: number): void {
  const unsupported = flags & DEMANDS & ~(PAGE_ALIGN_MODULES | MEMORY_INFORMATION);
  if (unsupported !== 0) {
    throw new UserError('The Multiboot header demands what is not provided', {
      expected: 'no required flags but 0 (page-aligned modules) and 1 (memory information)',
      found: (unsupported & VIDEO_MODE) !== 0 ? 'flag 2 (video mode)' : `flags ${hex(unsupported)}`,
      where: `Multiboot header at offset ${hex(offset)}`,
      whatToDo: 'clear the flag in the header and correct its checksum',
    });
  }
}

function readAddresses(view: DataView, offset: number): MultibootAddresses {
  if (offset + HEADER_WITH_ADDRESSES_BYTES > view.byteLength) {
    throw new UserError('The Multiboot header is cut off', {
      expected: `${HEADER_WITH_ADDRESSES_BYTES} bytes within the first ${SEARCHED_BYTES} of the file`,
      found: `${view.byteLength - offset}`,
      where: `Multiboot header at offset ${hex(offset)}`,
    });
  }
  const field = (index: number) => view.getUint32(offset + HEADER_BYTES + 4 * index, true);
  return { header: field(0), load: field(1), loadEnd: field(2), bssEnd: field(3), entry: field(4) };
}

/** The part of an image that its address fields load, and the zero bytes behind it. */
export interface MultibootImage {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly zeroBytes: number;
}

/** @throws UserError if the address fields contradict each other or the size of the file */
export function multibootImage(image: Uint8Array, offset: number, at: MultibootAddresses): MultibootImage {
  const start = offset - (at.header - at.load);
  const end = at.loadEnd === 0 ? image.length : start + (at.loadEnd - at.load);
  const loadedEnd = at.load + (end - start);
  const wrong = (expected: string, found: string) =>
    new UserError('The address fields of the Multiboot header contradict each other', {
      expected,
      found,
      where: `Multiboot header at offset ${hex(offset)}`,
    });
  if (at.load > at.header || start < 0) {
    const expected = `load_addr between ${hex(Math.max(0, at.header - offset))} and header_addr ${hex(at.header)}`;
    throw wrong(expected, hex(at.load));
  }
  if (end < start || end > image.length) {
    throw wrong(`load_end_addr between ${hex(at.load)} and ${hex(at.load + image.length - start)}`, hex(at.loadEnd));
  }
  if (at.bssEnd !== 0 && at.bssEnd < loadedEnd) {
    throw wrong(`bss_end_addr of at least ${hex(loadedEnd)}`, hex(at.bssEnd));
  }
  if (at.entry < at.load || at.entry >= loadedEnd) {
    throw wrong(`entry_addr between ${hex(at.load)} and ${hex(loadedEnd)}`, hex(at.entry));
  }
  return {
    address: at.load,
    bytes: image.subarray(start, end),
    zeroBytes: at.bssEnd === 0 ? 0 : at.bssEnd - loadedEnd,
  };
}

/** A part of the physical address space for the guest; type 1 is usable RAM, 2 is reserved. */
export interface MemoryMapEntry {
  readonly address: number;
  readonly sizeBytes: number;
  readonly type: 1 | 2;
}

export interface MultibootModule {
  /** Guest-physical; the end is the first byte behind. */
  readonly start: number;
  readonly end: number;
  readonly commandLine: string;
}

export interface MultibootInformation {
  readonly memoryMap: readonly MemoryMapEntry[];
  readonly commandLine: string;
  readonly modules: readonly MultibootModule[];
  readonly bootLoaderName: string;
}

/** Flags of the information structure: mem_*, cmdline, mods_*, mmap_*, boot_loader_name. */
const INFORMATION_FLAGS = (1 << 0) | (1 << 2) | (1 << 3) | (1 << 6) | (1 << 9);
const INFORMATION_BYTES = 120;
const MODULE_BYTES = 16;
const MEMORY_MAP_ENTRY_BYTES = 24;
const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * The Multiboot information structure with all it points to, as one piece to be put at `address` (guest-physical,
 * aligned to 4). Its length does not depend on the address.
 */
export function buildMultibootInformation(information: MultibootInformation, address: number): Uint8Array {
  const { memoryMap, modules } = information;
  const texts = [information.commandLine, information.bootLoaderName, ...modules.map((module) => module.commandLine)];
  const encoded = texts.map((text) => new TextEncoder().encode(`${text}\0`));
  const modulesAt = INFORMATION_BYTES;
  const memoryMapAt = modulesAt + MODULE_BYTES * modules.length;
  const textsAt = memoryMapAt + MEMORY_MAP_ENTRY_BYTES * memoryMap.length;
  const offsets = encoded.map((_, index) => encoded.slice(0, index).reduce((at, { length }) => at + length, textsAt));
  const bytes = new Uint8Array(encoded.reduce((at, { length }) => at + length, textsAt));
  const view = new DataView(bytes.buffer);
  const put = (at: number, ...values: number[]) =>
    values.forEach((value, index) => void view.setUint32(at + 4 * index, value, true));
  const textAddress = (index: number) => address + (offsets[index] ?? 0);

  put(0, INFORMATION_FLAGS, usableFrom(memoryMap, 0) / KIB, usableFrom(memoryMap, MIB) / KIB);
  put(16, textAddress(0), modules.length, address + modulesAt);
  put(44, MEMORY_MAP_ENTRY_BYTES * memoryMap.length, address + memoryMapAt);
  put(64, textAddress(1));
  modules.forEach(
    ({ start, end }, index) => void put(modulesAt + MODULE_BYTES * index, start, end, textAddress(2 + index)),
  );
  memoryMap.forEach((entry, index) => {
    const at = memoryMapAt + MEMORY_MAP_ENTRY_BYTES * index;
    put(at, MEMORY_MAP_ENTRY_BYTES - 4); // "size" counts what follows it
    view.setBigUint64(at + 4, BigInt(entry.address), true);
    view.setBigUint64(at + 12, BigInt(entry.sizeBytes), true);
    put(at + 20, entry.type);
  });
  encoded.forEach((text, index) => void bytes.set(text, offsets[index]));
  return bytes;
}

/** Bytes of usable RAM without a hole from an address on; whole KiB, at most what 32 bits of KiB count. */
function usableFrom(memoryMap: readonly MemoryMapEntry[], address: number): number {
  const entry = memoryMap.find(
    (part) => part.type === 1 && part.address <= address && part.address + part.sizeBytes > address,
  );
  const bytes = entry === undefined ? 0 : entry.address + entry.sizeBytes - address;
  return Math.min(Math.floor(bytes / KIB), 0xffff_ffff) * KIB;
}

/** The memory map of a PC whose RAM is one piece from 0 on: a hole for video memory and firmware below 1 MiB. */
export function pcMemoryMap(memoryBytes: number): MemoryMapEntry[] {
  const part = (address: number, end: number, type: 1 | 2): MemoryMapEntry => ({
    address,
    sizeBytes: end - address,
    type,
  });
  const parts = [part(0, 0x9fc00, 1), part(0x9fc00, 0xa0000, 2), part(0xf0000, MIB, 2), part(MIB, memoryBytes, 1)];
  return parts
    .map((one) => (one.type === 1 ? part(one.address, Math.min(one.address + one.sizeBytes, memoryBytes), 1) : one))
    .filter(({ sizeBytes }) => sizeBytes > 0);
}
