/** Direct boot without firmware: the program's bytes in memory, and the state in which it gets the CPU. */
import { PAGE_BYTES } from '../cpu/memory-map.ts';
import type { Processor } from '../cpu/processor.ts';
import { ACTIVITY } from '../cpu/register-bits.ts';
import { enterLongMode, enterProtectedMode, enterRealMode, powerUp } from '../cpu/reset.ts';
import type { CpuState } from '../cpu/state.ts';
import { gprNames } from '../cpu/state-layout.ts';
import type { GuestProgram } from './machine-api.ts';

/** Writes guest-physical memory; false where there is no RAM. */
export type WriteGuest = (address: number, bytes: Uint8Array) => boolean;

/** Null, 64- or 32-bit code (selector 8), data (selector 0x10). */
const CODE32 = 0x00cf_9b00_0000_ffffn;
const CODE64 = 0x00af_9b00_0000_ffffn;
const DATA = 0x00cf_9300_0000_ffffn;
const GDT_BYTES = 24;
const CODE_SELECTOR = 0x08;
const DATA_SELECTOR = 0x10;

/** Page-directory entries: present, writable, 2 MiB. */
const LARGE_PAGE = 0x83n;
const TABLE = 0x03n;
const TWO_MIB = 0x20_0000n;
const MAPPED_GIB = 4;

/** Boot structures go as high as possible below the area that firmware would keep. */
const LOW_MEMORY_END = 0x9_f000;
const MEMORY_FLOOR = 0x1000;

/** Puts the program into memory. Segments that do not fit are the caller's error to report. */
export function loadSegments(program: GuestProgram, write: WriteGuest): void {
  for (const { address, bytes, zeroBytes = 0 } of program.segments) {
    if (!write(address, bytes) || (zeroBytes > 0 && !write(address + bytes.length, new Uint8Array(zeroBytes)))) {
      throw new Error(`segment at 0x${address.toString(16)} lies outside guest memory`);
    }
  }
}

/** Sets the processor to the program's entry state; `write` takes the tables that the state needs. */
export function enterProgram(processor: Processor, program: GuestProgram, write: WriteGuest): void {
  const { entry } = program;
  if (entry.mode === 'real') enterRealMode(processor, { cs: 0, ip: entry.address, sp: 0x7c00 });
  else if (entry.mode === 'protected') {
    const base = place(program, PAGE_BYTES);
    enterProtectedMode(processor, { rip: entry.address, rsp: base, gdt: writeGdt(write, base, CODE32) });
  } else enterLong(processor, program, write);
  setRegisters(processor.state, entry.registers ?? {});
}

/** An application processor after power-up: it waits for a start-up IPI (SDM volume 3, "MP Initialization Protocol"). */
export function waitForStartUp(processor: Processor): void {
  powerUp(processor);
  processor.state.activityState = ACTIVITY.WAIT_FOR_SIPI;
}

function enterLong(processor: Processor, program: GuestProgram, write: WriteGuest): void {
  const base = place(program, PAGE_BYTES * (MAPPED_GIB + 3));
  const tables = base + PAGE_BYTES;
  writeIdentityMap(write, tables);
  const gdt = writeGdt(write, base, CODE64);
  enterLongMode(processor, { rip: program.entry.address, rsp: base, gdt, cr3: tables });
}

function writeGdt(write: WriteGuest, base: number, code: bigint) {
  const gdt = new BigUint64Array([0n, code, DATA]);
  write(base, new Uint8Array(gdt.buffer));
  return { base, limit: GDT_BYTES - 1, codeSelector: CODE_SELECTOR, dataSelector: DATA_SELECTOR };
}

/** PML4, PDPT and page directories, one after another. */
function writeIdentityMap(write: WriteGuest, tables: number): void {
  const entries = new BigUint64Array((512 * (MAPPED_GIB + 2)) | 0);
  entries[0] = BigInt(tables + PAGE_BYTES) | TABLE;
  for (let gib = 0; gib < MAPPED_GIB; gib++) {
    entries[512 + gib] = BigInt(tables + PAGE_BYTES * (2 + gib)) | TABLE;
    for (let i = 0; i < 512; i++) entries[512 * (2 + gib) + i] = (BigInt(gib * 512 + i) * TWO_MIB) | LARGE_PAGE;
  }
  write(tables, new Uint8Array(entries.buffer));
}

/** The highest page-aligned place in low memory that no segment occupies. */
function place(program: GuestProgram, lengthBytes: number): number {
  for (let base = LOW_MEMORY_END - lengthBytes; base >= MEMORY_FLOOR; base -= PAGE_BYTES) {
    const end = base + lengthBytes;
    const clash = program.segments.some(
      (s) => s.address < end && s.address + s.bytes.length + (s.zeroBytes ?? 0) > base,
    );
    if (!clash) return base;
  }
  throw new Error(
    `the program leaves no ${lengthBytes} free bytes below 0x${LOW_MEMORY_END.toString(16)} for boot tables`,
  );
}

function setRegisters(state: CpuState, registers: Readonly<Record<string, bigint>>): void {
  for (const [name, value] of Object.entries(registers)) {
    const wide = name.toUpperCase().replace(/^E/, 'R');
    const index = (gprNames as readonly string[]).indexOf(wide);
    if (index < 0) throw new Error(`no general-purpose register ${name}`);
    state.setGpr(index, BigInt.asUintN(64, value));
  }
}
