/** Joins a decoded instruction with the registers it refers to: what heavy instructions are handed. */
import type {
  DecodedInstruction as Decoded,
  MemoryOperand as Symbolic,
  DecodedOperand as SymbolicOperand,
} from '../isa/decode.ts';
import { type LinearAddress, linearAddressOf, low32, plus } from '../isa/linear-address.ts';
import type { DecodedInstruction, DecodedOperand, MemoryOperand } from './instruction.ts';
import type { CpuState } from './state.ts';
import { DS } from './state.ts';

const RIP_NUMBER = 16;
const FAR_POINTER_IN_MEMORY = /^(Jmp|Call)_m16(16|32|64)$/;

/** Whether JMP or CALL has a far pointer as its operand. */
function isFar(decoded: Decoded): boolean {
  return decoded.operands[0]?.kind === 'far-branch' || FAR_POINTER_IN_MEMORY.test(decoded.codeName);
}

const repPrefixes = { none: undefined, rep: 'rep', repe: 'rep', repne: 'repne' } as const;

/**
 * The instruction at `ip` (RIP, not linear) as system instructions take it. Memory operands are evaluated with the
 * registers of `state` at the time `operand` is called.
 */
export function bindInstruction(state: CpuState, decoded: Decoded, ip: LinearAddress): DecodedInstruction {
  const end = plus(ip, decoded.lengthBytes);
  const nextIp = decoded.codeSize === 64 ? end : low32(end);
  const fixed = decoded.operands.map(bindFixed);
  return {
    code: decoded.code,
    mnemonic: decoded.mnemonic,
    far: isFar(decoded),
    lengthBytes: decoded.lengthBytes,
    operandSize: decoded.operandSize,
    addressSize: decoded.addressSize,
    ip,
    nextIp,
    repPrefix: repPrefixes[decoded.repeat],
    segment: decoded.memory?.segment ?? DS,
    x87Opcode: decoded.x87Opcode,
    operandCount: decoded.operands.length,
    operand: (index) => fixed[index] ?? bindMemoryOperand(state, decoded, index, nextIp),
  };
}

/** What an operand is if it does not depend on the registers' values; undefined for memory. */
function bindFixed(operand: SymbolicOperand): DecodedOperand | undefined {
  if (operand.kind === 'memory') return undefined;
  if (operand.kind === 'register') return bindRegister(operand);
  if (operand.kind === 'far-branch') {
    return { kind: 'far-pointer', selector: operand.selector ?? 0, offset: Number(operand.value ?? 0n) };
  }
  return { kind: 'immediate', value: Number(operand.value ?? 0n) };
}

/** Undefined for registers that no system instruction has. */
function bindRegister({ register }: SymbolicOperand): DecodedOperand | undefined {
  switch (register?.kind) {
    case 'gpr':
      return { kind: 'register', index: register.number, sizeBytes: register.width / 8 };
    case 'vector':
    case 'mmx':
      return { kind: register.kind, index: register.number, sizeBytes: register.width / 8 };
    case 'segment':
    case 'control':
    case 'debug':
    case 'x87':
      return { kind: register.kind, index: register.number };
    default:
      return undefined;
  }
}

function bindMemoryOperand(state: CpuState, decoded: Decoded, index: number, nextIp: LinearAddress): MemoryOperand {
  const operand = decoded.operands[index];
  if (operand?.kind === 'memory' && decoded.memory) return bindMemory(state, decoded, decoded.memory, nextIp);
  const found = operand ? `is ${operand.register?.name ?? operand.kind}` : 'does not exist';
  throw new Error(`internal: ${decoded.codeName}: operand ${index} ${found}`);
}

function bindMemory(state: CpuState, decoded: Decoded, memory: Symbolic, nextIp: LinearAddress): MemoryOperand {
  return {
    kind: 'memory',
    segment: memory.segment,
    offset: effectiveAddress(state, decoded.addressSize, memory, nextIp),
    sizeBytes: memory.sizeBytes,
    base: memory.base === 'ip' ? RIP_NUMBER : memory.base,
    index: memory.index,
    scale: memory.shift,
    displacement: memory.displacement,
  };
}

/** Sums of addresses within are exact as numbers. */
const EXACT = 2 ** 49;

function effectiveAddress(state: CpuState, bits: 16 | 32 | 64, memory: Symbolic, nextIp: LinearAddress): LinearAddress {
  const { base, index } = memory;
  const wide = bits === 64;
  const from = (register: number) => (wide ? state.gprLinear(register) : state.gpr32(register));
  const baseValue = base === 'ip' ? nextIp : base === undefined ? 0 : from(base);
  const indexValue = index === undefined ? 0 : from(index);
  if (!isSmall(baseValue) || !isSmall(indexValue)) return wideAddress(state, memory, nextIp);
  const sum = Number(memory.displacement) + baseValue + indexValue * 2 ** memory.shift;
  if (wide) return sum;
  return bits === 32 ? sum >>> 0 : sum & 0xffff;
}

const isSmall = (value: LinearAddress): value is number =>
  typeof value === 'number' && value <= EXACT && value >= -EXACT;

/** The 64-bit address of registers that hold anything. */
function wideAddress(state: CpuState, memory: Symbolic, nextIp: LinearAddress): LinearAddress {
  let sum = memory.displacement;
  if (memory.base === 'ip') sum += BigInt(nextIp);
  else if (memory.base !== undefined) sum += state.gpr(memory.base);
  if (memory.index !== undefined) sum += state.gpr(memory.index) << BigInt(memory.shift);
  return linearAddressOf(sum);
}
