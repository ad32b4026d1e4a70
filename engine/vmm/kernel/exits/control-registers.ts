/**
 * Control-register accesses. The guest reads what it wrote (read shadows); what is in force besides is what VMX operation
 * fixes and what the hypervisor needs (CR0.NE, CR4.VMXE).
 */
import { cr4Allowed } from '../../../cpu/control-registers.ts';
import { GuestFault, Vector } from '../../../cpu/events.ts';
import { ACCESS, CR0, CR4, EFER, hasBit } from '../../../cpu/register-bits.ts';
import { CS } from '../../../cpu/state.ts';
import { PagingMode, pagingMode } from '../../../mmu/paging-structures.ts';
import { CR0_FIXED0 } from '../../../vmx/capability-values.ts';
import { ENTRY } from '../../../vmx/controls.ts';
import { guestPdpteFields } from '../../../vmx/fields.ts';
import { CrAccess } from '../../../vmx/qualification.ts';
import { offsetOf } from '../../../vmx/vmcs.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const CR0_FIELD = offsetOf('Guest CR0');
const CR0_SHADOW = offsetOf('CR0 read shadow');
const CR4_FIELD = offsetOf('Guest CR4');
const CR4_SHADOW = offsetOf('CR4 read shadow');
const ENTRY_CONTROLS = offsetOf('VM-entry controls');
const PDPTES = guestPdpteFields.map(offsetOf);

const CR0_DEFINED =
  (CR0.PE | CR0.MP | CR0.EM | CR0.TS | CR0.ET | CR0.NE | CR0.WP | CR0.AM | CR0.NW | CR0.CD | CR0.PG) >>> 0;
/** Changes of these end cached translations. */
const CR0_TRANSLATION = (CR0.PG | CR0.WP) >>> 0;
const CR4_TRANSLATION = CR4.LA57 | CR4.PAE | CR4.PSE | CR4.PGE | CR4.PCIDE | CR4.SMEP | CR4.SMAP;
const LMSW_BITS = CR0.PE | CR0.MP | CR0.EM | CR0.TS;

/** Bits that are in force whatever the guest writes. */
export const forcedCr0 = CR0.NE;
export const forcedCr4 = CR4.VMXE;
/** Bits that the guest changes without an exit. */
export const guestOwnedCr0 = CR0.TS;
export const guestOwnedCr4 = CR4.DE | CR4.TSD | CR4.PCE | CR4.OSFXSR | CR4.OSXMMEXCPT | CR4.FSGSBASE;

const refuse = (): GuestFault => new GuestFault(Vector.GP, 0);

export function handleControlRegister(vcpu: VirtualCpu): undefined {
  const { qualification } = vcpu.parts.guest;
  vcpu.carryOut(() => {
    access(vcpu, qualification & 15, (qualification >> 4) & 3, (qualification >> 8) & 15);
    vcpu.skipInstruction();
  });
}

function access(vcpu: VirtualCpu, register: number, type: number, gpr: number): void {
  const { guest } = vcpu.parts;
  const { cr0 } = guest;
  switch (type) {
    case CrAccess.clts:
      return writeCr0(vcpu, cr0 & ~CR0.TS);
    case CrAccess.lmsw: {
      const source = (guest.qualification >>> 16) & LMSW_BITS;
      return writeCr0(vcpu, (cr0 & ~(CR0.MP | CR0.EM | CR0.TS)) | source);
    }
    case CrAccess.movTo: {
      const value = guest.is64Bit ? guest.gpr(gpr) : BigInt.asUintN(32, guest.gpr(gpr));
      if (value >> 32n !== 0n) throw refuse();
      if (register === 0) return writeCr0(vcpu, Number(value));
      if (register === 4) return writeCr4(vcpu, Number(value));
    }
  }
  throw new Error(`internal: an access of type ${type} to CR${register} is not configured to exit`);
}

