import {
  Code,
  CodeExt,
  EncodingKind,
  Instruction,
  OpCodeOperandKind as Kind,
  MandatoryPrefix,
  MemorySize,
  MemorySizeExt,
  Mnemonic,
  type OpCodeInfo,
  type OpCodeTableKind,
  TupleType,
} from 'iced-x86';
import { adjustmentOf } from './form-adjustments.ts';
import { orderOf } from './form-order.ts';
import type { RegisterClass } from './registers.ts';

/** Where an operand goes in the encoding. */
export type OperandRole =
  | 'reg'
  | 'rm'
  | 'vvvv'
  | 'opcode'
  | 'is4'
  | 'implicit'
  | 'immediate'
  | 'one'
  | 'relative'
  | 'far'
  | 'moffs';

/** One operand that an instruction form takes. */
export interface OperandSpec {
  readonly role: OperandRole;
  readonly registerClass?: RegisterClass;
  /** Only for `implicit`: the register it must be. */
  readonly registerNumber?: number;
  readonly allowsMemory: boolean;
  /** Immediates, branches and offsets: bits in the encoding. */
  readonly encodedBits: number;
  /** Immediates: bits after sign extension. */
  readonly effectiveBits: number;
  /** The class of the index register of a VSIB address. */
  readonly vsib?: RegisterClass;
  /** The register pair of `vp4dpwssd` and its like: only its first register is written. */
  readonly kind: Kind;
}

/** One encoding of an instruction: what the assembler needs of iced-x86's OpCodeInfo. */
export interface Form {
  readonly code: Code;
  readonly operands: readonly OperandSpec[];
  readonly encoding: EncodingKind;
  readonly table: OpCodeTableKind;
  readonly prefix: MandatoryPrefix;
  readonly opcode: number;
  readonly opcodeLength: number;
  /** ModRM.reg where the form fixes it, else -1. */
  readonly group: number;
  readonly rmGroup: number;
  /** 16, 32, 64 or 0 where the operand size does not matter. */
  readonly operandSize: number;
  readonly addressSize: number;
  /** The operand size is this without a REX.W prefix in 64-bit mode. */
  readonly noRexW: boolean;
  /** Of several forms that fit, one of the lowest rank is taken: 0 legacy, 2 VEX, 4 XOP, 6 EVEX. */
  readonly rank: number;
  /** By rank, then by the places of the operands; see `orderOf`. */
  readonly order: number;
  readonly w: number;
  readonly l: number;
  readonly fwait: boolean;
  readonly modes: { readonly 16: boolean; readonly 32: boolean; readonly 64: boolean };
  readonly memoryBits: number;
  readonly memorySize: MemorySize;
  readonly broadcastBits: number;
  readonly tupleType: TupleType;
  readonly canMask: boolean;
  readonly mustMask: boolean;
  readonly canZero: boolean;
  readonly canRound: boolean;
  readonly canSuppress: boolean;
  readonly canLock: boolean;
}

const CLASS_STEMS: Readonly<Record<string, RegisterClass>> = {
  r8: 'r8',
  r16: 'r16',
  r32: 'r32',
  r64: 'r64',
  mm: 'mm',
  xmm: 'xmm',
  ymm: 'ymm',
  zmm: 'zmm',
  xmmp3: 'xmm',
  zmmp3: 'zmm',
  bnd: 'bnd',
  k: 'k',
  kp1: 'k',
  seg: 'segment',
  cr: 'cr',
  dr: 'dr',
  tr: 'tr',
  tmm: 'tmm',
  sti: 'st',
};

const IMPLICIT: Readonly<Record<string, readonly [RegisterClass, number]>> = {
  es: ['segment', 0],
  cs: ['segment', 1],
  ss: ['segment', 2],
  ds: ['segment', 3],
  fs: ['segment', 4],
  gs: ['segment', 5],
  al: ['r8', 0],
  cl: ['r8', 1],
  ax: ['r16', 0],
  dx: ['r16', 2],
  eax: ['r32', 0],
  rax: ['r64', 0],
  st0: ['st', 0],
};

