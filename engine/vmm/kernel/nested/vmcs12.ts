/**
 * VMCS12: the VMCS that the guest's hypervisor (L1) keeps for its own guest (L2). It lies in the guest's memory and has
 * the layout of the CPU's VMCSs, so that the CPU's rules and fields serve for it as well.
 */
import { hasBit } from '../../../cpu/register-bits.ts';
import { PRIMARY } from '../../../vmx/controls.ts';
import type { VmcsFieldName } from '../../../vmx/fields.ts';
import { encodingOf, LAUNCH_STATE_OFFSET, REVISION_OFFSET, type Vmcs } from '../../../vmx/vmcs.ts';
import type { KernelParts } from '../virtual-cpu.ts';

export class Vmcs12 {
  /** Host-physical address. */
  readonly address: number;
  readonly #parts: KernelParts;

  constructor(parts: KernelParts, guestPhysical: number) {
    this.#parts = parts;
    this.address = parts.memory.hostAddress(guestPhysical);
  }

  get #vmcs(): Vmcs {
    return this.#parts.guest.vmcs;
  }

  u64(name: VmcsFieldName): bigint {
    return this.#vmcs.readEncoding(encodingOf(name), this.address);
  }
  /** Low 32 bits, unsigned. */
  u32(name: VmcsFieldName): number {
    return Number(this.u64(name) & 0xffff_ffffn);
  }
  /** 64 bits as a signed number. */
  number(name: VmcsFieldName): number {
    return Number(BigInt.asIntN(64, this.u64(name)));
  }
  set(name: VmcsFieldName, value: bigint | number): void {
    this.#vmcs.writeEncoding(encodingOf(name), BigInt.asUintN(64, BigInt(value)), this.address);
  }

  get launchState(): number {
    return this.#parts.memory.physical.readU32(this.address + LAUNCH_STATE_OFFSET);
  }
  set launchState(value: number) {
    this.#parts.memory.physical.writeU32(this.address + LAUNCH_STATE_OFFSET, value);
  }
  get revision(): number {
    return this.#parts.memory.physical.readU32(this.address + REVISION_OFFSET);
  }

  hasPin(control: number): boolean {
    return hasBit(this.u32('Pin-based VM-execution controls'), control);
  }
  hasPrimary(control: number): boolean {
    return hasBit(this.u32('Primary processor-based VM-execution controls'), control);
  }
  /** The secondary controls in force. */
  get secondary(): number {
    return this.hasPrimary(PRIMARY['Activate secondary controls'])
      ? this.u32('Secondary processor-based VM-execution controls')
      : 0;
  }
  hasSecondary(control: number): boolean {
    return hasBit(this.secondary, control);
  }
  hasExit(control: number): boolean {
    return hasBit(this.u32('Primary VM-exit controls'), control);
  }
  hasEntry(control: number): boolean {
    return hasBit(this.u32('VM-entry controls'), control);
  }
}
