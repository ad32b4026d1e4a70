/** VMRUN and #VMEXIT as far as registers go (AMD64 APM volume 2, "VMRUN Instruction", "#VMEXIT"). */

import { cr4Allowed } from '../cpu/control-registers.ts';
import { linearAddressBits } from '../cpu/cpuid.ts';
import { DR7_RESET } from '../cpu/debug-registers.ts';
import { GuestFault, type VmExit } from '../cpu/events.ts';
import { refreshMode } from '../cpu/modes.ts';
import { MONITORING } from '../cpu/monitoring.ts';
import { eferWritable } from '../cpu/msrs.ts';
import { unimplemented } from '../cpu/processor.ts';
import { ACTIVITY, BLOCKING, CR0, CR4, EFER, hasBit, RFLAGS } from '../cpu/register-bits.ts';
import { plus } from '../isa/linear-address.ts';
import { pagingMode } from '../mmu/paging-structures.ts';
import { type EptContext, nestedContext } from '../mmu/walk.ts';
import { firstViolation } from './consistency-checks.ts';
import { fetchedBytes } from './decode-assists.ts';
import { encodeEvent } from './event-information.ts';
import { ExitCode, exitCode, exitCodeTable } from './exit-codes.ts';
import { beginPauses } from './pause-filter.ts';
import { loadGuestOnly, loadHostPat, loadRegisters, saveGuestOnly, saveHostPat, saveRegisters } from './saved-state.ts';
import { inShadow, isIntercepted, SHADOWS, type SvmParts, usesNestedPaging } from './svm-parts.ts';
import { controlTlb } from './tlb-control.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const at = {
  asid: vmcbOffset('Guest ASID'),
  shadow: vmcbOffset('INTERRUPT_SHADOW'),
  exitCode: vmcbOffset('EXITCODE'),
  exitInfo1: vmcbOffset('EXITINFO1'),
  exitInfo2: vmcbOffset('EXITINFO2'),
  exitIntInfo: vmcbOffset('EXITINTINFO'),
  eventInjection: vmcbOffset('EVENTINJ'),
  nCr3: vmcbOffset('N_CR3'),
  lbr: vmcbOffset('LBR_VIRTUALIZATION_ENABLE'),
  nextRip: vmcbOffset('nRIP'),
  bytesFetched: vmcbOffset('Number of bytes fetched'),
} as const;

/** Guest mode is entered up to the injection of an event; false if the guest is invalid: #VMEXIT(INVALID) is to follow. */
export function enterGuest(parts: SvmParts): boolean {
  const { processor, state, vmcb, hostSave } = parts;
  refuseMissing(parts);
  hostSave.touch();
  saveRegisters(state, hostSave);
  saveHostPat(state, hostSave);
  state.hostInterruptFlag = state.flagsOther & RFLAGS.IF ? 1 : 0;
  state.interruptibility &= ~SHADOWS;
  processor.transferred = true;
  if (firstViolation(parts)) return false;
  const nested = nestedPaging(parts);
  const ringBefore = state.cpl;
  loadRegisters(state, vmcb, linearAddressBits(processor.model));
  loadGuestOnly(state, vmcb, usesNestedPaging(vmcb));
  if (vmcb.u8(at.shadow) & 1) state.interruptibility |= BLOCKING.STI;
  state.pendingDebug = 0;
  beginPauses(parts);
  state.globalInterruptFlag = 1;
  state.svmGuest = 1;
  state.nonRoot = 1;
  refreshMode(processor);
  controlTlb(parts);
  parts.mmu.enterGuestMode(vmcb.u32(at.asid), nested);
  if (state.cpl !== ringBefore) processor.hooks.ringChanged(ringBefore, state.cpl);
  return true;
}

/** What is asked for and not there stops the run. */
function refuseMissing({ vmcb }: SvmParts): void {
  const missing = exitCodeTable.find(({ exists, code }) => !exists && isIntercepted(vmcb, code));
  if (missing) unimplemented(`the SVM intercept of ${missing.name}`);
  if (vmcb.u8(at.lbr) & 3) unimplemented('LBR virtualization and virtualized VMLOAD and VMSAVE of SVM');
}

/** The host's page tables for the guest, with the host's registers in place. */
export function nestedPaging({ state, vmcb }: Pick<SvmParts, 'state' | 'vmcb'>): EptContext | undefined {
  if (!usesNestedPaging(vmcb)) return undefined;
  const { cr0, cr4, efer } = state;
  return nestedContext(vmcb.number(at.nCr3), {
    mode: pagingMode(cr0, cr4, efer),
    pageSizeExtensions: hasBit(cr4, CR4.PSE),
    executeDisable: hasBit(efer, EFER.NXE),
    asid: vmcb.u32(at.asid),
  });
}

