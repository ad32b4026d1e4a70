import { Disassembler, MAXIMUM_INSTRUCTION_BYTES } from '../disassembly/disassembler.ts';
import type { MachineControl, Stop, Vcpu } from '../engine-target.ts';
import { hex } from '../hexadecimal.ts';
import type { LoadedProgram } from '../program/loaded-program.ts';

const REGISTERS = [
  ...['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'],
  ...['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'],
  ...['rflags', 'cs', 'ds', 'es', 'ss', 'fs', 'gs', 'cr0', 'cr2', 'cr3', 'cr4'],
];
const TEXT_COLUMN = 40;

/** Steps a machine and prints a line for each instruction: where, what, and the registers that it changed. */
export class Tracer {
  readonly #control: MachineControl;
  readonly #program: LoadedProgram;
  readonly #report: (line: string) => void;
  readonly #disassembler = new Disassembler();

  constructor(control: MachineControl, program: LoadedProgram, report: (line: string) => void) {
    this.#control = control;
    this.#program = program;
    this.#report = report;
  }

  /** One instruction, or one stage of the hypervisor's handler, of the vCPU whose turn it is. */
  step(): Stop {
    const { currentVcpu } = this.#control;
    const vcpu = this.#control.vcpus[currentVcpu];
    if (vcpu === undefined) {
      throw new Error(`no vCPU ${currentVcpu}`);
    }
    const [stage] = vcpu.handlerFrames();
    const what = stage === undefined ? this.#describe(vcpu) : `${' '.repeat(18)}[hypervisor] ${stage.name}`;
    const before = REGISTERS.map((name) => vcpu.readRegister(name));
    const stop = this.#control.step(currentVcpu);
    const prefix = this.#control.vcpus.length > 1 ? `${currentVcpu}: ` : '';
    this.#report(`${prefix}${what.padEnd(18 + TEXT_COLUMN)}${changes(before, vcpu)}`.trimEnd());
    return stop;
  }

  #describe(vcpu: Vcpu): string {
    const address = vcpu.instructionAddress;
    const bytes = vcpu.peek('linear', address, MAXIMUM_INSTRUCTION_BYTES);
    const name = (target: bigint) => this.#program.symbols.describe(target);
    const text = this.#disassembler.decode(bytes, vcpu.mode().codeSize, address, name)?.text ?? '(not mapped)';
    const symbol = name(address);
    return `${hex(address).padEnd(18)}${text}${symbol === undefined ? '' : ` <${symbol}>`}`;
  }
}

function changes(before: readonly (bigint | undefined)[], vcpu: Vcpu): string {
  return REGISTERS.flatMap((name, index) => {
    const value = vcpu.readRegister(name);
    return value === undefined || value === before[index] ? [] : [` ${name}=${hex(value)}`];
  }).join('');
}
