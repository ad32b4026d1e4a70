/** Guest state to and from the VMCS (SDM volume 3, "Loading Guest State" and "Saving Guest State"). */
import { readFlags, writeFlags } from '../cpu/flags.ts';
import { refreshMode } from '../cpu/modes.ts';
import { ACCESS, ACTIVITY, BLOCKING, CR0, CR4, EFER, hasBit } from '../cpu/register-bits.ts';
import { type CpuState, SS } from '../cpu/state.ts';
import { ENTRY, EXIT, SECONDARY } from './controls.ts';
import { guestPdpteFields } from './fields.ts';
import { offsetOf, type Vmcs } from './vmcs.ts';
import { eptOptionsUnder, eptpUnder, hasSecondary, secondaryControls, type VmxParts, vpidUnder } from './vmx-parts.ts';

const GUEST_CR0 = offsetOf('Guest CR0');
const GUEST_CR4 = offsetOf('Guest CR4');
const GUEST_DR7 = offsetOf('Guest DR7');
const GUEST_RFLAGS = offsetOf('Guest RFLAGS');
const GUEST_DEBUGCTL = offsetOf('Guest IA32_DEBUGCTL');
const GUEST_EFER = offsetOf('Guest IA32_EFER');
const GUEST_PAT = offsetOf('Guest IA32_PAT');
const PENDING_DEBUG = offsetOf('Guest pending debug exceptions');
const ENTRY_CONTROLS = offsetOf('VM-entry controls');
const EXIT_CONTROLS = offsetOf('Primary VM-exit controls');
const PDPTES = guestPdpteFields.map(offsetOf);

/** Bits of CR0 that neither VM entry nor VM exit changes. */
export const CR0_KEPT = CR0.ET | CR0.NW | CR0.CD;
/** And those that both load. */
export const CR0_LOADED = CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.NE | CR0.WP | CR0.AM | (CR0.PG | 0);

/** CR0 after VM entry or exit loads `value`. */
export const mergeCr0 = (before: number, value: number): number => ((before & CR0_KEPT) | (value & CR0_LOADED)) >>> 0;

/** DR7 bits that are always 0, and the one that is always 1. */
const DR7_CLEAR = (1 << 11) | (1 << 12) | (1 << 14) | (1 << 15);
const DR7_SET = 1 << 10;

/** Enabled breakpoint, in the pending debug exceptions: some of B3 to B0 is of an enabled breakpoint. */
const ENABLED_BREAKPOINT = 1 << 12;
const DR6_BREAKPOINTS = 0xf;
const DR6_SINGLE_STEP = 1 << 14;

/** Loads all of the guest-state area. The checks have passed. */
export function loadGuestState(parts: VmxParts): void {
  const { processor, state, mmu, vmcs, copies } = parts;
  const ringBefore = state.cpl;
  const controls = vmcs.u32(ENTRY_CONTROLS);
  copies.loadGuest();
  state.cr0 = mergeCr0(state.cr0, vmcs.u32(GUEST_CR0));
  state.cr4 = vmcs.u32(GUEST_CR4);
  state.efer = guestEfer(state, vmcs, controls);
  if (controls & ENTRY['Load IA32_PAT']) state.pat = vmcs.u64(GUEST_PAT);
  if (controls & ENTRY['Load debug controls']) {
    state.dr7 = (vmcs.u32(GUEST_DR7) & ~DR7_CLEAR) | DR7_SET;
    state.debugctl = vmcs.u32(GUEST_DEBUGCTL);
  }
  writeFlags(state, vmcs.u32(GUEST_RFLAGS));
  state.cpl = (state.segment(SS).attributes & ACCESS.DPL) >>> 5;
  state.pendingDebug = vmcs.u32(PENDING_DEBUG) & (DR6_BREAKPOINTS | DR6_SINGLE_STEP);
  state.nonRoot = 1;
  refreshMode(processor);
  const secondary = secondaryControls(vmcs);
  mmu.enterNonRoot(vpidUnder(secondary, vmcs), eptpUnder(secondary, vmcs), eptOptionsUnder(secondary));
  loadPdptes(parts);
  if (state.cpl !== ringBefore) processor.hooks.ringChanged(ringBefore, state.cpl);
}