const ROLES: Readonly<Record<string, OperandRole>> = {
  reg: 'reg',
  reg_mem: 'reg',
  rm: 'rm',
  or_mem: 'rm',
  or_mem_mpx: 'rm',
  vvvv: 'vvvv',
  opcode: 'opcode',
  is4: 'is4',
  is5: 'is4',
};

const BRANCH_BITS: Readonly<Record<string, number>> = {
  br16_1: 8,
  br32_1: 8,
  br64_1: 8,
  br16_2: 16,
  br32_4: 32,
  br64_4: 32,
  xbegin_2: 16,
  xbegin_4: 32,
  brdisp_2: 16,
  brdisp_4: 32,
};

/** Operands of string instructions, which NASM does not write. */
const UNWRITTEN: ReadonlySet<Kind> = new Set([Kind.seg_rSI, Kind.es_rDI, Kind.seg_rDI, Kind.seg_rBX_al]);

/** Registers of string instructions, which NASM does not write either. */
const STRING_REGISTERS: ReadonlySet<Kind> = new Set([Kind.al, Kind.ax, Kind.eax, Kind.rax, Kind.dx]);

const specs = new Map<Kind, OperandSpec>();

function specOf(kind: Kind): OperandSpec {
  let spec = specs.get(kind);
  if (!spec) specs.set(kind, (spec = makeSpec(kind, Kind[kind] ?? '')));
  return spec;
}

function makeSpec(kind: Kind, name: string): OperandSpec {
  const base = { kind, allowsMemory: false, encodedBits: 0, effectiveBits: 0 };
  const implicit = IMPLICIT[name];
  if (implicit) return { ...base, role: 'implicit', registerClass: implicit[0], registerNumber: implicit[1] };
  const immediate = /^imm(\d+)(?:sex(\d+))?(?:_(\w+))?$/u.exec(name);
  if (immediate) {
    const bits = Number(immediate[1]);
    const role = immediate[3] === 'const_1' ? 'one' : 'immediate';
    return { ...base, role, encodedBits: bits, effectiveBits: Number(immediate[2] ?? bits) };
  }
  const branch = BRANCH_BITS[name];
  if (branch !== undefined) return { ...base, role: 'relative', encodedBits: branch };
  if (name.startsWith('farbr')) return { ...base, role: 'far', encodedBits: kind === Kind.farbr2_2 ? 16 : 32 };
  if (name === 'mem_offs') return { ...base, role: 'moffs', allowsMemory: true };
  const vsib = /^mem_vsib\d\d([xyz])$/u.exec(name);
  if (vsib) return { ...base, role: 'rm', allowsMemory: true, vsib: `${vsib[1]}mm` as RegisterClass };
  if (name.startsWith('mem') || name === 'sibmem') return { ...base, role: 'rm', allowsMemory: true };
  const split = name.indexOf('_');
  const registerClass = CLASS_STEMS[name.slice(0, split)];
  const role = ROLES[name.slice(split + 1)];
  if (!registerClass || !role) throw new Error(`operand kind ${name} has no description`);
  return { ...base, role, registerClass, allowsMemory: name.includes('or_mem') };
}

const ENCODING_RANK: Readonly<Record<number, number>> = {
  [EncodingKind.Legacy]: 0,
  [EncodingKind.D3NOW]: 0,
  [EncodingKind.VEX]: 2,
  [EncodingKind.XOP]: 4,
  [EncodingKind.EVEX]: 6,
};

