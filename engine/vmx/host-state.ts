/** Loading the host state at VM exit (SDM volume 3, "Loading Host State"). */
import { writeFlags } from '../cpu/flags.ts';
import { refreshMode } from '../cpu/modes.ts';
import { ACCESS, ACTIVITY, CR0, CR4, EFER, hasBit } from '../cpu/register-bits.ts';
import { CS, DS, ES, FS, GS, LDTR, SS, TR } from '../cpu/state.ts';
import { EXIT } from './controls.ts';
import { mergeCr0 } from './guest-state.ts';
import { offsetOf } from './vmcs.ts';
import type { VmxParts } from './vmx-parts.ts';

const HOST_CR0 = offsetOf('Host CR0');
const HOST_CR4 = offsetOf('Host CR4');
const HOST_EFER = offsetOf('Host IA32_EFER');
const HOST_PAT = offsetOf('Host IA32_PAT');
const HOST_TR_BASE = offsetOf('Host TR base');
const HOST_FS_BASE = offsetOf('Host FS base');
const HOST_GS_BASE = offsetOf('Host GS base');
const HOST_CS = offsetOf('Host CS selector');
const HOST_TR = offsetOf('Host TR selector');
const EXIT_CONTROLS = offsetOf('Primary VM-exit controls');

const DR7_RESET = 0x400;
const FLAT_LIMIT = 0xffff_ffff;
const TSS_LIMIT = 0x67;
const CODE = ACCESS.P | ACCESS.S | ACCESS.G | 11;
const DATA = ACCESS.P | ACCESS.S | ACCESS.G | ACCESS.DB | 3;
const BUSY_TSS = ACCESS.P | 11;

const dataSegments: readonly (readonly [number, number])[] = [
  [ES, offsetOf('Host ES selector')],
  [SS, offsetOf('Host SS selector')],
  [DS, offsetOf('Host DS selector')],
  [FS, offsetOf('Host FS selector')],
  [GS, offsetOf('Host GS selector')],
];

/**
 * Loads all of the host state but blocking by NMI, which is the caller's. Throws #GP(0) for reserved bits in the PDPTEs
 * of a host with PAE paging, which is a VMX abort.
 */
export function loadHostState(parts: VmxParts): void {
  const { processor, state, mmu, vmcs, copies } = parts;
  const ringBefore = state.cpl;
  const controls = vmcs.u32(EXIT_CONTROLS);
  const long = (controls & EXIT['Host address-space size']) !== 0;
  copies.loadHost();
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
  loadHostSegments(parts, long);
  state.cpl = 0;
  state.activityState = ACTIVITY.ACTIVE;
  state.pendingDebug = 0;
  state.nonRoot = 0;
  refreshMode(processor);
  mmu.enterRoot();
  if (!long && hasBit(state.cr4, CR4.PAE) && hasBit(state.cr0, CR0.PG)) {
    mmu.vcpu.pdptes.set(mmu.readPdptes(state.cr3));
  }
  if (ringBefore !== 0) processor.hooks.ringChanged(ringBefore, 0);
}

function loadHostSegments({ state, vmcs }: VmxParts, long: boolean): void {
  const cs = state.segment(CS);
  cs.selector = vmcs.u32(HOST_CS) & 0xffff;
  cs.base = 0;
  cs.limit = FLAT_LIMIT;
  cs.attributes = CODE | (long ? ACCESS.L : ACCESS.DB);
  for (const [index, offset] of dataSegments) {
    const segment = state.segment(index);
    const selector = vmcs.u32(offset) & 0xffff;
    segment.selector = selector;
    segment.base = index === FS ? vmcs.number(HOST_FS_BASE) : index === GS ? vmcs.number(HOST_GS_BASE) : 0;
    segment.limit = FLAT_LIMIT;
    segment.attributes = selector === 0 ? DATA | ACCESS.UNUSABLE : DATA;
  }
  const tr = state.segment(TR);
  tr.selector = vmcs.u32(HOST_TR) & 0xffff;
  tr.base = vmcs.number(HOST_TR_BASE);
  tr.limit = TSS_LIMIT;
  tr.attributes = BUSY_TSS;
  const ldtr = state.segment(LDTR);
  ldtr.selector = 0;
  ldtr.base = 0;
  ldtr.attributes = ACCESS.UNUSABLE;
  state.gdtrLimit = 0xffff;
  state.idtrLimit = 0xffff;
}