/** IA32_EFER: loaded, or LMA and LME made to follow the "IA-32e mode guest" control. */
function guestEfer(state: CpuState, vmcs: Vmcs, controls: number): number {
  if (controls & ENTRY['Load IA32_EFER']) return vmcs.u32(GUEST_EFER);
  const long = (controls & ENTRY['IA-32e mode guest']) !== 0;
  // An unpaged guest keeps LME as it was.
  const changed = hasBit(state.cr0, CR0.PG) ? EFER.LMA | EFER.LME : EFER.LMA;
  return long ? state.efer | changed : state.efer & ~changed;
}

const usesPaePaging = ({ cr0, cr4, efer }: CpuState): boolean =>
  hasBit(cr0, CR0.PG) && hasBit(cr4, CR4.PAE) && !hasBit(efer, EFER.LMA);

/** PDPTE registers come from the VMCS under EPT, else from memory. */
function loadPdptes({ state, mmu, vmcs }: VmxParts): void {
  if (!usesPaePaging(state)) return;
  if (!hasSecondary(vmcs, SECONDARY['Enable EPT'])) mmu.vcpu.pdptes.set(mmu.readPdptes(state.cr3));
  else for (let index = 0; index < 4; index++) mmu.vcpu.pdptes[index] = vmcs.number(PDPTES[index] as number);
}

/**
 * Saves the guest's state to the VMCS. `resumeFlag` is the value to save as RFLAGS.RF, undefined for RF as it is.
 */
export function saveGuestState({ state, mmu, vmcs, copies }: VmxParts, resumeFlag: boolean | undefined): void {
  const RF = 1 << 16;
  copies.saveGuest();
  vmcs.setU32(GUEST_CR0, state.cr0);
  vmcs.setU32(GUEST_CR4, state.cr4);
  const flags = readFlags(state);
  vmcs.setU32(GUEST_RFLAGS, resumeFlag === undefined ? flags : resumeFlag ? flags | RF : flags & ~RF);
  const { pendingDebug } = state;
  vmcs.setU32(PENDING_DEBUG, pendingDebug | (pendingDebug & DR6_BREAKPOINTS ? ENABLED_BREAKPOINT : 0));
  const controls = vmcs.u32(EXIT_CONTROLS);
  if (controls & EXIT['Save debug controls']) {
    vmcs.setU32(GUEST_DR7, state.dr7);
    vmcs.setU32(GUEST_DEBUGCTL, state.debugctl);
  }
  if (controls & EXIT['Save IA32_EFER']) vmcs.setU32(GUEST_EFER, state.efer);
  if (controls & EXIT['Save IA32_PAT']) vmcs.setU64(GUEST_PAT, state.pat);
  saveIa32eMode(state, vmcs);
  if (usesPaePaging(state) && hasSecondary(vmcs, SECONDARY['Enable EPT'])) {
    for (let index = 0; index < 4; index++) vmcs.setNumber(PDPTES[index] as number, mmu.vcpu.pdptes[index] as number);
  }
}

/** IA32_VMX_MISC bit 5: exits store IA32_EFER.LMA into the "IA-32e mode guest" control. */
function saveIa32eMode(state: CpuState, vmcs: Vmcs): void {
  const mask = ENTRY['IA-32e mode guest'];
  const controls = vmcs.u32(ENTRY_CONTROLS);
  const next = hasBit(state.efer, EFER.LMA) ? controls | mask : controls & ~mask;
  if (next !== controls) vmcs.setU32(ENTRY_CONTROLS, next);
}

/** What an event that is delivered or injected does to the waiting guest: it becomes active, shadows end. */
export function wakeGuest(state: CpuState): void {
  state.activityState = ACTIVITY.ACTIVE;
  state.interruptibility &= ~(BLOCKING.STI | BLOCKING.MOV_SS);
}
