/**
 * Registers to and from an area in the format of the VMCB's state save area (AMD64 APM volume 2, "VMRUN Instruction",
 * "#VMEXIT", "VMSAVE and VMLOAD Instructions").
 */

import { asDr6, asDr7 } from '../cpu/debug-registers.ts';
import { readFlags, writeFlags } from '../cpu/flags.ts';
import { isRealMode, isVirtual8086 } from '../cpu/modes.ts';
import { ACCESS, CR0, EFER, hasBit } from '../cpu/register-bits.ts';
import { type CpuState, CS, DS, ES, FS, GS, LDTR, SS, TR } from '../cpu/state.ts';
import { segmentNames } from '../cpu/state-layout.ts';
import { type LinearAddress, linearAddressOf } from '../isa/linear-address.ts';
import type { Vmcb } from './vmcb.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const RAX = 0;
const RSP = 4;
const FIXED_FLAG = 2;
/** Physical addresses of the architecture. */
const PHYSICAL_BITS = 52;

const segmentAt = segmentNames.map((name) => vmcbOffset(`${name} selector`));
const ATTRIBUTES = 2;
const LIMIT = 4;
const BASE = 8;

const at = {
  gdtrLimit: vmcbOffset('GDTR limit'),
  gdtrBase: vmcbOffset('GDTR base'),
  idtrLimit: vmcbOffset('IDTR limit'),
  idtrBase: vmcbOffset('IDTR base'),
  efer: vmcbOffset('EFER'),
  cr0: vmcbOffset('CR0'),
  cr2: vmcbOffset('CR2'),
  cr3: vmcbOffset('CR3'),
  cr4: vmcbOffset('CR4'),
  dr6: vmcbOffset('DR6'),
  dr7: vmcbOffset('DR7'),
  rflags: vmcbOffset('RFLAGS'),
  rip: vmcbOffset('RIP'),
  rsp: vmcbOffset('RSP'),
  rax: vmcbOffset('RAX'),
  cpl: vmcbOffset('CPL'),
  pat: vmcbOffset('G_PAT'),
} as const;

/** Bits 55:52 of a descriptor lie next to bits 47:40 in a VMCB, and four bits higher in `SegmentRegister.attributes`. */
const LOW_RIGHTS = 0xff;
const HIGH_RIGHTS = 0xf00;
export const toRights = (attributes: number): number => (attributes & LOW_RIGHTS) | ((attributes & HIGH_RIGHTS) << 4);
const toAttributes = (rights: number): number => (rights & LOW_RIGHTS) | ((rights >>> 4) & HIGH_RIGHTS);

/** A base address as the processor keeps it: its upper bits repeat the last that linear addresses have. */
const baseIn = (area: Vmcb, at: number, linearBits: number): LinearAddress =>
  linearAddressOf(BigInt.asIntN(linearBits, area.u64(at)));

function loadSegment(state: CpuState, area: Vmcb, index: number, linearBits: number): void {
  const from = segmentAt[index] as number;
  const segment = state.segment(index);
  const rights = toRights(area.u16(from + ATTRIBUTES));
  segment.selector = area.u16(from);
  segment.limit = area.u32(from + LIMIT);
  segment.base = baseIn(area, from + BASE, linearBits);
  // Code and task-state segments are used as they are.
  const isUsable = index === CS || index === TR || (rights & ACCESS.P) !== 0;
  segment.attributes = isUsable ? rights : rights | ACCESS.UNUSABLE;
}

function saveSegment(state: CpuState, area: Vmcb, index: number): void {
  const to = segmentAt[index] as number;
  const { selector, limit, base, attributes } = state.segment(index);
  area.setU16(to, selector);
  area.setU16(to + ATTRIBUTES, toAttributes(attributes & ACCESS.UNUSABLE ? attributes & ~ACCESS.P : attributes));
  area.setU32(to + LIMIT, limit);
  area.setNumber(to + BASE, base);
}

/** What both guest and host have in their areas. */
const COMMON_SEGMENTS = [ES, CS, SS, DS] as const;

export function saveRegisters(state: CpuState, area: Vmcb): void {
  for (const index of COMMON_SEGMENTS) saveSegment(state, area, index);
  area.setU32(at.gdtrLimit, state.gdtrLimit);
  area.setNumber(at.gdtrBase, state.gdtrBase);
  area.setU32(at.idtrLimit, state.idtrLimit);
  area.setNumber(at.idtrBase, state.idtrBase);
  area.setNumber(at.efer, state.efer);
  area.setNumber(at.cr0, state.cr0);
  area.setNumber(at.cr3, state.cr3);
  area.setNumber(at.cr4, state.cr4);
  area.setNumber(at.rflags, readFlags(state) >>> 0);
  area.setNumber(at.rip, state.rip);
  area.setU64(at.rsp, state.gpr(RSP));
  area.setU64(at.rax, state.gpr(RAX));
}

