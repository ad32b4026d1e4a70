/** Loading the host state at VM exit (SDM volume 3, "Loading Host State"). */
import { DR7_RESET } from '../cpu/debug-registers.ts';
import { writeFlags } from '../cpu/flags.ts';
import { refreshMode } from '../cpu/modes.ts';
import { ACTIVITY, CR0, CR4, EFER, hasBit } from '../cpu/register-bits.ts';
import { EXIT } from './controls.ts';
import { mergeCr0 } from './guest-state.ts';
import { offsetOf } from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';

const HOST_CR0 = offsetOf('Host CR0');
const HOST_CR4 = offsetOf('Host CR4');
const HOST_EFER = offsetOf('Host IA32_EFER');
const HOST_PAT = offsetOf('Host IA32_PAT');
const EXIT_CONTROLS = offsetOf('Primary VM-exit controls');

/**
 * Loads all of the host state but blocking by NMI, which is the caller's. Throws #GP(0) for reserved bits in the PDPTEs
 * of a host with PAE paging, which is a VMX abort.
 */
export function loadHostState(parts: VmxParts): void {
  const { processor, state, mmu, vmcs, copies } = parts;
  const ringBefore = state.cpl;
  const controls = vmcs.u32(EXIT_CONTROLS);
  const long = (controls & EXIT['Host address-space size']) !== 0;
  copies.loadHost(long);
  state.cr0 = mergeCr0(state.cr0, vmcs.u32(HOST_CR0));
  // The host's size overrules CR4.PAE and CR4.PCIDE.
  const cr4 = vmcs.u32(HOST_CR4);
  state.cr4 = long ? cr4 | CR4.PAE : cr4 & ~CR4.PCIDE;
  const efer = controls & EXIT['Load IA32_EFER'] ? vmcs.u32(HOST_EFER) : state.efer;
  state.efer = long ? efer | EFER.LMA | EFER.LME : efer & ~(EFER.LMA | EFER.LME);
  if (controls & EXIT['Load IA32_PAT']) state.pat = vmcs.u64(HOST_PAT);
  state.dr7 = DR7_RESET;
  state.debugctl = 0;
  writeFlags(state, 2);
  state.cpl = 0;
  state.activityState = ACTIVITY.ACTIVE;
  state.pendingDebug = 0;
  state.repeating = 0;
  state.nonRoot = 0;
  refreshMode(processor);
  mmu.enterRoot();
  if (!long && hasBit(state.cr4, CR4.PAE) && hasBit(state.cr0, CR0.PG)) {
    mmu.vcpu.pdptes.set(mmu.readPdptes(state.cr3));
  }
  if (ringBefore !== 0) processor.hooks.ringChanged(ringBefore, 0);
}
