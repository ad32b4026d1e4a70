/**
 * Control registers in non-root operation: which bits the guest reads from the read shadows, which accesses exit, and what
 * becomes of the others (SDM volume 3, "Changes to Instruction Behavior in VMX Non-Root Operation").
 */

import { GP, VmExit } from '../cpu/events.ts';
import { CR0 } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import { PRIMARY } from './controls.ts';
import { ExitReason } from './exit-reasons.ts';
import { CrAccess, crQualification, lmswQualification } from './qualification.ts';
import type { VirtualApic } from './virtual-apic.ts';
import { offsetOf, type Vmcs } from './vmcs.ts';
import { hasPrimary, type VmxParts } from './vmx-parts.ts';

const CR0_MASK = offsetOf('CR0 guest/host mask');
const CR0_SHADOW = offsetOf('CR0 read shadow');
const CR4_MASK = offsetOf('CR4 guest/host mask');
const CR4_SHADOW = offsetOf('CR4 read shadow');
const CR3_TARGET_COUNT = offsetOf('CR3-target count');
const CR3_TARGETS = [
  offsetOf('CR3-target value 0'),
  offsetOf('CR3-target value 1'),
  offsetOf('CR3-target value 2'),
  offsetOf('CR3-target value 3'),
] as const;

const LMSW_BITS = CR0.MP | CR0.EM | CR0.TS;

export class VirtualControlRegisters {
  readonly #state: CpuState;
  readonly #vmcs: Vmcs;
  readonly #apic: VirtualApic;

  constructor({ state, vmcs }: VmxParts, apic: VirtualApic) {
    this.#state = state;
    this.#vmcs = vmcs;
    this.#apic = apic;
  }

  /** As `Intercepts.onReadCr`, as the others. Throws the `VmExit` of an access that exits. */
  read(register: number, gpr: number): bigint | undefined {
    const state = this.#state;
    if (register === 0) return this.#shadowed(state.cr0, CR0_MASK, CR0_SHADOW);
    if (register === 4) return this.#shadowed(state.cr4, CR4_MASK, CR4_SHADOW);
    const control = register === 3 ? PRIMARY['CR3-store exiting'] : register === 8 ? PRIMARY['CR8-store exiting'] : 0;
    if (hasPrimary(this.#vmcs, control)) throw this.#exit(register, CrAccess.movFrom, gpr);
    return register === 8 && this.#apic.shadowsTpr ? this.#apic.cr8 : undefined;
  }

  /** Bits that the host owns come from the read shadow, all 64 of them. */
  #shadowed(real: number, maskField: number, shadowField: number): bigint {
    const mask = this.#vmcs.u64(maskField);
    return (BigInt(real) & ~mask) | (this.#vmcs.u64(shadowField) & mask);
  }

  write(register: number, gpr: number, value: bigint): bigint | undefined {
    const state = this.#state;
    if (register === 0) return this.#masked(0, gpr, value, state.cr0, CR0_MASK, CR0_SHADOW);
    if (register === 4) return this.#masked(4, gpr, value, state.cr4, CR4_MASK, CR4_SHADOW);
    const exits =
      register === 3
        ? hasPrimary(this.#vmcs, PRIMARY['CR3-load exiting']) && !this.#isCr3Target(value)
        : register === 8 && hasPrimary(this.#vmcs, PRIMARY['CR8-load exiting']);
    if (exits) throw this.#exit(register, CrAccess.movTo, gpr);
    if (register !== 8 || !this.#apic.shadowsTpr) return value;
    if (value > 15n) throw GP(0);
    this.#apic.cr8 = value;
    return undefined;
  }

  /** A write exits if it would change a bit that the host owns from what the guest reads of it. */
  #masked(register: number, gpr: number, value: bigint, real: number, maskField: number, shadowField: number): bigint {
    const mask = this.#vmcs.u64(maskField);
    if (((value ^ this.#vmcs.u64(shadowField)) & mask) !== 0n) throw this.#exit(register, CrAccess.movTo, gpr);
    return (value & ~mask) | (BigInt(real) & mask);
  }

  #isCr3Target(value: bigint): boolean {
    const count = Math.min(this.#vmcs.u32(CR3_TARGET_COUNT), CR3_TARGETS.length);
    for (let index = 0; index < count; index++) {
      if (this.#vmcs.u64(CR3_TARGETS[index] as number) === value) return true;
    }
    return false;
  }

  #exit(register: number, type: number, gpr: number): VmExit {
    return new VmExit(ExitReason['Control-register accesses'], crQualification(register, type, gpr));
  }

  clts(): boolean {
    const owned = this.#vmcs.u32(CR0_MASK) & CR0.TS;
    if (owned === 0) return true;
    if (this.#vmcs.u32(CR0_SHADOW) & CR0.TS) throw this.#exit(0, CrAccess.clts, 0);
    return false;
  }

  /** LMSW cannot clear PE, so that only setting it can exit. */
  lmsw(source: number, linear: LinearAddress | undefined): number {
    const mask = this.#vmcs.u32(CR0_MASK);
    const differs = (source ^ this.#vmcs.u32(CR0_SHADOW)) & mask;
    if (differs & LMSW_BITS || (differs & CR0.PE && source & CR0.PE)) {
      const more = linear === undefined ? {} : { guestLinear: linear };
      const qualification = lmswQualification(source, linear !== undefined);
      throw new VmExit(ExitReason['Control-register accesses'], qualification, more);
    }
    return (source & ~mask) | (this.#state.cr0 & mask & 0xf);
  }
  smsw(cr0: number): number {
    return Number(this.#shadowed(cr0, CR0_MASK, CR0_SHADOW) & 0xffff_ffffn);
  }
}
