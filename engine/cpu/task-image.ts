/** The task-state segment as memory holds it, 16 and 32 bits wide (SDM volume 3, "Task-State Segment (TSS)", "16-Bit TSS"). */
import { tableAddress } from './descriptors.ts';
import { Privilege, type Processor } from './processor.ts';
import { CS, DS, ES, FS, GS, SS } from './state.ts';

/** Where a TSS lies; the type of its descriptor says how wide it is. */
export interface TaskSegment {
  readonly base: number;
  readonly limit: number;
  readonly wide: boolean;
}

/** Offsets in bytes. */
interface TaskLayout {
  readonly sizeBytes: 2 | 4;
  readonly ip: number;
  readonly flags: number;
  /** Of EAX; the other general-purpose registers follow in their order. */
  readonly registers: number;
  /** Of ES; the others follow in the order CS, SS, DS, FS, GS. */
  readonly segments: number;
  readonly segmentCount: number;
  readonly ldt: number;
  /** The last byte that a switch reads, and that it writes. */
  readonly last: number;
  readonly lastSaved: number;
}

const WIDE: TaskLayout = {
  sizeBytes: 4,
  ip: 32,
  flags: 36,
  registers: 40,
  segments: 72,
  segmentCount: 6,
  ldt: 96,
  last: 103,
  lastSaved: 93,
};
const NARROW: TaskLayout = {
  sizeBytes: 2,
  ip: 14,
  flags: 16,
  registers: 18,
  segments: 34,
  segmentCount: 4,
  ldt: 42,
  last: 43,
  lastSaved: 41,
};
const PREVIOUS_TASK = 0;
const CR3_OFFSET = 28;
const TRAP_OFFSET = 100;
const SEGMENT_ORDER = [ES, CS, SS, DS, FS, GS] as const;

const layoutOf = ({ wide }: TaskSegment): TaskLayout => (wide ? WIDE : NARROW);

/** What a task switch loads. */
export interface TaskImage {
  /** Undefined in a 16-bit TSS. */
  readonly cr3: number | undefined;
  readonly ip: number;
  readonly flags: number;
  /** In the order of their encodings; the upper halves are 0 in a 16-bit TSS, where the manual leaves them undefined. */
  readonly registers: readonly number[];
  /** By the index of the segment register. */
  readonly selectors: readonly number[];
  readonly ldt: number;
  /** The debug trap flag. */
  readonly trap: boolean;
}

/** Whether the limit takes in what a switch reads. */
export const holdsTask = (tss: TaskSegment): boolean => tss.limit >= layoutOf(tss).last;
/** Whether the limit takes in what a switch writes. */
export const takesTask = (tss: TaskSegment): boolean => tss.limit >= layoutOf(tss).lastSaved;

export function readTask(processor: Processor, tss: TaskSegment): TaskImage {
  const { memory } = processor;
  const layout = layoutOf(tss);
  const at = (offset: number) => tableAddress(processor, tss.base, offset);
  const word = (offset: number) => memory.readU16(at(offset), Privilege.Supervisor);
  const value = (offset: number) => (tss.wide ? memory.readU32(at(offset), Privilege.Supervisor) : word(offset));
  const { sizeBytes, segmentCount } = layout;
  return {
    cr3: tss.wide ? value(CR3_OFFSET) : undefined,
    ip: value(layout.ip),
    flags: value(layout.flags),
    registers: Array.from({ length: 8 }, (_, index) => value(layout.registers + index * sizeBytes)),
    selectors: SEGMENT_ORDER.map((_, index) => (index < segmentCount ? word(layout.segments + index * sizeBytes) : 0)),
    ldt: word(layout.ldt),
    trap: tss.wide && (word(TRAP_OFFSET) & 1) !== 0,
  };
}

/** Throws what `saveTask` would. */
export function probeTask(processor: Processor, tss: TaskSegment): void {
  const { ip, lastSaved } = layoutOf(tss);
  const from = tableAddress(processor, tss.base, ip);
  processor.memory.probeWrite(from, lastSaved - ip + 1, Privilege.Supervisor);
}

/** Saves the registers of the task under way, with `ip` and `flags` as given. */
export function saveTask(processor: Processor, tss: TaskSegment, ip: number, flags: number): void {
  const { memory, state } = processor;
  const layout = layoutOf(tss);
  const at = (offset: number) => tableAddress(processor, tss.base, offset);
  const save = (offset: number, value: number) => {
    if (tss.wide) memory.writeU32(at(offset), value >>> 0, Privilege.Supervisor);
    else memory.writeU16(at(offset), value & 0xffff, Privilege.Supervisor);
  };
  save(layout.ip, ip);
  save(layout.flags, flags);
  for (let index = 0; index < 8; index++) save(layout.registers + index * layout.sizeBytes, state.gpr32(index));
  for (let place = 0; place < layout.segmentCount; place++) {
    const { selector } = state.segment(SEGMENT_ORDER[place] as number);
    memory.writeU16(at(layout.segments + place * layout.sizeBytes), selector, Privilege.Supervisor);
  }
}

export function readPreviousTask(processor: Processor, tss: TaskSegment): number {
  return processor.memory.readU16(tableAddress(processor, tss.base, PREVIOUS_TASK), Privilege.Supervisor);
}
export function writePreviousTask(processor: Processor, tss: TaskSegment, selector: number): void {
  processor.memory.writeU16(tableAddress(processor, tss.base, PREVIOUS_TASK), selector, Privilege.Supervisor);
}
export function probePreviousTask(processor: Processor, tss: TaskSegment): void {
  processor.memory.probeWrite(tableAddress(processor, tss.base, PREVIOUS_TASK), 2, Privilege.Supervisor);
}

/** Loads the general-purpose registers. */
export function loadTaskRegisters({ state }: Processor, image: TaskImage): void {
  for (const [index, value] of image.registers.entries()) state.setGpr32(index, value);
}