/** `refreshMode` and the MMU's part are the caller's; `linearBits`: the width of linear addresses. */
export function loadRegisters(state: CpuState, area: Vmcb, linearBits: number): void {
  for (const index of COMMON_SEGMENTS) loadSegment(state, area, index, linearBits);
  state.gdtrLimit = area.u16(at.gdtrLimit);
  state.gdtrBase = baseIn(area, at.gdtrBase, linearBits);
  state.idtrLimit = area.u16(at.idtrLimit);
  state.idtrBase = baseIn(area, at.idtrBase, linearBits);
  state.cr0 = (area.u32(at.cr0) | CR0.ET) >>> 0;
  state.cr4 = area.u32(at.cr4);
  state.efer = activated(area.u32(at.efer), state.cr0);
  // Outside long mode CR3 has 32 bits.
  const isLong = hasBit(state.efer, EFER.LMA);
  state.cr3 = isLong ? Number(BigInt.asUintN(PHYSICAL_BITS, area.u64(at.cr3))) : area.u32(at.cr3);
  writeFlags(state, area.u32(at.rflags) | FIXED_FLAG);
  state.rip = area.linear(at.rip);
  state.setGpr(RSP, area.u64(at.rsp));
  state.setGpr(RAX, area.u64(at.rax));
}

/** EFER.LMA is what EFER.LME and CR0.PG make of it. */
function activated(efer: number, cr0: number): number {
  const isLong = hasBit(efer, EFER.LME) && hasBit(cr0, CR0.PG);
  return isLong ? efer | EFER.LMA : efer & ~EFER.LMA;
}

/** What of the state save area only the guest has. `ownPat`: nested paging gives it a PAT of its own. */
export function saveGuestOnly(state: CpuState, area: Vmcb, ownPat: boolean): void {
  area.setU64(at.cr2, state.cr2);
  area.setNumber(at.dr6, state.dr6);
  area.setNumber(at.dr7, state.dr7);
  area.setU8(at.cpl, state.cpl);
  if (ownPat) area.setU64(at.pat, state.pat);
}

/** Real mode has ring 0 and virtual-8086 mode ring 3, whatever the VMCB says. */
function ringOf(state: CpuState, stored: number): number {
  if (isRealMode(state)) return 0;
  return isVirtual8086(state) ? 3 : stored & 3;
}

export function loadGuestOnly(state: CpuState, area: Vmcb, ownPat: boolean): void {
  state.cr2 = area.u64(at.cr2);
  state.dr6 = asDr6(area.u32(at.dr6));
  state.dr7 = asDr7(area.u32(at.dr7));
  state.cpl = ringOf(state, area.u8(at.cpl));
  if (ownPat) state.pat = area.u64(at.pat);
}

export const saveHostPat = (state: CpuState, area: Vmcb): void => area.setU64(at.pat, state.pat);
export function loadHostPat(state: CpuState, area: Vmcb): void {
  state.pat = area.u64(at.pat);
}

/** What VMLOAD and VMSAVE move. */
const MOVED_SEGMENTS = [FS, GS, TR, LDTR] as const;
const moved = {
  star: vmcbOffset('STAR'),
  lstar: vmcbOffset('LSTAR'),
  cstar: vmcbOffset('CSTAR'),
  sfmask: vmcbOffset('SFMASK'),
  kernelGsBase: vmcbOffset('KernelGsBase'),
  sysenterCs: vmcbOffset('SYSENTER_CS'),
  sysenterEsp: vmcbOffset('SYSENTER_ESP'),
  sysenterEip: vmcbOffset('SYSENTER_EIP'),
} as const;

export function saveMoved(state: CpuState, area: Vmcb): void {
  for (const index of MOVED_SEGMENTS) saveSegment(state, area, index);
  area.setU64(moved.star, state.star);
  area.setU64(moved.lstar, state.lstar);
  area.setU64(moved.cstar, state.cstar);
  area.setNumber(moved.sfmask, state.fmask);
  area.setNumber(moved.kernelGsBase, state.kernelGsBase);
  area.setNumber(moved.sysenterCs, state.sysenterCs);
  area.setNumber(moved.sysenterEsp, state.sysenterEsp);
  area.setNumber(moved.sysenterEip, state.sysenterEip);
}

export function loadMoved(state: CpuState, area: Vmcb, linearBits: number): void {
  for (const index of MOVED_SEGMENTS) loadSegment(state, area, index, linearBits);
  state.star = area.u64(moved.star);
  state.lstar = area.u64(moved.lstar);
  state.cstar = area.u64(moved.cstar);
  state.fmask = area.u32(moved.sfmask);
  state.kernelGsBase = baseIn(area, moved.kernelGsBase, linearBits);
  state.sysenterCs = area.u32(moved.sysenterCs);
  state.sysenterEsp = baseIn(area, moved.sysenterEsp, linearBits);
  state.sysenterEip = baseIn(area, moved.sysenterEip, linearBits);
}
