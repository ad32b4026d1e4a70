/**
 * Virtual-8086 mode: how it is entered and left, and its enhancements (SDM volume 3, "8086 Emulation"): virtual interrupt
 * flags, and the redirection of INT n to the 8086 program's own handlers.
 */

import { type LinearAddress, low32 } from '../isa/linear-address.ts';
import { SystemType, tableAddress } from './descriptors.ts';
import { GP } from './events.ts';
import { iopl, readFlags, WRITABLE_FLAGS } from './flags.ts';
import { isVirtual8086, refreshMode } from './modes.ts';
import { Privilege, type Processor } from './processor.ts';
import { ACCESS, CR4, hasBit, RFLAGS } from './register-bits.ts';
import { loadNull, loadRealSegment } from './segmentation.ts';
import { commitToCurrentStack, currentStack, PopFrame, type PushFrame, RSP } from './stack.ts';
import { CS, DS, ES, FS, GS, SS, TR } from './state.ts';

/** Offset in the TSS of the word that holds the offset of the I/O permission bitmap. */
export const IO_MAP_BASE = 102;
/** Bytes of the interrupt redirection bitmap, which ends where the I/O permission bitmap begins. */
const REDIRECTION_BYTES = 32;

/** Whether CLI, STI, PUSHF and POPF work on VIF in place of IF: the ring has no right to IF, but VME or PVI is on. */
export function usesVirtualInterruptFlag({ state }: Processor): boolean {
  if (state.cpl !== 3 || iopl(state) === 3) return false;
  return hasBit(state.cr4, isVirtual8086(state) ? CR4.VME : CR4.PVI);
}

/** CLI or STI where the virtual interrupt flag stands for IF. Throws GP(0) if STI finds an interrupt pending. */
export function setVirtualInterruptFlag(processor: Processor, value: boolean): void {
  const { state } = processor;
  if (value && hasBit(state.flagsOther, RFLAGS.VIP)) throw GP(0);
  state.flagsOther = value ? state.flagsOther | RFLAGS.VIF : state.flagsOther & ~RFLAGS.VIF;
}

/** FLAGS as the 8086 program sees them under VME: IF is VIF, IOPL is 3. */
export function virtualFlags(processor: Processor): number {
  const flags = readFlags(processor.state);
  const interrupts = hasBit(flags, RFLAGS.VIF) ? RFLAGS.IF : 0;
  return (flags & ~RFLAGS.IF) | interrupts | RFLAGS.IOPL;
}

/** Loads FLAGS as the 8086 program means them under VME; throws GP(0) where only the monitor can do what they ask for. */
export function loadVirtualFlags(processor: Processor, flags: number): void {
  const current = readFlags(processor.state);
  checkVirtualFlags(current, flags);
  const loaded = WRITABLE_FLAGS & 0xffff & ~(RFLAGS.IF | RFLAGS.IOPL);
  const interrupts = hasBit(flags, RFLAGS.IF) ? RFLAGS.VIF : 0;
  processor.writeFlags((current & ~(loaded | RFLAGS.VIF | RFLAGS.RF)) | (flags & loaded) | interrupts);
}

function checkVirtualFlags(current: number, flags: number): void {
  if (hasBit(flags, RFLAGS.TF) || (hasBit(flags, RFLAGS.IF) && hasBit(current, RFLAGS.VIP))) throw GP(0);
}

interface ReturnFrame {
  readonly offset: LinearAddress;
  readonly selector: number;
  readonly flags: number;
}

/** IRETD in ring 0 with VM = 1 in the flags it popped: the rest of the frame is ESP, SS, ES, DS, FS, GS. */
export function returnToVirtual8086(processor: Processor, frame: PopFrame, target: ReturnFrame): void {
  const { state } = processor;
  const pointer = frame.popLow32(4);
  const selectors = [SS, ES, DS, FS, GS].map((index) => [index, frame.popSelector(4)] as const);
  processor.writeFlags(target.flags & WRITABLE_FLAGS);
  processor.setCpl(3);
  loadRealSegment(state, CS, target.selector);
  for (const [index, selector] of selectors) loadRealSegment(state, index, selector);
  state.setGpr32(RSP, pointer);
  refreshMode(processor);
  processor.jump(low32(target.offset) & 0xffff);
}

