/** What may stand for each kind of operand that iced-x86 names. */
import { OpCodeOperandKind as K, OpKind, Register } from 'iced-x86';

const named = (names: string) =>
  names.split(' ').map((name) => (Register as unknown as Record<string, Register>)[name] ?? 0);

const GPR8 = named('AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8L R9L R12L R13L R15L');
const GPR16 = named('AX CX DX BX SP BP SI DI R8W R9W R10W R11W R12W R13W R14W R15W');
/** In encoding order, like all lists here. */
export const GPR32 = named('EAX ECX EDX EBX ESP EBP ESI EDI R8D R9D R10D R11D R12D R13D R14D R15D');
export const GPR64 = named('RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15');
export const SEGMENT_REGISTERS = named('ES CS SS DS FS GS');
const numbered = (prefix: string, count: number) =>
  named(Array.from({ length: count }, (_, n) => prefix + n).join(' '));
const ST = numbered('ST', 8);
const MM = numbered('MM', 8);
export const XMM = numbered('XMM', 16);
export const YMM = numbered('YMM', 16);

/** The registers that an operand of a kind is drawn from. */
export const REGISTER_OPERANDS = new Map<K, Register[]>([
  [K.r8_reg, GPR8],
  [K.r8_opcode, GPR8],
  [K.r8_or_mem, GPR8],
  [K.r16_reg, GPR16],
  [K.r16_rm, GPR16],
  [K.r16_opcode, GPR16],
  [K.r16_or_mem, GPR16],
  [K.r32_reg, GPR32],
  [K.r32_rm, GPR32],
  [K.r32_opcode, GPR32],
  [K.r32_or_mem, GPR32],
  [K.r32_vvvv, GPR32],
  [K.r64_reg, GPR64],
  [K.r64_rm, GPR64],
  [K.r64_opcode, GPR64],
  [K.r64_or_mem, GPR64],
  [K.r64_vvvv, GPR64],
  [K.seg_reg, SEGMENT_REGISTERS],
  [K.sti_opcode, ST],
  [K.mm_reg, MM],
  [K.mm_rm, MM],
  [K.mm_or_mem, MM],
  ...[K.xmm_reg, K.xmm_rm, K.xmm_or_mem, K.xmm_vvvv, K.xmm_is4].map((kind): [K, Register[]] => [kind, XMM]),
  ...[K.ymm_reg, K.ymm_rm, K.ymm_or_mem, K.ymm_vvvv, K.ymm_is4].map((kind): [K, Register[]] => [kind, YMM]),
]);

export const FIXED_REGISTERS = new Map<K, Register>([
  [K.al, Register.AL],
  [K.cl, Register.CL],
  [K.ax, Register.AX],
  [K.dx, Register.DX],
  [K.eax, Register.EAX],
  [K.rax, Register.RAX],
  [K.es, Register.ES],
  [K.cs, Register.CS],
  [K.ss, Register.SS],
  [K.ds, Register.DS],
  [K.fs, Register.FS],
  [K.gs, Register.GS],
  [K.st0, Register.ST0],
]);

/** How an immediate is given to the encoder, and its width in bits. */
export const IMMEDIATES = new Map<K, [OpKind, number]>([
  [K.imm8, [OpKind.Immediate8, 8]],
  [K.imm8sex16, [OpKind.Immediate8to16, 8]],
  [K.imm8sex32, [OpKind.Immediate8to32, 8]],
  [K.imm8sex64, [OpKind.Immediate8to64, 8]],
  [K.imm16, [OpKind.Immediate16, 16]],
  [K.imm32, [OpKind.Immediate32, 32]],
  [K.imm32sex64, [OpKind.Immediate32to64, 32]],
  [K.imm64, [OpKind.Immediate64, 64]],
]);

/** How a near branch is given to the encoder, and the size in bytes of its displacement. */
export const NEAR_BRANCHES = new Map<K, [OpKind, number]>([
  [K.br16_1, [OpKind.NearBranch16, 1]],
  [K.br32_1, [OpKind.NearBranch32, 1]],
  [K.br64_1, [OpKind.NearBranch64, 1]],
  [K.br16_2, [OpKind.NearBranch16, 2]],
  [K.br32_4, [OpKind.NearBranch32, 4]],
  [K.br64_4, [OpKind.NearBranch64, 4]],
]);

/** Memory addressed with a vector of indices, and the registers these are drawn from. */
export const VECTOR_INDICES = new Map<K, Register[]>([
  [K.mem_vsib32x, XMM],
  [K.mem_vsib64x, XMM],
  [K.mem_vsib32y, YMM],
  [K.mem_vsib64y, YMM],
]);

/** What cannot be a register. */
export const ONLY_MEMORY = new Set([K.mem, ...VECTOR_INDICES.keys()]);

export const MEMORY_OPERANDS = new Set([
  ...ONLY_MEMORY,
  ...[K.r8_or_mem, K.r16_or_mem, K.r32_or_mem, K.r64_or_mem, K.mm_or_mem, K.xmm_or_mem, K.ymm_or_mem],
]);
