/** Guest mode: which instructions and events the VMCB intercepts (AMD64 APM volume 2, "Instruction Intercepts"). */

import { isDebugFault } from '../cpu/debug-exceptions.ts';
import { GP, type GuestFault, UD, VmExit } from '../cpu/events.ts';
import type { DecodedInstruction } from '../cpu/instruction.ts';
import { SoftwareException } from '../cpu/interrupt-instructions.ts';
import { EventType, type Intercepts, type IoAccess } from '../cpu/processor.ts';
import { CR0, DR6, DR7, RFLAGS } from '../cpu/register-bits.ts';
import type { LinearAddress } from '../isa/linear-address.ts';
import { movCrInformation } from './decode-assists.ts';
import { ExitCode, type ExitCodeName, FirstCode } from './exit-codes.ts';
import { PauseFilter } from './pause-filter.ts';
import { PermissionMaps } from './permission-maps.ts';
import { INTERRUPT_CONTROL, INTERRUPT_CONTROL_AT, isIntercepted, masksInterrupts, type SvmParts } from './svm-parts.ts';
import { vmcbOffset } from './vmcb-fields.ts';

const TSC_OFFSET = vmcbOffset('TSC_OFFSET');
/** Bits of CR0 whose change no selective intercept asks for. */
const NOT_SELECTED = CR0.TS | CR0.MP;
const LMSW_BITS = CR0.PE | CR0.MP | CR0.EM | CR0.TS;

/** Exits without further information are made once. */
const plain = new Map<number, VmExit>(
  Object.values<number>(ExitCode).map((code): [number, VmExit] => [code, new VmExit(code)]),
);

const descriptorTables: Readonly<Record<string, ExitCodeName>> = {
  Sidt: 'IDTR_READ',
  Sgdt: 'GDTR_READ',
  Sldt: 'LDTR_READ',
  Str: 'TR_READ',
  Lidt: 'IDTR_WRITE',
  Lgdt: 'GDTR_WRITE',
  Lldt: 'LDTR_WRITE',
  Ltr: 'TR_WRITE',
};

/** Exits of software exceptions and INT1 have the length of the instruction, by which their handlers may skip it. */
const BY_INSTRUCTION = { interruption: { information: EventType.softwareException << 8 } } as const;

/** EXITINFO2 of task switches. */
const TASK = { IRET: 1n << 36n, JMP: 1n << 38n, ERROR_CODE: 1n << 44n, RF: 1n << 48n } as const;

export class GuestIntercepts implements Intercepts {
  readonly #parts: SvmParts;
  readonly #maps: PermissionMaps;
  readonly #pauseFilter: PauseFilter;
  /** CR0 and CR4 are as the guest's registers allow. */
  readonly unrestrictedGuest = true;

  constructor(parts: SvmParts) {
    this.#parts = parts;
    this.#maps = new PermissionMaps(parts);
    this.#pauseFilter = new PauseFilter(parts);
  }

  #has(code: number): boolean {
    return isIntercepted(this.#parts.vmcb, code);
  }
  /** The exit takes the place of the instruction, if it is intercepted, without the time that throwing it takes. */
  #quietly(name: ExitCodeName): boolean {
    const code = ExitCode[name];
    if (!this.#has(code)) return false;
    this.#parts.processor.vmExit = plain.get(code);
    return true;
  }
  #check(name: ExitCodeName): void {
    if (this.#has(ExitCode[name])) throw plain.get(ExitCode[name]);
  }
  /** With the decode assist's information where the processor has them. */
  #assisted(code: number, information: bigint): VmExit {
    return new VmExit(code, this.#parts.processor.model.has('DecodeAssists') ? information : 0n);
  }

