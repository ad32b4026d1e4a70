/** A decoded instruction as the system side of the CPU wants it, with memory offsets computed when asked for. */
import type {
  DecodedInstruction as SystemInstructionSite,
  DecodedOperand as SystemOperand,
} from '../cpu/instruction.ts';
import type { CpuState } from '../cpu/state.ts';
import type { DecodedInstruction, DecodedOperand } from '../isa/decode.ts';

/** Register number by which the system side knows RIP as a base. */
const RIP_BASE = 16;

export class SystemSite implements SystemInstructionSite {
  readonly code: number;
  readonly mnemonic: string;
  readonly far: boolean;
  readonly lengthBytes: number;
  readonly operandSize: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
  readonly repPrefix: 'rep' | 'repne' | undefined;
  readonly segment: number;
  readonly operandCount: number;
  ip = 0;
  nextIp = 0;
  readonly #decoded: DecodedInstruction;
  readonly #state: CpuState;

  constructor(decoded: DecodedInstruction, state: CpuState) {
    this.#decoded = decoded;
    this.#state = state;
    this.code = decoded.code;
    this.mnemonic = decoded.mnemonic;
    this.far = isFar(decoded);
    this.lengthBytes = decoded.lengthBytes;
    this.operandSize = decoded.operandSize;
    this.addressSize = decoded.addressSize;
    this.repPrefix = decoded.repeat === 'none' ? undefined : decoded.repeat === 'repne' ? 'repne' : 'rep';
    this.segment = decoded.memory?.segment ?? 3;
    this.operandCount = decoded.operands.length;
  }

  /** The same code may run at several linear addresses. */
  at(ip: number, nextIp: number): this {
    this.ip = ip;
    this.nextIp = nextIp;
    return this;
  }

  operand(index: number): SystemOperand {
    const operand = this.#decoded.operands[index];
    if (!operand) throw new Error(`${this.mnemonic} has no operand ${index}`);
    return operand.register ? registerOperand(operand) : this.#other(operand);
  }

  #other(operand: DecodedOperand): SystemOperand {
    switch (operand.kind) {
      case 'immediate':
        return { kind: 'immediate', value: Number(operand.value ?? 0n) };
      case 'far-branch':
        return { kind: 'far-pointer', selector: operand.selector ?? 0, offset: Number(operand.value ?? 0n) };
      case 'near-branch':
        return { kind: 'immediate', value: Number(BigInt.asIntN(64, operand.value ?? 0n)) };
      default:
        return this.#memory();
    }
  }

  #memory(): SystemOperand {
    const memory = this.#decoded.memory;
    if (!memory) throw new Error(`${this.mnemonic} has no memory operand`);
    return {
      kind: 'memory',
      segment: memory.segment,
      offset: this.#offset(),
      sizeBytes: memory.sizeBytes,
      base: memory.base === 'ip' ? RIP_BASE : memory.base,
      index: memory.index,
      scale: memory.shift,
      displacement: memory.displacement,
    };
  }

  #offset(): number {
    const memory = this.#decoded.memory;
    if (!memory) return 0;
    const state = this.#state;
    let sum = memory.displacement;
    if (memory.base === 'ip') sum += BigInt(this.nextIp);
    else if (memory.base !== undefined) sum += state.gpr(memory.base);
    if (memory.index !== undefined) sum += state.gpr(memory.index) << BigInt(memory.shift);
    return Number(this.addressSize === 64 ? BigInt.asIntN(64, sum) : BigInt.asUintN(this.addressSize, sum));
  }
}

function registerOperand(operand: DecodedOperand): SystemOperand {
  const register = operand.register;
  if (!register || register.kind === 'other') throw new Error(`no such register operand: ${register?.name}`);
  const { kind, number, width } = register;
  return kind === 'gpr' ? { kind: 'register', index: number, sizeBytes: width / 8 } : { kind, index: number };
}

const isFar = (decoded: DecodedInstruction): boolean =>
  decoded.operands[0]?.kind === 'far-branch' || /^(Jmp|Call)_m16/.test(decoded.codeName);
