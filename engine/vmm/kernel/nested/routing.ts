/** Who takes an exit of L2: its own hypervisor (L1), or the built-in one as if L2 was its guest. */
import { CR0 } from '../../../cpu/register-bits.ts';
import { EptRight, EptViolationBit } from '../../../mmu/access.ts';
import { ioBitmapsSay, type MsrAccess, msrBitmapsSay } from '../../../vmx/bitmaps.ts';
import { EXIT, PIN, PRIMARY } from '../../../vmx/controls.ts';
import { ExitReason, type ExitReasonName } from '../../../vmx/exit-reasons.ts';
import type { VmcsFieldName } from '../../../vmx/fields.ts';
import { CrAccess } from '../../../vmx/qualification.ts';
import { type Handling, kernelStage } from '../../stages.ts';
import { handleControlRegister } from '../exits/control-registers.ts';
import type { ExitHandler, VirtualCpu } from '../virtual-cpu.ts';
import { usesEpt } from './nested-entry.ts';
import { exitToL1 } from './nested-exit.ts';
import type { Vmcs12 } from './vmcs12.ts';

const RCX = 1;
const VALID = 0x8000_0000;
const RIGHTS_SHIFT = 3;
const LMSW_BITS = BigInt(CR0.PE | CR0.MP | CR0.EM | CR0.TS);

const TO_L1 = kernelStage(
  'VM exit to L1',
  'The exit belongs to the guest’s own hypervisor: its VMCS gets the state of its guest and the exit information, and it goes on at its host RIP.',
);
const SHADOW = kernelStage(
  'shadow EPT',
  'The EPT of the guest’s hypervisor maps the page: an entry that joins its translation with the hypervisor’s own is written into the EPT that the processor walks.',
);

/** Whether L1 wants the exit; what is not named always exits to it. */
const wanted: Partial<Record<ExitReasonName, (vcpu: VirtualCpu, vmcs12: Vmcs12) => boolean>> = {
  'External interrupt': (_, vmcs12) => vmcs12.hasPin(PIN['External-interrupt exiting']),
  'Interrupt window': (_, vmcs12) => vmcs12.hasPrimary(PRIMARY['Interrupt-window exiting']),
  HLT: (_, vmcs12) => vmcs12.hasPrimary(PRIMARY['HLT exiting']),
  RDPMC: (_, vmcs12) => vmcs12.hasPrimary(PRIMARY['RDPMC exiting']),
  MWAIT: (_, vmcs12) => vmcs12.hasPrimary(PRIMARY['MWAIT exiting']),
  MONITOR: (_, vmcs12) => vmcs12.hasPrimary(PRIMARY['MONITOR exiting']),
  'Control-register accesses': wantsControlRegister,
  'I/O instruction': wantsPort,
  RDMSR: (vcpu, vmcs12) => wantsMsr(vcpu, vmcs12, 'read'),
  WRMSR: (vcpu, vmcs12) => wantsMsr(vcpu, vmcs12, 'write'),
};
const byReason = new Map(
  Object.entries(wanted).map(([name, decide]) => [ExitReason[name as ExitReasonName] as number, decide]),
);

/** What to do about an exit of L2; undefined to handle it as one of the built-in hypervisor's own guest. */
export function nestedHandler(vcpu: VirtualCpu): ExitHandler | undefined {
  const { vmcs12 } = vcpu.nested;
  const { exitReason: reason } = vcpu.guest;
  if (reason === ExitReason['EPT violation']) return usesEpt(vmcs12) ? handleViolation : undefined;
  const decide = byReason.get(reason);
  if (!decide || decide(vcpu, vmcs12)) return reason === ExitReason['External interrupt'] ? reflectInterrupt : reflect;
  if (reason === ExitReason['Control-register accesses']) return changeOwnBits;
  return undefined;
}

function* reflect(vcpu: VirtualCpu, changes: Parameters<typeof exitToL1>[1] = {}): Handling {
  vcpu.stages.enter(TO_L1);
  yield;
  exitToL1(vcpu, changes);
  vcpu.stages.leave();
}

