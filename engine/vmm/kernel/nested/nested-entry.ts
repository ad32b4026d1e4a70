/**
 * VM entries of a guest that is a hypervisor: the VMCS that the CPU gets for L2 (VMCS02) is merged from that of L1's VMCS
 * for it (VMCS12) and what the hypervisor itself needs.
 */
import { GuestFault } from '../../../cpu/events.ts';
import { PAGE_BYTES } from '../../../cpu/memory-map.ts';
import { ACTIVITY, EFER } from '../../../cpu/register-bits.ts';
import { ENTRY, EXIT, PIN, PRIMARY, SECONDARY } from '../../../vmx/controls.ts';
import { checkControlsAndHost, checkGuestState } from '../../../vmx/entry-checks/check-vm-entry.ts';
import { ExitReason } from '../../../vmx/exit-reasons.ts';
import type { VmcsFieldName } from '../../../vmx/fields.ts';
import { InstructionError } from '../../../vmx/instruction-errors.ts';
import { supportedFields } from '../../../vmx/vmcs.ts';
import { forcedCr0, forcedCr4 } from '../exits/control-registers.ts';
import { writeGuestMsr } from '../exits/msr.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';
import { controlFields, type FieldValues, hostFields } from '../vmcs-setup.ts';
import { offeredControls } from './capabilities.ts';
import { failEntryOfL2 } from './nested-exit.ts';
import type { Vmcs12 } from './vmcs12.ts';

const NO_LINK = 0xffff_ffff_ffff_ffffn;
const MSR_ENTRY_BYTES = 16;

/** Fields of the guest-state area: VMCS02 has those of VMCS12. */
export const guestStateFields = supportedFields
  .filter(({ group, name }) => group.startsWith('Guest') && name !== 'VMCS link pointer')
  .map(({ name }) => name as VmcsFieldName);

/** Controls that mean for L2 what L1 says, and nothing to the hypervisor. */
const COPIED = [
  'Page-fault error-code mask',
  'Page-fault error-code match',
  'Exception bitmap',
  'CR3-target count',
  'CR3-target value 0',
  'CR3-target value 1',
  'CR3-target value 2',
  'CR3-target value 3',
  'VM-entry interruption-information field',
  'VM-entry exception error code',
  'VM-entry instruction length',
] as const satisfies readonly VmcsFieldName[];

/** Secondary controls that L2 has as L1 says; those that L1 may use besides are the hypervisor's own too. */
const L1_SECONDARY =
  SECONDARY['Descriptor-table exiting'] |
  SECONDARY['Enable RDTSCP'] |
  SECONDARY['WBINVD exiting'] |
  SECONDARY['Unrestricted guest'] |
  SECONDARY['RDRAND exiting'] |
  SECONDARY['Enable INVPCID'] |
  SECONDARY['RDSEED exiting'] |
  SECONDARY['Enable XSAVES/XRSTORS'];
/** How ports and MSRs exit is the hypervisor's choice, as it wants more exits than L1. */
const L0_PRIMARY =
  PRIMARY['Use I/O bitmaps'] |
  PRIMARY['Use MSR bitmaps'] |
  PRIMARY['Unconditional I/O exiting'] |
  PRIMARY['Use TSC offsetting'];

/**
 * VMLAUNCH or VMRESUME of L1, whose VMCS is the current one and in the right launch state. Afterwards VMCS02 is current and
 * ready, or L1 is at its exit handler as the entry failed. Returns the VM-instruction error if the entry is refused.
 */
export function enterL2(vcpu: VirtualCpu): number | undefined {
  const { nested, operation, guest } = vcpu;
  const { vmcs12 } = nested;
  const refusal = refusalOf(vcpu, vmcs12);
  if (refusal !== undefined) return refusal;
  const rule = withCurrent(vcpu, vmcs12, () => checkGuestState(vcpu.parts.vmx));
  if (rule) {
    const reason = ExitReason['VM-entry failure due to invalid guest state'];
    failEntryOfL2(vcpu, reason, BigInt(rule.qualification ?? 0));
    return undefined;
  }
  // Without VPIDs, or with another VPID than before, L2 finds no translations: all of its have one tag.
  const hasVpid = vmcs12.hasSecondary(SECONDARY['Enable VPID']);
  const vpid = hasVpid ? vmcs12.u32('Virtual-processor identifier') : 0;
  const isOther = vpid !== nested.vpid12 || !hasVpid;
  nested.vpid12 = vpid;
  if (usesEpt(vmcs12) && nested.ept.use(vmcs12.number('EPT pointer'))) operation.invalidateEpt(nested.ept.pointer);
  const fields = mergedFields(vcpu, vmcs12);
  mergeMsrBitmaps(vcpu, vmcs12);
  operation.vmptrld(nested.vmcs02);
  nested.isL2 = true;
  for (const [name, value] of fields) guest.setField(name, value);
  if (isOther) operation.invalidateVpid(vcpu.nestedVpid);
  haltIfAsked(vcpu, vmcs12);
  loadMsrs(vcpu, vmcs12);
  return undefined;
}