/** Under PAE paging, not nested, the PDPTE registers come from memory. Throws GP(0) or a VM exit. */
export function loadPdptes({ state, mmu }: SvmParts): void {
  const usesPae = hasBit(state.cr0, CR0.PG) && hasBit(state.cr4, CR4.PAE) && !hasBit(state.efer, EFER.LMA);
  if (usesPae && !mmu.vcpu.ept) mmu.vcpu.pdptes.set(mmu.readPdptes(state.cr3));
}

/** Leaves the guest. `state.rip` is its RIP to save. False if the host's state is such that the processor shuts down. */
export function leaveGuest(parts: SvmParts, event: VmExit, instructionLengthBytes: number): boolean {
  const { processor, state, vmcb } = parts;
  vmcb.touch();
  const { delivering } = processor;
  writeExitInformation(parts, event, instructionLengthBytes);
  vmcb.setU64(at.exitIntInfo, delivering ? encodeEvent(delivering) : 0n);
  vmcb.setU64(at.eventInjection, 0n);
  vmcb.setU64(at.shadow, inShadow(state) ? 1n : 0n);
  saveRegisters(state, vmcb);
  saveGuestOnly(state, vmcb, usesNestedPaging(vmcb));
  return enterHost(parts);
}

/** The guest was not entered: nothing of it is saved. */
export function refuseGuest(parts: SvmParts): boolean {
  const { vmcb } = parts;
  vmcb.touch();
  vmcb.setNumber(at.exitCode, ExitCode.INVALID);
  vmcb.setU64(at.exitInfo1, 0n);
  vmcb.setU64(at.exitInfo2, 0n);
  vmcb.setU64(at.exitIntInfo, 0n);
  return enterHost(parts);
}

function writeExitInformation(parts: SvmParts, event: VmExit, instructionLengthBytes: number): void {
  const { vmcb, state, processor } = parts;
  const { reason, qualification, guestPhysical, guestLinear, secondInformation } = event;
  vmcb.setNumber(at.exitCode, reason);
  vmcb.setU64(at.exitInfo1, qualification);
  vmcb.setU64(at.exitInfo2, secondInformation ?? BigInt(guestPhysical ?? guestLinear ?? 0));
  const hasNext = instructionLengthBytes > 0 && processor.model.has('NRIPS');
  vmcb.setNumber(at.nextRip, hasNext ? plus(state.rip, instructionLengthBytes) : 0);
  if (processor.model.has('DecodeAssists')) fetchedBytes(parts, event, at.bytesFetched);
}

/** The host's state comes back, with GIF 0, its breakpoints disabled, at ring 0. */
function enterHost(parts: SvmParts): boolean {
  const { processor, state, vmcb, hostSave, mmu } = parts;
  const ringBefore = state.cpl;
  processor.delivering = undefined;
  processor.intercepts = undefined;
  state.globalInterruptFlag = 0;
  state.interruptibility &= ~SHADOWS;
  state.pendingDebug = 0;
  state.repeating = 0;
  state.activityState = ACTIVITY.ACTIVE;
  state.monitorArmed = MONITORING.OFF;
  loadRegisters(state, hostSave, linearAddressBits(processor.model));
  if (usesNestedPaging(vmcb)) loadHostPat(state, hostSave);
  state.cr0 |= CR0.PE;
  state.cr0 >>>= 0;
  state.dr7 = DR7_RESET;
  state.cpl = 0;
  state.flagsOther &= ~RFLAGS.VM;
  state.nonRoot = 0;
  state.svmGuest = 0;
  refreshMode(processor);
  mmu.enterRoot();
  if (ringBefore !== 0) processor.hooks.ringChanged(ringBefore, 0);
  return hostIsSound(parts);
}

/** Bits that there are not, in the host's registers or its PDPTEs, shut the processor down. */
function hostIsSound(parts: SvmParts): boolean {
  const { processor, state } = parts;
  const unknown =
    (BigInt(state.efer) & ~eferWritable(processor)) | (BigInt(state.cr4) & ~BigInt(cr4Allowed(processor)));
  if (unknown !== 0n) return false;
  try {
    loadPdptes(parts);
    return true;
  } catch (fault) {
    if (fault instanceof GuestFault) return false;
    throw fault;
  }
}

/** Whether an exit comes in place of an instruction, whose length it needs. */
export const exitsInstruction = (code: number): boolean => exitCode(code)?.isInstruction ?? false;
