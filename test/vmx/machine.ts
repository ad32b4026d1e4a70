/**
 * A machine in VMX root operation with a valid VMCS, built with the VMX instructions themselves: a 64-bit host, and a
 * 64-bit guest under EPT and VPID that shares the host's page tables. Instructions are run one by one from their bytes.
 */
import { plus } from '../../engine/isa/linear-address.ts';
import { vmxCapabilityMsrs } from '../../engine/vmx/capability-msrs.ts';
import { allowedSettings, type ControlGroupName, controlGroups } from '../../engine/vmx/controls.ts';
import type { VmcsFieldName } from '../../engine/vmx/fields.ts';
import { fieldByName, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { Vmx } from '../../engine/vmx/vmx.ts';
import { CODE, GDT, IDT, memory, PAGE_TABLES, STACK, sel, type TestMachine, TSS } from '../cpu/machine.ts';
import { VirtualizingMachine } from '../cpu/virtualizing-machine.ts';

export { CODE, STACK };
export const VMXON_REGION = 0x1_0000;
export const VMCS_REGION = 0x1_1000;
export const OTHER_VMCS = 0x1_2000;
export const EPT = 0x1_4000;
export const IO_BITMAP_A = 0x1_8000;
export const IO_BITMAP_B = 0x1_9000;
export const MSR_BITMAPS = 0x1_a000;
export const MSR_AREA = 0x1_b000;
/** Where the addresses go that VMX instructions take from memory. */
export const POINTER = 0x1_c000;
export const HOST_RIP = 0x7000;
export const GUEST_RIP = CODE;

/** Bytes of instructions, with operands RAX, RCX or [POINTER]. */
export const insn = {
  vmxon: 'f3 0f c7 34 25 00 c0 01 00',
  vmxoff: '0f 01 c4',
  vmclear: '66 0f c7 34 25 00 c0 01 00',
  vmptrld: '0f c7 34 25 00 c0 01 00',
  vmptrst: '0f c7 3c 25 00 c0 01 00',
  vmreadRcxRax: '0f 78 c1',
  vmwriteRaxRcx: '0f 79 c1',
  vmlaunch: '0f 01 c2',
  vmresume: '0f 01 c3',
  vmcall: '0f 01 c1',
  vmfunc: '0f 01 d4',
  inveptRax: '66 0f 38 80 04 25 00 c0 01 00',
  invvpidRax: '66 0f 38 81 04 25 00 c0 01 00',
  cpuid: '0f a2',
  hlt: 'f4',
} as const;

export type Values = Partial<Record<VmcsFieldName, bigint | number>>;

/** The setting of a group of controls with the given ones 1, and what must be 1. */
export function controls(group: ControlGroupName, ...names: string[]): bigint {
  let value = BigInt(allowedSettings(group).trueAllowed0);
  for (const name of names) {
    const control = controlGroups[group].controls.find((candidate) => candidate.name === name);
    if (!control) throw new Error(`no control ${name} in ${group}`);
    value |= 1n << BigInt(control.bit);
  }
  return value;
}

const CODE_64 = 0xa09b;
const DATA = 0xc093;
const BUSY_TSS = 0x8b;
const UNUSABLE = 0x1_0000;

export class VmxMachine extends VirtualizingMachine {
  readonly vmx = new Vmx(this.cpu, this.mmu, this.physical, memory);

  constructor() {
    super();
    for (const msr of vmxCapabilityMsrs) (this.model.msrs as Map<number, typeof msr>).set(msr.index, msr);
    this.long();
    this.state.cr4 |= 1 << 13;
    this.state.featureControl = 5;
  }

  protected get virtualization(): Vmx {
    return this.vmx;
  }

  /** How the last VMX instruction ended: `ok`, `invalid`, or the VM-instruction error number. */
  status(): 'ok' | 'invalid' | number {
    const flags = this.flags();
    if (flags & 1) return 'invalid';
    return flags & 0x40 ? Number(this.read('VM-instruction error')) : 'ok';
  }
  flags(): number {
    this.step('9c');
    const flags = Number(this.physical.readU64(Number(this.state.gprLinear(4))));
    this.state.setGprLinear(4, plus(this.state.gprLinear(4), 8));
    return flags;
  }

  /** Runs an instruction whose memory operand is a pointer. */
  withPointer(hex: string, low: bigint | number, high = 0n): this {
    this.u64(POINTER, BigInt(low));
    this.u64(POINTER + 8, high);
    this.step(hex);
    return this;
  }

  /** VMXON with a proper region. */
  vmxon(): this {
    this.u32(VMXON_REGION, VMCS_REVISION);
    return this.withPointer(insn.vmxon, VMXON_REGION);
  }
  /** VMCLEAR and VMPTRLD of a fresh VMCS. */
  current(address = VMCS_REGION): this {
    this.u32(address, VMCS_REVISION);
    return this.withPointer(insn.vmclear, address).withPointer(insn.vmptrld, address);
  }

  write(values: Values): this {
    for (const [name, value] of Object.entries(values)) {
      this.vmx.parts.vmcs.writeEncoding(encodingOf(name), BigInt.asUintN(64, BigInt(value)));
    }
    return this;
  }
  read(name: VmcsFieldName): bigint {
    return this.vmx.parts.vmcs.readEncoding(encodingOf(name));
  }

  /** Identity EPT of the first 2 MiB in 4-KiB pages; returns the address of the entry of a page. */
  buildEpt(): this {
    this.u64(EPT, BigInt(EPT + 0x1000) | 7n);
    this.u64(EPT + 0x1000, BigInt(EPT + 0x2000) | 7n);
    this.u64(EPT + 0x2000, BigInt(EPT + 0x3000) | 7n);
    for (let page = 0; page < 512; page++) this.u64(this.eptEntry(page * 4096), BigInt(page * 4096) | 0x37n);
    return this;
  }
  eptEntry(guestPhysical: number): number {
    return EPT + 0x3000 + (guestPhysical / 4096) * 8;
  }

  /** VMX root operation with a current VMCS that VM entry accepts. */
  ready(values: Values = {}): this {
    return this.vmxon().current().buildEpt().write(validVmcs(this)).write(values);
  }
  /** In the guest, at its first instruction. */
  inGuest(values: Values = {}): this {
    this.ready(values).step(insn.vmlaunch);
    if (!this.state.nonRoot) {
      const reason = this.read('Exit reason').toString(16);
      throw new Error(`VM entry failed: ${this.status()}, ${reason}, ${this.vmx.violatedRules().map(({ id }) => id)}`);
    }
    return this;
  }
  /** Basic exit reason, after checking that the guest was left. */
  get exitReason(): number {
    if (this.state.nonRoot) throw new Error('expected a VM exit, but the guest still runs');
    return Number(this.read('Exit reason'));
  }
}

function encodingOf(name: string): number {
  const field = fieldByName(name);
  if (!field) throw new Error(`no VMCS field ${name}`);
  return field.encoding;
}

/** Fields that make a guest like the host itself. */
export function validVmcs({ state }: TestMachine): Values {
  return { ...validControls(), ...hostFields(state), ...guestFields(state), ...guestSegments() };
}

function validControls(): Values {
  return {
    'Pin-based VM-execution controls': controls('pin'),
    'Primary processor-based VM-execution controls': controls(
      'primary',
      'HLT exiting',
      'Unconditional I/O exiting',
      'Activate secondary controls',
    ),
    'Secondary processor-based VM-execution controls': controls('secondary', 'Enable EPT', 'Enable VPID'),
    'Primary VM-exit controls': controls('exit', 'Host address-space size'),
    'VM-entry controls': controls('entry', 'IA-32e mode guest'),
    'EPT pointer': EPT | 0x1e,
    'Virtual-processor identifier': 1,
    'VMCS link pointer': -1n,
  };
}

function hostFields(state: TestMachine['state']): Values {
  return {
    'Host CR0': state.cr0,
    'Host CR3': state.cr3,
    'Host CR4': state.cr4,
    'Host RSP': STACK,
    'Host RIP': HOST_RIP,
    'Host CS selector': sel.code64,
    'Host SS selector': sel.data,
    'Host DS selector': sel.data,
    'Host ES selector': sel.data,
    'Host TR selector': sel.tss,
    'Host TR base': TSS,
    'Host GDTR base': GDT,
    'Host IDTR base': IDT,
  };
}

function guestFields(state: TestMachine['state']): Values {
  return {
    'Guest CR0': state.cr0,
    'Guest CR3': PAGE_TABLES,
    'Guest CR4': state.cr4,
    'Guest DR7': 0x400,
    'Guest RSP': STACK,
    'Guest RIP': GUEST_RIP,
    'Guest RFLAGS': 2,
    'Guest GDTR base': GDT,
    'Guest GDTR limit': 0xff,
    'Guest IDTR base': IDT,
    'Guest IDTR limit': 0xfff,
  };
}

function guestSegments(): Values {
  const values: Record<string, number> = {};
  for (const name of ['ES', 'CS', 'SS', 'DS', 'FS', 'GS']) {
    values[`Guest ${name} selector`] = name === 'CS' ? sel.code64 : sel.data;
    values[`Guest ${name} base`] = 0;
    values[`Guest ${name} limit`] = 0xffff_ffff;
    values[`Guest ${name} access rights`] = name === 'CS' ? CODE_64 : DATA;
  }
  return {
    ...(values as Values),
    'Guest LDTR access rights': UNUSABLE,
    'Guest TR selector': sel.tss,
    'Guest TR base': TSS,
    'Guest TR limit': 0x67,
    'Guest TR access rights': BUSY_TSS,
  };
}