export const usesEpt = (vmcs12: Vmcs12): boolean => vmcs12.hasSecondary(SECONDARY['Enable EPT']);

/** Runs checks of the CPU's on a VMCS of L1, in the mode that L1 is in. */
function withCurrent<T>({ parts, guest }: VirtualCpu, vmcs12: Vmcs12, check: () => T): T {
  const { state } = parts;
  const { currentVmcs, efer } = state;
  const { efer: efer1 } = guest;
  state.currentVmcs = vmcs12.address;
  state.efer = efer1;
  try {
    return check();
  } finally {
    state.currentVmcs = currentVmcs;
    state.efer = efer;
  }
}

function refusalOf(vcpu: VirtualCpu, vmcs12: Vmcs12): number | undefined {
  const controls = [
    ['pin', vmcs12.u32('Pin-based VM-execution controls')],
    ['primary', vmcs12.u32('Primary processor-based VM-execution controls')],
    ['secondary', vmcs12.secondary],
    ['exit', vmcs12.u32('Primary VM-exit controls')],
    ['entry', vmcs12.u32('VM-entry controls')],
  ] as const;
  if (controls.some(([group, value]) => (value & ~offeredControls(group)) !== 0))
    return InstructionError.invalidControls;
  return withCurrent(vcpu, vmcs12, () => checkControlsAndHost(vcpu.parts.vmx))?.error;
}

/** All fields of VMCS02. To be asked for while VMCS01 is current. */
function mergedFields(vcpu: VirtualCpu, vmcs12: Vmcs12): FieldValues {
  const { nested, guest, addresses } = vcpu;
  const own = (name: VmcsFieldName): bigint => guest.field(name);
  const base = controlFields({
    ioBitmapA: Number(own('Address of I/O bitmap A')),
    ioBitmapB: Number(own('Address of I/O bitmap B')),
    msrBitmaps: nested.msrBitmaps,
    eptPointer: usesEpt(vmcs12) ? nested.ept.pointer : Number(own('EPT pointer')),
    vpid: vcpu.nestedVpid,
  });
  const basic = new Map<VmcsFieldName, number | bigint>(base);
  const or = (name: VmcsFieldName, bits: number): number => (Number(basic.get(name) ?? 0) | bits) >>> 0;
  // The timer goes on over exits that L1 does not see.
  const hasTimer = vmcs12.hasPin(PIN['Activate VMX-preemption timer']);
  const timer = hasTimer ? EXIT['Save VMX-preemption timer value'] : 0;
  const offset = vmcs12.hasPrimary(PRIMARY['Use TSC offsetting']) ? vmcs12.u64('TSC offset') : 0n;
  const secondary = Number(basic.get('Secondary processor-based VM-execution controls')) & ~L1_SECONDARY;
  return [
    ...base,
    ...hostFields(addresses.host),
    ...guestStateFields.map((name): [VmcsFieldName, bigint] => [name, vmcs12.u64(name)]),
    ...COPIED.map((name): [VmcsFieldName, bigint] => [name, vmcs12.u64(name)]),
    ['VMCS link pointer', NO_LINK],
    [
      'Pin-based VM-execution controls',
      or('Pin-based VM-execution controls', vmcs12.u32('Pin-based VM-execution controls')),
    ],
    [
      'Primary processor-based VM-execution controls',
      or(
        'Primary processor-based VM-execution controls',
        vmcs12.u32('Primary processor-based VM-execution controls') & ~L0_PRIMARY,
      ),
    ],
    ['Secondary processor-based VM-execution controls', secondary | (vmcs12.secondary & L1_SECONDARY)],
    ['Primary VM-exit controls', or('Primary VM-exit controls', timer)],
    ['TSC offset', BigInt.asUintN(64, own('TSC offset') + offset)],
    ...controlRegisterFields(vmcs12),
    ...switchedRegisters(vcpu, vmcs12, own),
  ];
}

