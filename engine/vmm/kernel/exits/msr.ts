/**
 * RDMSR and WRMSR. MSRs that VM entries and exits switch live in the VMCS; the others stay in the processor, as nothing
 * in the host depends on them, and are read and written there.
 */
import { GuestFault, Vector } from '../../../cpu/events.ts';
import { readMsr, writeMsr } from '../../../cpu/msrs.ts';
import { CR0, EFER, hasBit } from '../../../cpu/register-bits.ts';
import { offsetOf } from '../../../vmx/vmcs.ts';
import { readCapability } from '../nested/capabilities.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;

const IA32_TIME_STAMP_COUNTER = 0x10;
const IA32_FEATURE_CONTROL = 0x3a;
const IA32_DEBUGCTL = 0x1d9;
const IA32_PAT = 0x277;
const IA32_EFER = 0xc000_0080;
const FIRST_VMX_CAPABILITY = 0x480;
const LAST_VMX_CAPABILITY = 0x491;
const FEATURE_CONTROL = { LOCK: 1, WRITABLE: 7 } as const;

const EFER_WRITABLE = BigInt(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE);
const DEBUGCTL_WRITABLE = 3n;
/** Encodings of memory types that a PAT entry may hold. */
const PAT_TYPES: readonly number[] = [0, 1, 4, 5, 6, 7];

const TSC_OFFSET = offsetOf('TSC offset');
const GUEST_PAT = offsetOf('Guest IA32_PAT');
const GUEST_DEBUGCTL = offsetOf('Guest IA32_DEBUGCTL');

/** The guest is refused the MSR or the value. */
const refuse = (): GuestFault => new GuestFault(Vector.GP, 0);

export function handleRdmsr(vcpu: VirtualCpu): undefined {
  const { state } = vcpu.parts;
  vcpu.carryOut(() => {
    const value = readGuestMsr(vcpu, state.gpr32(RCX));
    state.setGpr(RAX, value & 0xffff_ffffn);
    state.setGpr(RDX, value >> 32n);
    vcpu.skipInstruction();
  });
}

export function handleWrmsr(vcpu: VirtualCpu): undefined {
  const { state } = vcpu.parts;
  vcpu.carryOut(() => {
    writeGuestMsr(vcpu, state.gpr32(RCX), (BigInt(state.gpr32(RDX)) << 32n) | BigInt(state.gpr32(RAX)));
    vcpu.skipInstruction();
  });
}

const isVmxCapability = (index: number): boolean => index >= FIRST_VMX_CAPABILITY && index <= LAST_VMX_CAPABILITY;

/** An MSR as the guest has it; throws #GP(0). */
export function readGuestMsr(vcpu: VirtualCpu, index: number): bigint {
  const { guest, processor } = vcpu.parts;
  if (isVmxCapability(index)) return readCapability(processor, index);
  switch (index) {
    case IA32_TIME_STAMP_COUNTER:
      return BigInt.asUintN(64, processor.tscNow() + guest.vmcs.u64(TSC_OFFSET));
    case IA32_FEATURE_CONTROL:
      return BigInt(vcpu.nested.featureControl);
    case IA32_EFER:
      return BigInt(guest.efer);
    case IA32_PAT:
      return guest.vmcs.u64(GUEST_PAT);
    case IA32_DEBUGCTL:
      return guest.vmcs.u64(GUEST_DEBUGCTL);
    default:
      return readMsr(processor, index);
  }
}

/** As WRMSR of the guest; throws #GP(0). */
export function writeGuestMsr(vcpu: VirtualCpu, index: number, value: bigint): void {
  const { guest, processor } = vcpu.parts;
  if (isVmxCapability(index)) throw refuse();
  switch (index) {
    case IA32_TIME_STAMP_COUNTER:
      return guest.vmcs.setU64(TSC_OFFSET, BigInt.asUintN(64, value - processor.tscNow()));
    case IA32_FEATURE_CONTROL:
      return writeFeatureControl(vcpu, Number(value));
    case IA32_EFER:
      return writeEfer(vcpu, value);
    case IA32_PAT:
      return writePat(vcpu, value);
    case IA32_DEBUGCTL:
      if (value & ~DEBUGCTL_WRITABLE) throw refuse();
      return guest.vmcs.setU64(GUEST_DEBUGCTL, value);
    default:
      return writeMsr(processor, index, value);
  }
}

function writeFeatureControl({ nested }: VirtualCpu, value: number): void {
  if (nested.featureControl & FEATURE_CONTROL.LOCK || value > FEATURE_CONTROL.WRITABLE) throw refuse();
  nested.featureControl = value;
}

/** LMA follows paging and LME; a write leaves it. LME cannot change while paging is on. */
function writeEfer(vcpu: VirtualCpu, value: bigint): void {
  const { guest } = vcpu.parts;
  if (value & ~EFER_WRITABLE) throw refuse();
  const next = (Number(value) & ~EFER.LMA) | (guest.efer & EFER.LMA);
  if (hasBit(guest.efer ^ next, EFER.LME) && hasBit(guest.cr0, CR0.PG)) throw refuse();
  guest.efer = next;
}

function writePat(vcpu: VirtualCpu, value: bigint): void {
  for (let entry = 0; entry < 8; entry++) {
    if (!PAT_TYPES.includes(Number((value >> BigInt(entry * 8)) & 0xffn))) throw refuse();
  }
  vcpu.guest.vmcs.setU64(GUEST_PAT, value);
}
