/**
 * The extended page tables of the guest, real structures in host memory, filled as the guest touches its memory: a 2-MiB
 * page where the guest's memory covers it whole, else a 4-KiB page (SDM volume 3, "Extended Page Tables").
 */
import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import { GUEST_BASE, type HostMemory } from './host-memory.ts';

const LARGE_PAGE_BYTES = 0x20_0000;
const RIGHTS = 7n;
/** Read, write, execute; memory type write-back in bits 5:3. */
const LEAF = 0x37n;
const LARGE = 0x80n;
/** Write-back paging structures, page-walk length 4 (less one, in bits 5:3), accessed and dirty flags. */
const EPTP_FLAGS = 6 | (3 << 3) | (1 << 6);
const ADDRESS = 0x000f_ffff_ffff_f000n;

export class EptTables {
  readonly #memory: HostMemory;
  readonly #memoryBytes: number;
  readonly #allocate: () => number;
  readonly root: number;

  /** `allocate` gives zeroed pages for the tables. */
  constructor(memory: HostMemory, memoryBytes: number, allocate = () => memory.allocate()) {
    this.#memory = memory;
    this.#memoryBytes = memoryBytes;
    this.#allocate = allocate;
    this.root = allocate();
  }

  /** What the VMCS holds as EPT pointer. */
  get pointer(): number {
    return this.root + EPTP_FLAGS;
  }

  /** Maps one page of 4 KBytes, with some EptRight bits. */
  mapPage(guestPhysical: number, hostPhysical: number, rights: number): void {
    const directory = this.#table(this.#table(this.root, guestPhysical, 39), guestPhysical, 30);
    const leaf = (LEAF & ~RIGHTS) | BigInt(rights);
    this.#write(this.#table(directory, guestPhysical, 21), guestPhysical, 12, BigInt(hostPhysical) | leaf);
  }

  /** Maps the page that holds a guest-physical address of the guest's memory; its size in bytes. */
  map(guestPhysical: number): number {
    const directory = this.#table(this.#table(this.root, guestPhysical, 39), guestPhysical, 30);
    const large = guestPhysical - (guestPhysical % LARGE_PAGE_BYTES);
    if (large + LARGE_PAGE_BYTES <= this.#memoryBytes) {
      this.#write(directory, guestPhysical, 21, BigInt(GUEST_BASE + large) | LEAF | LARGE);
      return LARGE_PAGE_BYTES;
    }
    const page = guestPhysical - (guestPhysical % PAGE_BYTES);
    this.#write(this.#table(directory, guestPhysical, 21), guestPhysical, 12, BigInt(GUEST_BASE + page) | LEAF);
    return PAGE_BYTES;
  }

  /** Maps a whole range, as when a loader has just written it. */
  mapRange(guestPhysical: number, lengthBytes: number): void {
    for (let at = guestPhysical; at < guestPhysical + lengthBytes; ) {
      const pageBytes = this.map(at);
      at += pageBytes - (at % pageBytes);
    }
  }

  /** The table that the entry for the address refers to, made if there is none. */
  #table(table: number, guestPhysical: number, shift: number): number {
    const at = entryAddress(table, guestPhysical, shift);
    const entry = this.#memory.physical.readU64(at);
    if (entry & RIGHTS) return Number(entry & ADDRESS);
    const next = this.#allocate();
    this.#memory.write64(at, BigInt(next) | RIGHTS);
    return next;
  }

  #write(table: number, guestPhysical: number, shift: number, entry: bigint): void {
    this.#memory.write64(entryAddress(table, guestPhysical, shift), entry);
  }
}

const entryAddress = (table: number, guestPhysical: number, shift: number): number =>
  table + (Math.floor(guestPhysical / 2 ** shift) % 512) * 8;