/** L2 owns the bits that neither L1 nor the hypervisor does. Of those that only the hypervisor owns, it sees its own values. */
function controlRegisterFields(vmcs12: Vmcs12): FieldValues {
  return (['CR0', 'CR4'] as const).flatMap((name): FieldValues => {
    const forced = BigInt(name === 'CR0' ? forcedCr0 : forcedCr4);
    const mask = vmcs12.u64(`${name} guest/host mask`);
    const value = vmcs12.u64(`Guest ${name}`);
    return [
      [`${name} guest/host mask`, mask | forced],
      [`${name} read shadow`, (vmcs12.u64(`${name} read shadow`) & mask) | (value & ~mask)],
      [`Guest ${name}`, value | forced],
    ];
  });
}

/** What L1's VM-entry controls decide: taken from VMCS12, or kept as L1 has it. */
function switchedRegisters(vcpu: VirtualCpu, vmcs12: Vmcs12, own: (name: VmcsFieldName) => bigint): FieldValues {
  const from = (control: number, name: VmcsFieldName): [VmcsFieldName, bigint] => [
    name,
    vmcs12.hasEntry(control) ? vmcs12.u64(name) : own(name),
  ];
  const isLong = vmcs12.hasEntry(ENTRY['IA-32e mode guest']);
  const kept = (vcpu.guest.efer & ~(EFER.LMA | EFER.LME)) | (isLong ? EFER.LMA | EFER.LME : 0);
  const efer = vmcs12.hasEntry(ENTRY['Load IA32_EFER']) ? vmcs12.u64('Guest IA32_EFER') : BigInt(kept);
  const controls = ENTRY['Load debug controls'] | ENTRY['Load IA32_PAT'] | ENTRY['Load IA32_EFER'];
  return [
    ['VM-entry controls', (vmcs12.u32('VM-entry controls') | controls) >>> 0],
    ['Guest IA32_EFER', efer],
    from(ENTRY['Load IA32_PAT'], 'Guest IA32_PAT'),
    from(ENTRY['Load debug controls'], 'Guest DR7'),
    from(ENTRY['Load debug controls'], 'Guest IA32_DEBUGCTL'),
    ['VM-entry MSR-load count', 0],
    ['VM-exit MSR-load count', 0],
    ['VM-exit MSR-store count', 0],
  ];
}

/** An MSR access exits if the hypervisor or L1 wants that. */
function mergeMsrBitmaps({ parts, guest, nested }: VirtualCpu, vmcs12: Vmcs12): void {
  const { physical } = parts.memory;
  const own = Number(guest.field('Address of MSR bitmaps'));
  const uses = vmcs12.hasPrimary(PRIMARY['Use MSR bitmaps']);
  const other = vmcs12.number('Address of MSR bitmaps');
  for (let at = 0; at < PAGE_BYTES; at += 8) {
    const wanted = uses ? parts.memory.read(other + at, 8) : 0xffff_ffff_ffff_ffffn;
    physical.writeU64(nested.msrBitmaps + at, physical.readU64(own + at) | wanted);
  }
}

/** L2 may begin in the HLT state; the hypervisor waits for its interrupts as after an exit by HLT. */
function haltIfAsked(vcpu: VirtualCpu, vmcs12: Vmcs12): void {
  const activity = vmcs12.u32('Guest activity state');
  if (activity === ACTIVITY.HLT) {
    vcpu.isHalted = (vmcs12.u32('VM-entry interruption-information field') & 0x8000_0000) === 0;
    vcpu.guest.setField('Guest activity state', ACTIVITY.ACTIVE);
  } else if (activity !== ACTIVITY.ACTIVE) {
    vcpu.parts.unimplemented('shutdown or wait-for-SIPI state of a nested guest');
  }
}

function loadMsrs(vcpu: VirtualCpu, vmcs12: Vmcs12): void {
  const failed = loadMsrArea(vcpu, vmcs12.number('VM-entry MSR-load address'), vmcs12.u32('VM-entry MSR-load count'));
  if (failed > 0) failEntryOfL2(vcpu, ExitReason['VM-entry failure due to MSR loading'], BigInt(failed));
}

/** Loads a guest's MSR area; the number of the entry that failed, from 1, or 0. */
export function loadMsrArea(vcpu: VirtualCpu, guestPhysical: number, count: number): number {
  const { memory } = vcpu.parts;
  for (let index = 0; index < count; index++) {
    const at = guestPhysical + index * MSR_ENTRY_BYTES;
    try {
      writeGuestMsr(vcpu, Number(memory.read(at, 4)), memory.read(at + 8, 8));
    } catch (fault) {
      if (fault instanceof GuestFault) return index + 1;
      throw fault;
    }
  }
  return 0;
}
