/**
 * The tables of a hostile guest, as memory images: descriptor tables, page tables of every paging mode, EPT, regions for
 * VMX. All map and describe what is there; the guest's statements spoil them.
 */
import type { GuestSegment } from '../../../engine/index.ts';
import { VMCS_REVISION } from '../../../engine/vmx/vmcs.ts';

export type EntryMode = 'real' | 'protected' | 'long';

/** Guest-physical addresses of what the frame and the statements refer to. */
export const at = {
  code: 0x8000,
  /** What every exception gets to. */
  recover: 0x8010,
  data: 0x2_0000,
  stack: 0x2_f000,
  gdt: 0x3_0000,
  idt: 0x3_1000,
  tss: 0x3_3000,
  ldt: 0x3_4000,
  pml4: 0x4_0000,
  pdpt: 0x4_1000,
  pageDirectory: 0x4_2000,
  pageTable: 0x4_3000,
  /** Roots of 32-bit and PAE paging. */
  directory32: 0x4_4000,
  table32: 0x4_5000,
  paePdpt: 0x4_6000,
  ept: 0x5_0000,
  vmxon: 0x5_4000,
  vmcs: 0x5_5000,
  ioBitmaps: 0x5_6000,
  msrBitmaps: 0x5_8000,
  pointer: 0x5_9000,
  counter: 0x5_a000,
} as const;

const STACK_OF_TSS = at.stack - 0x800;

/** The GDT, in order from selector 8 on. */
const descriptors = {
  code32: 0x00cf_9b00_0000_ffffn,
  data: 0x00cf_9300_0000_ffffn,
  code64: 0x00af_9b00_0000_ffffn,
  userData: 0x00cf_f300_0000_ffffn,
  userCode32: 0x00cf_fb00_0000_ffffn,
  userCode64: 0x00af_fb00_0000_ffffn,
  tss: 0x0000_8900_0000_0067n | (BigInt(at.tss) << 16n),
  tssHigh: 0n,
  ldt: 0x0000_8200_0000_003fn | (BigInt(at.ldt) << 16n),
  ldtHigh: 0n,
  conforming: 0x00cf_9f00_0000_ffffn,
  executeOnly: 0x00cf_9900_0000_ffffn,
  notPresent: 0x00cf_1300_0000_ffffn,
  readOnly: 0x00cf_9100_0000_ffffn,
  code16: 0x0000_9b00_0000_ffffn,
  data16: 0x0000_9300_0000_ffffn,
  expandDown: 0x0040_9700_0000_0fffn,
  callGate: 0x0000_ec00_0008_0000n | BigInt(at.recover),
  interruptGate: 0x0000_8e00_0008_0000n | BigInt(at.recover),
  taskGate: 0x0000_e500_0038_0000n,
} as const;
const gdt = [0n, ...Object.values(descriptors)];

export const selectorOf = (name: keyof typeof descriptors): number => 8 * (Object.keys(descriptors).indexOf(name) + 1);
/** Some of them lie beyond the GDT. */
export const SELECTORS = gdt.length + 2;
export const GDT_LIMIT = gdt.length * 8 - 1;
export const codeSelector = { real: 0, protected: selectorOf('code32'), long: selectorOf('code64') } as const;

const segment = (address: number, array: BigUint64Array | Uint32Array): GuestSegment => ({
  address,
  bytes: new Uint8Array(array.buffer),
});
const quads = (address: number, values: readonly (bigint | number)[]): GuestSegment =>
  segment(address, BigUint64Array.from(values.map(BigInt)));
const words = (address: number, values: readonly number[]): GuestSegment => segment(address, Uint32Array.from(values));
const range = <T>(count: number, value: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => value(i));

export function tables(mode: EntryMode): GuestSegment[] {
  if (mode === 'real') return [];
  const gate = BigInt(at.recover) | (BigInt(codeSelector[mode]) << 16n) | (0xeen << 40n);
  return [
    quads(at.gdt, gdt),
    quads(at.idt, range(256, () => (mode === 'long' ? [gate, 0n] : [gate])).flat()),
    words(at.tss, [
      0,
      STACK_OF_TSS,
      mode === 'long' ? 0 : selectorOf('data'),
      ...range(22, (i) => (i % 2 ? 0 : STACK_OF_TSS)),
    ]),
    quads(at.ldt, [descriptors.userCode32, descriptors.userData, descriptors.callGate, descriptors.code16]),
    ...pageTables(),
    ...eptTables(),
    words(at.vmxon, [VMCS_REVISION]),
    words(at.vmcs, [VMCS_REVISION]),
  ];
}

/** Present, writable, user: so that ring 3 runs as well. */
const P = 7;
const LARGE = 0x80;

/** The lowest 2 or 4 MiB one to one in 4-KiB pages; devices through large pages. */
function pageTables(): GuestSegment[] {
  return [
    quads(at.pml4, [at.pdpt | P]),
    quads(at.pdpt, [at.pageDirectory | P, 0, 0, 0xc000_0000 + LARGE + P]),
    quads(at.pageDirectory, [at.pageTable | P]),
    quads(
      at.pageTable,
      range(512, (page) => page * 4096 + P),
    ),
    words(at.directory32, [at.table32 | P, ...range(1023, (i) => (i + 1) * 0x40_0000 + LARGE + P)]),
    words(
      at.table32,
      range(1024, (page) => page * 4096 + P),
    ),
    quads(at.paePdpt, [at.pageDirectory | 1, 0, 0, 0]),
  ];
}

function eptTables(): GuestSegment[] {
  const levels = [0, 1, 2].map((level) => quads(at.ept + level * 0x1000, [at.ept + (level + 1) * 0x1000 + P]));
  const pages = range(512, (page) => page * 4096 + 0x37);
  return [...levels, quads(at.ept + 0x3000, pages)];
}