  guestTsc(tsc: bigint): bigint {
    return BigInt.asUintN(64, tsc + this.#parts.vmcb.u64(TSC_OFFSET));
  }

  onCpuid(): boolean {
    return this.#quietly('CPUID');
  }
  onHlt(): boolean {
    return this.#quietly('HLT');
  }
  onRdtsc(): boolean {
    return this.#quietly('RDTSC');
  }
  onRdtscp(): void {
    this.#check('RDTSCP');
  }
  onRdpmc(): void {
    this.#check('RDPMC');
  }
  onInvd(): void {
    this.#check('INVD');
  }
  onWbinvd(): void {
    this.#check('WBINVD');
  }
  onXsetbv(): void {
    this.#check('XSETBV');
  }
  onMonitor(): void {
    this.#check('MONITOR');
  }
  onMwait(): void {
    this.#check('MWAIT');
    if (this.#parts.state.monitorArmed) this.#check('MWAIT_CONDITIONAL');
  }
  onPause(): void {
    if (this.#has(ExitCode.PAUSE) && this.#pauseFilter.isExhausted()) throw plain.get(ExitCode.PAUSE);
  }
  onPushf(): void {
    this.#check('PUSHF');
  }
  onPopf(): void {
    this.#check('POPF');
  }
  onIret(): void {
    this.#check('IRET');
  }
  onRsm(): void {
    this.#check('RSM');
  }
  onFpuFreeze(): void {
    this.#check('FERR_FREEZE');
  }
  onTripleFault(): void {
    this.#check('SHUTDOWN');
  }
  onSoftwareInterrupt(vector: number): void {
    if (this.#has(ExitCode.SWINT)) throw this.#assisted(ExitCode.SWINT, BigInt(vector));
  }
  onInvlpg(linear: LinearAddress): void {
    if (this.#has(ExitCode.INVLPG)) throw this.#assisted(ExitCode.INVLPG, BigInt.asUintN(64, BigInt(linear)));
  }
  onInvpcid(): void {
    this.#check('INVPCID');
  }
  onDescriptorTable({ mnemonic }: DecodedInstruction): void {
    const name = descriptorTables[mnemonic];
    if (name) this.#check(name);
  }
  onSvmInstruction({ mnemonic }: DecodedInstruction): boolean {
    return this.#quietly(mnemonic.toUpperCase() as ExitCodeName);
  }

  // ---- registers ---------------------------------------------------------------------------------------------------

  onReadCr(register: number, gpr: number): bigint | undefined {
    const code = FirstCode.crRead + register;
    if (this.#has(code)) throw this.#assisted(code, movCrInformation(gpr));
    const { vmcb } = this.#parts;
    return register === 8 && masksInterrupts(vmcb) ? BigInt(vmcb.u32(INTERRUPT_CONTROL_AT) & 0xf) : undefined;
  }

  onWriteCr(register: number, gpr: number, value: bigint): bigint | undefined {
    const code = FirstCode.crWrite + register;
    if (this.#has(code)) throw this.#assisted(code, movCrInformation(gpr));
    if (register === 0) this.#checkSelective(Number(value & 0xffff_ffffn), movCrInformation(gpr));
    return register === 8 ? this.#writeTaskPriority(value) : value;
  }

  /** V_TPR follows CR8, and takes its place where interrupts are masked virtually. */
  #writeTaskPriority(value: bigint): bigint | undefined {
    const { vmcb } = this.#parts;
    if (value > 15n) throw GP(0);
    vmcb.touch();
    const others = vmcb.u32(INTERRUPT_CONTROL_AT) & ~INTERRUPT_CONTROL.V_TPR;
    vmcb.setU32(INTERRUPT_CONTROL_AT, others | Number(value));
    return masksInterrupts(vmcb) ? undefined : value;
  }

  #checkSelective(value: number, information: bigint): void {
    const { cr0 } = this.#parts.state;
    const isSelected = ((value ^ cr0) & ~(NOT_SELECTED | CR0.ET)) !== 0;
    if (isSelected && this.#has(ExitCode.CR0_SEL_WRITE)) throw this.#assisted(ExitCode.CR0_SEL_WRITE, information);
  }

  onClts(): boolean {
    if (this.#has(FirstCode.crWrite)) throw new VmExit(FirstCode.crWrite);
    return true;
  }
  onLmsw(source: number): number {
    if (this.#has(FirstCode.crWrite)) throw new VmExit(FirstCode.crWrite);
    const { cr0 } = this.#parts.state;
    this.#checkSelective((cr0 & ~(LMSW_BITS & ~CR0.PE)) | (source & LMSW_BITS), 0n);
    return source;
  }
  onSmsw(cr0: number): number {
    if (this.#has(FirstCode.crRead)) throw new VmExit(FirstCode.crRead);
    return cr0;
  }
  onDr(register: number, gpr: number, direction: 'read' | 'write'): void {
    const code = (direction === 'read' ? FirstCode.drRead : FirstCode.drWrite) + register;
    if (this.#has(code)) throw this.#assisted(code, BigInt(gpr));
  }

  // ---- ports and MSRs ----------------------------------------------------------------------------------------------

  onIo(access: IoAccess, insn: DecodedInstruction): boolean {
    if (!this.#has(ExitCode.IOIO) || !this.#maps.interceptsPort(access.port, access.sizeBytes)) return false;
    const secondInformation = BigInt.asUintN(64, BigInt(insn.nextIp));
    this.#parts.processor.vmExit = new VmExit(ExitCode.IOIO, ioInformation(access, insn), { secondInformation });
    return true;
  }
  onRdmsr(index: number): boolean {
    return this.#msr(index, 0);
  }
  onWrmsr(index: number): boolean {
    return this.#msr(index, 1);
  }
  #msr(index: number, write: 0 | 1): boolean {
    if (!this.#has(ExitCode.MSR) || !this.#maps.interceptsMsr(index, write)) return false;
    this.#parts.processor.vmExit = new VmExit(ExitCode.MSR, BigInt(write));
    return true;
  }

  // ---- events ------------------------------------------------------------------------------------------------------

  onException(fault: GuestFault): void {
    const isIcebp = isDebugFault(fault) && fault.trap && fault.dr6 === 0;
    if (isIcebp && this.#has(ExitCode.ICEBP)) throw new VmExit(ExitCode.ICEBP);
    const code = FirstCode.exception + fault.vector;
    if (!this.#has(code)) return;
    const isInstruction = isIcebp || fault instanceof SoftwareException;
    if (isDebugFault(fault)) this.#recordDebugStatus(fault.dr6);
    const { errorCode, linear } = fault;
    throw new VmExit(code, BigInt(errorCode ?? 0), {
      ...(isInstruction ? BY_INSTRUCTION : {}),
      ...(linear === undefined ? {} : { secondInformation: BigInt.asUintN(64, BigInt(linear)) }),
    });
  }

  /** A #DB that is intercepted has changed the debug registers as if it was delivered. */
  #recordDebugStatus(dr6: number): void {
    const { state } = this.#parts;
    state.dr6 = (state.dr6 & ~DR6.B) | dr6;
    state.dr7 &= ~DR7.GD;
  }

  onTaskSwitch(selector: number, source: 'call' | 'iret' | 'jmp' | 'idt'): void {
    if (!this.#has(ExitCode.TASK_SWITCH)) return;
    const { processor, state } = this.#parts;
    const errorCode = source === 'idt' ? processor.delivering?.errorCode : undefined;
    const secondInformation =
      BigInt(errorCode ?? 0) |
      (source === 'iret' ? TASK.IRET : 0n) |
      (source === 'jmp' ? TASK.JMP : 0n) |
      (errorCode === undefined ? 0n : TASK.ERROR_CODE) |
      (state.flagsOther & RFLAGS.RF ? TASK.RF : 0n);
    throw new VmExit(ExitCode.TASK_SWITCH, BigInt(selector), { secondInformation });
  }

  /** There is no VMX beside SVM. */
  onVmxInstruction(): boolean {
    throw UD();
  }
}

/** EXITINFO1 of port accesses (AMD64 APM volume 2, "IOIO Intercept Information"). */
function ioInformation({ port, sizeBytes, direction, string, rep }: IoAccess, insn: DecodedInstruction): bigint {
  const address = insn.addressSize === 16 ? 1 << 7 : insn.addressSize === 32 ? 1 << 8 : 1 << 9;
  const isOutput = direction === 'out';
  return BigInt(
    port * 0x1_0000 +
      ((isOutput ? 0 : 1) |
        (string ? 1 << 2 : 0) |
        (rep ? 1 << 3 : 0) |
        (sizeBytes << 4) |
        address |
        (string ? (isOutput ? insn.segment : 0) << 10 : 0)),
  );
}