/** IRET within virtual-8086 mode: with IOPL 3, or 16 bits wide with VME; else GP(0). */
export function iretVirtual8086(processor: Processor, sizeBytes: 2 | 4 | 8): void {
  const { state } = processor;
  const virtual = iopl(state) < 3;
  if (virtual && !(hasBit(state.cr4, CR4.VME) && sizeBytes === 2)) throw GP(0);
  const frame = new PopFrame(processor);
  const offset = frame.popNumber(sizeBytes);
  const selector = frame.popSelector(sizeBytes);
  const flags = frame.popLow32(sizeBytes);
  const current = readFlags(state);
  if (virtual) checkVirtualFlags(current, flags);
  if (offset > state.segment(CS).limit) throw GP(0);
  frame.commit();
  if (virtual) loadVirtualFlags(processor, flags);
  else {
    const all = WRITABLE_FLAGS & ~(RFLAGS.VM | RFLAGS.IOPL | RFLAGS.VIF | RFLAGS.VIP);
    const mask = sizeBytes === 2 ? all & 0xffff : all;
    processor.writeFlags((current & ~mask) | (flags & mask));
  }
  loadRealSegment(state, CS, selector);
  refreshMode(processor);
  processor.jump(offset);
}

/** The data segments, which go below the frame of an event that leaves virtual-8086 mode. */
export function pushDataSegments({ state }: Processor, frame: PushFrame, sizeBytes: number): void {
  for (const index of [GS, FS, DS, ES]) frame.push(state.segment(index).selector, sizeBytes);
}
export function dropDataSegments({ state }: Processor): void {
  for (const index of [GS, FS, DS, ES]) loadNull(state, index, 0);
}

/**
 * INT n in virtual-8086 mode (SDM volume 3, "Class 3—Software Interrupt Handling in Virtual-8086 Mode"): true if VME sent
 * it to the 8086 program's own handler; false if it goes through the IDT. Throws GP(0) if the monitor has to see to it.
 */
export function redirectSoftwareInterrupt(processor: Processor, vector: number, returnIp: LinearAddress): boolean {
  const { state } = processor;
  if (hasBit(state.cr4, CR4.VME) && !isMonitored(processor, vector)) {
    enterOwnHandler(processor, vector, returnIp);
    return true;
  }
  if (iopl(state) < 3) throw GP(0);
  return false;
}

/** Whether the bit of a vector in the interrupt redirection bitmap of the TSS is 1. */
function isMonitored(processor: Processor, vector: number): boolean {
  const { state, memory } = processor;
  const { attributes, base, limit } = state.segment(TR);
  const type = attributes & ACCESS.TYPE;
  const usable = !hasBit(attributes, ACCESS.UNUSABLE) && (type & SystemType.tssAvailable) === SystemType.tssAvailable;
  if (!usable || limit < IO_MAP_BASE + 1) throw GP(0);
  const map = memory.readU16(tableAddress(processor, base, IO_MAP_BASE), Privilege.Supervisor);
  const at = map - REDIRECTION_BYTES + (vector >>> 3);
  if (at < 0 || at > limit) throw GP(0);
  return ((memory.readU8(tableAddress(processor, base, at), Privilege.Supervisor) >>> (vector & 7)) & 1) === 1;
}

/** As real-address mode does it, through the interrupt vectors at linear address 0. */
function enterOwnHandler(processor: Processor, vector: number, returnIp: LinearAddress): void {
  const { memory, state } = processor;
  const offset = memory.readU16(vector * 4, Privilege.Supervisor);
  const selector = memory.readU16(vector * 4 + 2, Privilege.Supervisor);
  const owns = iopl(state) === 3;
  const frame = currentStack(processor);
  frame.push((owns ? readFlags(state) : virtualFlags(processor)) & 0xffff, 2);
  frame.push(state.segment(CS).selector, 2);
  frame.push(returnIp, 2);
  commitToCurrentStack(processor, frame);
  processor.writeFlags(readFlags(state) & ~(RFLAGS.TF | RFLAGS.RF | (owns ? RFLAGS.IF : RFLAGS.VIF)));
  loadRealSegment(state, CS, selector);
  refreshMode(processor);
  processor.jump(offset);
}