/** The vector is acknowledged for L1 if it wants that; otherwise it takes the interrupt itself, once it has enabled them. */
function reflectInterrupt(vcpu: VirtualCpu): Handling {
  const { interrupts } = vcpu.parts;
  const acknowledges = vcpu.nested.vmcs12.hasExit(EXIT['Acknowledge interrupt on exit']);
  const vector = acknowledges && interrupts.interruptPending ? interrupts.acknowledge() : undefined;
  return reflect(vcpu, { 'VM-exit interruption information': vector === undefined ? 0 : (vector | VALID) >>> 0 });
}

/** Either L1's tables map the page, then ours will; or they do not, which is for L1 to see. */
function* handleViolation(vcpu: VirtualCpu): Handling {
  const { guest, nested } = vcpu;
  const { qualification, guestPhysical } = guest;
  const found = nested.ept.map(guestPhysical, qualification & EptRight.All);
  if (found.kind === 'mapped') {
    vcpu.stages.enter(SHADOW);
    yield;
    if (qualification & EptViolationBit.NmiUnblocking && !guest.wasDelivering) guest.blockNmis();
    return vcpu.stages.leave();
  }
  if (found.kind === 'device') return vcpu.parts.unimplemented('access of a nested guest to a device in memory');
  if (found.kind === 'violation') {
    const rights = EptRight.All << RIGHTS_SHIFT;
    const seen = (qualification & ~rights) | ((found.rights & EptRight.All) << RIGHTS_SHIFT);
    return yield* reflect(vcpu, { 'Exit qualification': seen >>> 0 });
  }
  yield* reflect(vcpu, { 'Exit reason': ExitReason['EPT misconfiguration'], 'Exit qualification': 0 });
}

/** L2 changes bits that only the built-in hypervisor owns: those of L1 stay as they are. */
function changeOwnBits(vcpu: VirtualCpu): undefined {
  const { guest, nested } = vcpu;
  const name = (guest.qualification & 15) === 4 ? 'CR4' : 'CR0';
  const mask = nested.vmcs12.u64(`${name} guest/host mask`);
  const fields: readonly VmcsFieldName[] = [`Guest ${name}`, `${name} read shadow`];
  const before = fields.map((field) => guest.field(field));
  handleControlRegister(vcpu);
  fields.forEach((field, index) => {
    guest.setField(field, (guest.field(field) & ~mask) | ((before[index] as bigint) & mask));
  });
  return undefined;
}

function wantsControlRegister({ guest }: VirtualCpu, vmcs12: Vmcs12): boolean {
  const { qualification } = guest;
  const register = qualification & 15;
  const type = (qualification >> 4) & 3;
  if ((register !== 0 && register !== 4) || type === CrAccess.movFrom) return true;
  const name = register === 4 ? 'CR4' : 'CR0';
  const mask = vmcs12.u64(`${name} guest/host mask`);
  const shadow = vmcs12.u64(`${name} read shadow`);
  const ts = BigInt(CR0.TS);
  if (type === CrAccess.clts) return (mask & shadow & ts) !== 0n;
  if (type === CrAccess.movTo) return ((guest.gpr((qualification >> 8) & 15) ^ shadow) & mask) !== 0n;
  // LMSW cannot clear PE.
  const source = BigInt(qualification >>> 16) | (shadow & BigInt(CR0.PE));
  return ((source ^ shadow) & mask & LMSW_BITS) !== 0n;
}

function wantsPort({ guest, parts }: VirtualCpu, vmcs12: Vmcs12): boolean {
  if (!vmcs12.hasPrimary(PRIMARY['Use I/O bitmaps'])) return vmcs12.hasPrimary(PRIMARY['Unconditional I/O exiting']);
  const [port, sizeBytes] = [guest.qualification >>> 16, (guest.qualification & 7) + 1];
  const [a, b] = [vmcs12.number('Address of I/O bitmap A'), vmcs12.number('Address of I/O bitmap B')];
  return ioBitmapsSay(parts.memory, a, b, port, sizeBytes);
}

function wantsMsr({ parts }: VirtualCpu, vmcs12: Vmcs12, access: MsrAccess): boolean {
  if (!vmcs12.hasPrimary(PRIMARY['Use MSR bitmaps'])) return true;
  return msrBitmapsSay(parts.memory, vmcs12.number('Address of MSR bitmaps'), parts.state.gpr32(RCX), access);
}