function makeForm(code: Code, info: OpCodeInfo): Form {
  const adjustment = adjustmentOf(code);
  const kinds = Array.from({ length: info.opCount }, (_unused, index) => info.opKind(index));
  const string = kinds.some((kind) => UNWRITTEN.has(kind));
  const written = kinds.filter((kind) => !UNWRITTEN.has(kind) && !(string && STRING_REGISTERS.has(kind)));
  const described = {
    code,
    operands: written.map(specOf),
    encoding: info.encoding,
    table: info.table,
    prefix: info.mandatoryPrefix,
    opcode: info.opCode,
    opcodeLength: info.opCodeLength,
    group: info.groupIndex,
    rmGroup: info.rmGroupIndex,
    operandSize: adjustment?.operandSize ?? info.operandSize,
    addressSize: info.addressSize,
    noRexW: adjustment?.noRexW ?? (info.defaultOpSize64 || info.forceOpSize64),
    rank: adjustment?.rank ?? ENCODING_RANK[info.encoding] ?? 6,
    w: info.W,
    l: info.L,
    fwait: info.fwait,
    modes: { 16: info.mode16, 32: info.mode32, 64: info.mode64 },
    memoryBits: bitsOf(info.memorySize),
    memorySize: info.memorySize,
    broadcastBits: info.canBroadcast ? broadcastBits(info.broadcastMemorySize) : 0,
    tupleType: info.tupleType,
    canMask: info.canUseOpMaskRegister,
    mustMask: info.requireOpMaskRegister,
    canZero: info.canUseZeroingMasking,
    canRound: info.canUseRoundingControl,
    canSuppress: info.canSuppressAllExceptions,
    canLock: info.canUseLockPrefix,
  };
  return { ...described, order: orderOf(described) };
}

/** The number NASM's size keyword must have: for far pointers that of the offset, as in `jmp far dword [x]`. */
function bitsOf(size: MemorySize): number {
  if (size === MemorySize.SegPtr16) return 16;
  if (size === MemorySize.SegPtr32) return 32;
  return size === MemorySize.SegPtr64 ? 64 : MemorySizeExt.size(size) * 8;
}

function broadcastBits(size: MemorySize): number {
  return MemorySizeExt.elementSize(size) * 8;
}

let codesByMnemonic: ReadonlyMap<Mnemonic, readonly Code[]> | undefined;
const formsByMnemonic = new Map<Mnemonic, readonly Form[]>();

/** Describes no code yet: for all of them that would take longer than assembling most programs. */
function indexCodes(): ReadonlyMap<Mnemonic, readonly Code[]> {
  const index = new Map<Mnemonic, Code[]>();
  const instruction = new Instruction();
  for (let code: Code = 0; Code[code] !== undefined; code++) {
    instruction.code = code;
    const { mnemonic } = instruction;
    const codes = index.get(mnemonic);
    if (codes) codes.push(code);
    else index.set(mnemonic, [code]);
  }
  instruction.free();
  return index;
}

/** All forms of a mnemonic in the order of iced-x86's Code enumeration; they are described on first use. */
export function formsOf(mnemonic: Mnemonic): readonly Form[] {
  let forms = formsByMnemonic.get(mnemonic);
  if (forms) return forms;
  codesByMnemonic ??= indexCodes();
  forms = (codesByMnemonic.get(mnemonic) ?? []).flatMap(describe);
  formsByMnemonic.set(mnemonic, forms);
  return forms;
}

/** The form of a code, or none where NASM has no such form. */
function describe(code: Code): Form[] {
  if (adjustmentOf(code)?.absent) return [];
  const info = CodeExt.opCode(code);
  const usable = info.isInstruction && info.encoding !== EncodingKind.MVEX;
  const forms = usable ? [makeForm(code, info)] : [];
  info.free();
  return forms;
}

/** Whether the mandatory prefix is an opcode byte of its own. */
export function mandatoryByte(prefix: MandatoryPrefix): number | undefined {
  if (prefix === MandatoryPrefix.P66) return 0x66;
  if (prefix === MandatoryPrefix.PF3) return 0xf3;
  return prefix === MandatoryPrefix.PF2 ? 0xf2 : undefined;
}

export { Code, EncodingKind, Kind, MemorySize, Mnemonic, TupleType };
