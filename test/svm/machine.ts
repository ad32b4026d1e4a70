/**
 * A machine with AMD-V in host mode, and a VMCB whose 64-bit guest shares the host's page tables. Instructions are run one
 * by one from their bytes.
 */
import { findCpuModel, nominalFeatures } from '../../engine/cpu/cpu-models.ts';
import { createCpuModel } from '../../engine/cpu/model.ts';
import { EFER } from '../../engine/cpu/register-bits.ts';
import { ExitCode, exitCode } from '../../engine/svm/exit-codes.ts';
import { Svm } from '../../engine/svm/svm.ts';
import { svmMsrs } from '../../engine/svm/svm-msrs.ts';
import { type VmcbFieldName, vmcbField } from '../../engine/svm/vmcb-fields.ts';
import { CODE, PAGE_TABLES, STACK, sel } from '../cpu/machine.ts';
import { VirtualizingMachine } from '../cpu/virtualizing-machine.ts';

export { CODE, PAGE_TABLES, STACK, sel };
export const VMCB = 0x1_1000;
export const HOST_SAVE = 0x1_2000;
export const IOPM = 0x1_3000;
export const MSRPM = 0x1_6000;
export const DATA = 0x1_9000;
export const GUEST_RIP = 0xa000;

export const insn = { vmrun: '0f 01 d8', vmmcall: '0f 01 d9', cpuid: '0f a2' } as const;

function epyc(features: Readonly<Record<string, boolean>>) {
  const model = findCpuModel('epyc');
  if (!model) throw new Error('there is no model epyc');
  const hasFeature = nominalFeatures(model, { features });
  return createCpuModel({ model, hasFeature }, svmMsrs);
}

export class SvmMachine extends VirtualizingMachine {
  readonly svm = new Svm(this.cpu, this.mmu, this.physical);

  constructor(features: Readonly<Record<string, boolean>> = {}) {
    super({}, epyc(features));
    this.long();
    this.state.efer |= EFER.SVME | EFER.NXE;
    this.state.vmHsavePa = HOST_SAVE;
    this.writeVmcb();
  }

  /** The guest is as the host, but for RIP. */
  private writeVmcb(): void {
    const { state } = this;
    this.set({
      IOPM_BASE_PA: IOPM,
      MSRPM_BASE_PA: MSRPM,
      'Guest ASID': 1,
      'CS selector': sel.code64,
      'CS attributes': 0xa9b,
      'CS limit': 0xffff_ffff,
      'SS selector': sel.data,
      'SS attributes': 0xc93,
      'SS limit': 0xffff_ffff,
      'GDTR base': state.gdtrBase,
      'GDTR limit': state.gdtrLimit,
      'IDTR base': state.idtrBase,
      'IDTR limit': state.idtrLimit,
      EFER: state.efer,
      CR0: state.cr0,
      CR3: state.cr3,
      CR4: state.cr4,
      DR6: 0xffff_0ff0,
      DR7: 0x400,
      RFLAGS: 2,
      RIP: GUEST_RIP,
      RSP: STACK,
      G_PAT: 0x0007_0406_0007_0406n,
    });
    this.intercept(ExitCode.VMRUN, ExitCode.VMMCALL, ExitCode.SHUTDOWN);
  }

  set(values: Partial<Record<VmcbFieldName, bigint | number>>): this {
    for (const [name, value] of Object.entries(values)) {
      const { offset, bytes } = vmcbField(name as VmcbFieldName);
      for (let at = 0; at < bytes; at++) {
        this.physical.writeU8(VMCB + offset + at, Number((BigInt(value) >> BigInt(8 * at)) & 0xffn));
      }
    }
    return this;
  }
  get(name: VmcbFieldName): bigint {
    return this.svm.parts.vmcb.field(vmcbField(name));
  }
  /** Sets the bits that ask for exits of these codes. */
  intercept(...codes: readonly number[]): this {
    for (const code of codes) {
      const place = exitCode(code)?.intercept;
      if (!place) throw new Error(`nothing intercepts ${code}`);
      const at = VMCB + vmcbField(place.field).offset;
      this.physical.writeU32(at, (this.physical.readU32(at) | (1 << place.bit)) >>> 0);
    }
    return this;
  }

  protected get virtualization(): Svm {
    return this.svm;
  }

  /** VMRUN. */
  enter(): this {
    this.state.setGpr(0, BigInt(VMCB));
    return this.step(insn.vmrun);
  }

  /** What the last #VMEXIT told. */
  exitOf() {
    const next = this.get('nRIP');
    return {
      code: Number(BigInt.asIntN(64, this.get('EXITCODE'))),
      info1: this.get('EXITINFO1'),
      info2: this.get('EXITINFO2'),
      skips: next === 0n ? 0 : Number(next - this.get('RIP')),
    };
  }
}
