/**
 * VM exits of L2 that its own hypervisor is to see: VMCS12 gets the state of L2 and the exit information, and L1 goes on at
 * its exit handler with the host state that VMCS12 says (SDM volume 3, "VM Exits").
 */
import { ACCESS, BLOCKING, CR0, CR4, EFER, hasBit } from '../../../cpu/register-bits.ts';
import { segmentNames } from '../../../cpu/state-layout.ts';
import { PagingMode, pagingMode } from '../../../mmu/paging-structures.ts';
import { ENTRY, EXIT, SECONDARY } from '../../../vmx/controls.ts';
import { ENTRY_FAILURE, ExitReason } from '../../../vmx/exit-reasons.ts';
import { guestPdpteFields, type VmcsFieldName } from '../../../vmx/fields.ts';
import {
  BUSY_TSS_RIGHTS,
  codeRights,
  DATA_RIGHTS,
  FLAT_LIMIT,
  TABLE_LIMIT,
  TSS_LIMIT,
} from '../../../vmx/host-segments.ts';
import { LaunchState, supportedFields } from '../../../vmx/vmcs.ts';
import { forcedCr0, forcedCr4, setGuestCr0, setGuestCr4, setGuestEfer } from '../exits/control-registers.ts';
import { readGuestMsr } from '../exits/msr.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';
import { guestStateFields, loadMsrArea } from './nested-entry.ts';
import type { Vmcs12 } from './vmcs12.ts';

const MSR_ENTRY_BYTES = 16;
const VALID = 0x8000_0000;
const RFLAGS_AFTER_EXIT = 2;
const DR7_AFTER_EXIT = 0x400;

/** Fields that say what the exit was. */
const informationFields = supportedFields
  .filter(({ group, name }) => group === 'VM-Exit Information' && name !== 'VM-instruction error')
  .map(({ name }) => name as VmcsFieldName);

/** Registers that exits save only if a control says so. */
const savedBy: Partial<Record<VmcsFieldName, number>> = {
  'Guest DR7': EXIT['Save debug controls'],
  'Guest IA32_DEBUGCTL': EXIT['Save debug controls'],
  'Guest IA32_PAT': EXIT['Save IA32_PAT'],
  'Guest IA32_EFER': EXIT['Save IA32_EFER'],
  'VMX-preemption timer value': EXIT['Save VMX-preemption timer value'],
};

/** The exit of L2 under way becomes one of L1's. `changes` say what L1 is to see differently from what the CPU tells. */
export function exitToL1(vcpu: VirtualCpu, changes: Partial<Record<VmcsFieldName, bigint | number>> = {}): void {
  const { vmcs12 } = vcpu.nested;
  vcpu.parts.reflected.reflected();
  saveGuestState(vcpu, vmcs12);
  for (const name of informationFields) vmcs12.set(name, changes[name] ?? vcpu.guest.field(name));
  const injected = vmcs12.u32('VM-entry interruption-information field');
  vmcs12.set('VM-entry interruption-information field', (injected & ~VALID) >>> 0);
  storeMsrs(vcpu, vmcs12);
  leaveL2(vcpu, vmcs12);
}

/** A VM entry of L1 failed after the checks of controls and host state: nothing of L2 is saved. */
export function failEntryOfL2(vcpu: VirtualCpu, reason: number, qualification: bigint): void {
  const { vmcs12 } = vcpu.nested;
  vmcs12.set('Exit reason', (reason | ENTRY_FAILURE) >>> 0);
  vmcs12.set('Exit qualification', qualification);
  leaveL2(vcpu, vmcs12);
}

/** L2 was entered. */
export function enteredL2({ nested }: VirtualCpu): void {
  nested.vmcs12.launchState = LaunchState.launched;
}

function saveGuestState(vcpu: VirtualCpu, vmcs12: Vmcs12): void {
  for (const name of guestStateFields) {
    const control = savedBy[name];
    if (control === undefined || vmcs12.hasExit(control)) vmcs12.set(name, vcpu.guest.field(name));
  }
  for (const [name, forced] of [
    ['CR0', forcedCr0],
    ['CR4', forcedCr4],
  ] as const) {
    // What only the hypervisor owns has L2's value in the read shadow.
    const hidden = BigInt(forced) & ~vmcs12.u64(`${name} guest/host mask`);
    vmcs12.set(
      `Guest ${name}`,
      (vcpu.guest.field(`Guest ${name}`) & ~hidden) | (vcpu.guest.field(`${name} read shadow`) & hidden),
    );
  }
  const mode = ENTRY['IA-32e mode guest'];
  const controls = vmcs12.u32('VM-entry controls') & ~mode;
  vmcs12.set('VM-entry controls', (hasBit(vcpu.guest.efer, EFER.LMA) ? controls | mode : controls) >>> 0);
}

function storeMsrs(vcpu: VirtualCpu, vmcs12: Vmcs12): void {
  const { memory } = vcpu.parts;
  const area = vmcs12.number('VM-exit MSR-store address');
  for (let index = 0; index < vmcs12.u32('VM-exit MSR-store count'); index++) {
    const at = area + index * MSR_ENTRY_BYTES;
    memory.write64(at + 8, readGuestMsr(vcpu, Number(memory.read(at, 4))));
  }
}