function writeCr0(vcpu: VirtualCpu, written: number): void {
  const { guest } = vcpu.parts;
  const value = ((written & CR0_DEFINED) | CR0.ET) >>> 0;
  if (hasBit(value, CR0.PG) && !hasBit(value, CR0.PE)) throw refuse();
  if (hasBit(value, CR0.NW) && !hasBit(value, CR0.CD)) throw refuse();
  if (vcpu.nested.isOn && hasBit(CR0_FIXED0 & ~vcpu.nested.freeCr0, ~value)) throw refuse();
  const efer = eferForPaging(vcpu, value);
  const changed = guest.cr0 ^ value;
  setGuestCr0(vcpu, value);
  setGuestEfer(vcpu, efer);
  if (hasBit(changed, CR0_TRANSLATION)) translationChanged(vcpu);
}

/** Paging activates and deactivates IA-32e mode. */
function eferForPaging(vcpu: VirtualCpu, value: number): number {
  const { guest } = vcpu.parts;
  const { efer } = guest;
  const was = hasBit(guest.cr0, CR0.PG);
  const willBe = hasBit(value, CR0.PG);
  const long = hasBit(guest.segment(CS).attributes, ACCESS.L);
  if (!was && willBe && hasBit(efer, EFER.LME)) {
    if (!hasBit(guest.cr4, CR4.PAE) || long) throw refuse();
    return efer | EFER.LMA;
  }
  if (was && !willBe) {
    if (hasBit(guest.cr4, CR4.PCIDE) || guest.is64Bit) throw refuse();
    return efer & ~EFER.LMA;
  }
  return efer;
}

/** CR0 and CR4 as the guest is to see them, without any checks. */
export function setGuestCr0({ guest }: VirtualCpu, value: number): void {
  guest.vmcs.setU32(CR0_SHADOW, value);
  guest.vmcs.setU32(CR0_FIELD, (value | forcedCr0) >>> 0);
}
export function setGuestCr4({ guest }: VirtualCpu, value: number): void {
  guest.vmcs.setU32(CR4_SHADOW, value);
  guest.vmcs.setU32(CR4_FIELD, (value | forcedCr4) >>> 0);
}

/** The "IA-32e mode guest" control is to say the same as IA32_EFER.LMA. */
export function setGuestEfer(vcpu: VirtualCpu, efer: number): void {
  const { guest } = vcpu.parts;
  guest.efer = efer;
  const controls = guest.vmcs.u32(ENTRY_CONTROLS);
  const mode = ENTRY['IA-32e mode guest'];
  guest.vmcs.setU32(ENTRY_CONTROLS, hasBit(efer, EFER.LMA) ? controls | mode : controls & ~mode);
}

function writeCr4(vcpu: VirtualCpu, value: number): void {
  const { guest, processor } = vcpu.parts;
  const long = hasBit(guest.efer, EFER.LMA);
  if (hasBit(value, ~cr4Allowed(processor))) throw refuse();
  if (vcpu.nested.isOn && !hasBit(value, CR4.VMXE)) throw refuse();
  if (long && (!hasBit(value, CR4.PAE) || hasBit(guest.cr4 ^ value, CR4.LA57))) throw refuse();
  const enablesPcid = hasBit(value & ~guest.cr4, CR4.PCIDE);
  if (enablesPcid && (!long || guest.cr3 % 4096 !== 0)) throw refuse();
  const changed = guest.cr4 ^ value;
  setGuestCr4(vcpu, value);
  if (hasBit(changed, CR4_TRANSLATION)) translationChanged(vcpu);
}

/** What MOV to CR0 or CR4 does besides: PDPTE registers are loaded under PAE paging, and cached translations go. */
function translationChanged(vcpu: VirtualCpu): void {
  const { guest, memory } = vcpu.parts;
  if (pagingMode(guest.cr0, guest.cr4, guest.efer) === PagingMode.PAE) {
    memory.readPdptes(guest.cr3 % 0x1_0000_0000).forEach((entry, index) => {
      guest.vmcs.setNumber(PDPTES[index] as number, entry);
    });
  }
  vcpu.operation.invalidateVpid(vcpu.currentVpid);
}