/** Makes L1's own VMCS current again, with the host state of VMCS12 as its guest state. */
function leaveL2(vcpu: VirtualCpu, vmcs12: Vmcs12): void {
  const { nested, operation, addresses, guest } = vcpu;
  const { efer } = guest;
  const pat = vcpu.guest.field('Guest IA32_PAT');
  const isNmi = nested.isL2 && isNmiExit(vcpu);
  if (nested.isL2) operation.vmptrld(addresses.vmcs);
  nested.isL2 = false;
  vcpu.isHalted = false;
  loadControlRegisters(vcpu, vmcs12, efer);
  vcpu.guest.setField('Guest IA32_PAT', vmcs12.hasExit(EXIT['Load IA32_PAT']) ? vmcs12.u64('Host IA32_PAT') : pat);
  loadSegments(vcpu, vmcs12);
  const registers: readonly (readonly [VmcsFieldName, bigint | number])[] = [
    ['Guest RIP', vmcs12.u64('Host RIP')],
    ['Guest RSP', vmcs12.u64('Host RSP')],
    ['Guest RFLAGS', RFLAGS_AFTER_EXIT],
    ['Guest DR7', DR7_AFTER_EXIT],
    ['Guest IA32_DEBUGCTL', 0],
    ['Guest IA32_SYSENTER_CS', vmcs12.u64('Host IA32_SYSENTER_CS')],
    ['Guest IA32_SYSENTER_ESP', vmcs12.u64('Host IA32_SYSENTER_ESP')],
    ['Guest IA32_SYSENTER_EIP', vmcs12.u64('Host IA32_SYSENTER_EIP')],
    ['Guest interruptibility state', isNmi ? BLOCKING.NMI : 0],
    ['Guest pending debug exceptions', 0],
    ['Guest activity state', 0],
    ['VM-entry interruption-information field', 0],
  ];
  for (const [name, value] of registers) vcpu.guest.setField(name, value);
  const failed = loadMsrArea(vcpu, vmcs12.number('VM-exit MSR-load address'), vmcs12.u32('VM-exit MSR-load count'));
  if (failed > 0)
    vcpu.parts.stop(
      `A VMX abort: entry ${failed} of the VM-exit MSR-load area of the guest's hypervisor cannot be loaded.`,
    );
  // Without VPIDs an exit leaves no translations of the host either.
  if (!vmcs12.hasSecondary(SECONDARY['Enable VPID'])) operation.invalidateVpid(vcpu.vpid);
}

const isNmiExit = (vcpu: VirtualCpu): boolean =>
  vcpu.guest.exitReason === ExitReason['Exception or non-maskable interrupt (NMI)'] &&
  ((vcpu.guest.interruptionInformation >>> 8) & 7) === 2;

function loadControlRegisters(vcpu: VirtualCpu, vmcs12: Vmcs12, eferOfL2: number): void {
  const is64 = vmcs12.hasExit(EXIT['Host address-space size']);
  const mode = EFER.LMA | EFER.LME;
  const kept = (eferOfL2 & ~mode) | (is64 ? mode : 0);
  setGuestCr0(vcpu, (vmcs12.u32('Host CR0') | CR0.ET) >>> 0);
  const cr4 = vmcs12.u32('Host CR4');
  setGuestCr4(vcpu, is64 ? cr4 | CR4.PAE : cr4 & ~CR4.PCIDE);
  setGuestEfer(vcpu, vmcs12.hasExit(EXIT['Load IA32_EFER']) ? vmcs12.u32('Host IA32_EFER') : kept);
  vcpu.guest.setField('Guest CR3', vmcs12.u64('Host CR3'));
  const { guest, parts } = vcpu;
  if (pagingMode(guest.cr0, guest.cr4, guest.efer) !== PagingMode.PAE) return;
  parts.memory.readPdptes(guest.cr3 % 0x1_0000_0000).forEach((entry, index) => {
    vcpu.guest.setField(guestPdpteFields[index] as VmcsFieldName, entry);
  });
}

function loadSegments(vcpu: VirtualCpu, vmcs12: Vmcs12): void {
  const is64 = vmcs12.hasExit(EXIT['Host address-space size']);
  for (const name of segmentNames) {
    const selector = name === 'LDTR' ? 0 : vmcs12.u32(`Host ${name} selector`);
    const hasBase = name === 'FS' || name === 'GS' || name === 'TR';
    vcpu.guest.setField(`Guest ${name} selector`, selector);
    vcpu.guest.setField(`Guest ${name} base`, hasBase ? vmcs12.u64(`Host ${name} base`) : 0);
    vcpu.guest.setField(`Guest ${name} limit`, name === 'TR' ? TSS_LIMIT : FLAT_LIMIT);
    vcpu.guest.setField(`Guest ${name} access rights`, rightsOf(name, selector, is64));
  }
  for (const name of ['GDTR', 'IDTR'] as const) {
    vcpu.guest.setField(`Guest ${name} base`, vmcs12.u64(`Host ${name} base`));
    vcpu.guest.setField(`Guest ${name} limit`, TABLE_LIMIT);
  }
}

function rightsOf(name: (typeof segmentNames)[number], selector: number, is64: boolean): number {
  if (name === 'CS') return codeRights(is64);
  if (name === 'TR') return BUSY_TSS_RIGHTS;
  if (name === 'LDTR') return ACCESS.UNUSABLE;
  return selector === 0 ? DATA_RIGHTS | ACCESS.UNUSABLE : DATA_RIGHTS;
}
