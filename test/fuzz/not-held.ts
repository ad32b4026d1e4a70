/** What the fuzzer does not hold against the real CPU, and why: CPUs differ, or the operating system has a say. */
import { Code, DecoderOptions, type Instruction, Mnemonic, OpKind, Register, RegisterExt } from 'iced-x86';
import { decoderFeatures } from '../../engine/isa/availability.ts';
import { opcodeIndex } from '../../engine/isa/prefixes.ts';
import { isLackedHere } from '../support/own-features.ts';
import type { Mode } from '../vectors/layout.ts';
import { withInstruction } from './fuzz-case.ts';

/** Time, and what else is not the same when it is asked for again. */
export const TELLS_OF_THE_MACHINE = 'tells of the machine';

/** By mnemonic. */
const MNEMONICS: readonly (readonly [RegExp, string])[] = [
  [/^(Int|Int1|Syscall|Sysenter|Sysexit|Sysexitq|Sysret|Sysretq)$/, 'enters the kernel'],
  [/^(Cpuid|Rdtscp?|Rdrand|Rdseed|Rdpid|Rdpmc|Rdpru|Xgetbv)$/, TELLS_OF_THE_MACHINE],
  [/^(S[gil]dt|Smsw|Str|Lar|Lsl|Ver[rw]|Lldt|Ltr)$/, 'depends on descriptor tables'],
  [/^(L[defgs]s|Retf|Iret[dq]?|Arpl)$/, 'depends on descriptor tables'],
  [/^(Wr|Rd)[fg]sbase$/, 'moves the data of the recorder'],
  [/^(Monitorx?|Mwaitx?|Wrpkru|Rdpkru|Umonitor|Umwait|Tpause|Rdssp.|Clzero|Mcommit)$/, 'depends on the processor'],
  [/^(R|Vr)(cp|sqrt)[ps]s$/, 'approximations differ within the bound that the manual gives'],
  [/^F(2xm1|yl2x|yl2xp1|ptan|sin|cos|sincos)$/, 'the last bits may differ'],
  [
    /^(Fn?(stenv|save)|Fldenv|Frstor|Fxsave(64)?|Fxrstor(64)?|Xsave.*|Xrstor.*)$/,
    'AMD processors save the pointers of the x87 only sometimes',
  ],
  [/^Popf[dq]?$/, 'may set TF and AC'],
  [/^Vmcall$/, 'the hypervisor below answers'],
];
const STRING = /^(Movs|Stos|Lods|Scas|Cmps)[bwdq]$/;
/** Present in AMD processors only. */
const AMD_ONLY = /^(SSE4A|SVM|SKINIT.*|SEV.*|SNP|INVLPGB|CET.*|PKU|OSPKE|MONITORX)$/;

/** Outside of 64-bit mode VEX.W is ignored (SDM volume 2, "PEXTRB/PEXTRD/PEXTRQ"). */
const MAY_HAVE_W = /^VEX_Vp(extr|insr)d_/;

/** Undefined if the result may be held against another processor's; `gpr` are the registers before the instruction. */
export function reasonNotHeld(instruction: Instruction, mode: Mode, gpr: readonly bigint[]): string | undefined {
  const mnemonic = Mnemonic[instruction.mnemonic] as string;
  const form = Code[instruction.code] as string;
  const byName = MNEMONICS.find(([pattern]) => pattern.test(mnemonic));
  if (byName) return byName[1];
  if (/^Sha/.test(mnemonic) && !hasRegister(instruction)) return 'AMD processors do not ask for alignment';
  if (form === 'Bswap_r16') return 'the result is undefined';
  if (/^Bs[fr]$/.test(mnemonic) && mayBeZero(instruction, gpr))
    return 'a source of zero leaves more or less of the destination';
  if (/^Reservednop|^Prefetch/.test(mnemonic) && hasRegister(instruction))
    return 'AMD processors have no form with a register';
  if (/_m80(fp|bcd)$/.test(form) && mode !== 64 && endsBeyondSegment(instruction, mode, gpr))
    return 'AMD processors let 80 bits reach over the end of a segment';
  if (mode === 32 && MAY_HAVE_W.test(form)) return 'AMD processors do not ignore VEX.W';
  // Tried: REPNE LOOPE goes round as LOOPNE does.
  if (/^Loopn?e$/.test(mnemonic) && (instruction.hasRepnePrefix || instruction.hasRepePrefix))
    return 'AMD processors take the condition from the prefix';
  if (/^(Ins|Outs)[bwd]$/.test(mnemonic) && (instruction.hasRepePrefix || instruction.hasRepnePrefix))
    return 'AMD processors ask for the permission even if the count is zero';
  if (/Sreg|^Pop[wdq]_[DEFGS]S$|^Push[wdq]_[CDEFGS]S$|ptr16|_m16(16|32|64)$/.test(form))
    return 'depends on descriptor tables';
  if (/_(cr|dr)/.test(form)) return 'is privileged';
  if (mode === 16 && (instruction.isPrivileged || /^(VEX|EVEX|XOP)_/.test(form)))
    return 'was recorded in protected mode';
  if (mode === 16 && /^(Cli|Sti|Pushf|Pushfd|In.*|Out.*)$/.test(mnemonic)) return 'was recorded in protected mode';
  if (mode === 64 && STRING.test(mnemonic) && hasSmallAddresses(instruction))
    return 'without an iteration, upper halves differ';
  if (mode === 16 && instruction.memorySegment === Register.CS) return 'only real-address mode writes through CS';
  if (mode !== 16 && usesOtherBase(instruction)) return 'FS and GS are the recorder’s';
  if (form === 'Pause' && mode === 64) return 'with REX.B, AMD processors exchange';
  if (decoderFeatures(instruction).some((feature) => AMD_ONLY.test(feature))) return 'AMD processors have it';
  if (isLackedHere(instruction)) return 'this CPU does not have it';
  return undefined;
}

const hasRegister = ({ op0Kind, op1Kind, opCount }: Instruction): boolean =>
  op0Kind === OpKind.Register && (opCount < 2 || op1Kind === OpKind.Register);

function mayBeZero({ op1Kind, op1Register }: Instruction, gpr: readonly bigint[]): boolean {
  if (op1Kind !== OpKind.Register) return true;
  const bits = 8 * RegisterExt.size(op1Register);
  return BigInt.asUintN(bits, gpr[RegisterExt.number(op1Register)] ?? 0n) === 0n;
}

/** Whether 10 bytes begin in a segment, of 64 KiB in 16-bit code and 4 GiB in 32-bit code, and end behind it. */
function endsBeyondSegment(instruction: Instruction, mode: 16 | 32, gpr: readonly bigint[]): boolean {
  const { memoryBase, memoryIndex, memoryIndexScale, memoryDisplacement } = instruction;
  const contents = (register: Register) =>
    register === Register.None ? 0n : BigInt.asUintN(32, gpr[RegisterExt.number(register)] ?? 0n);
  const sum = contents(memoryBase) + contents(memoryIndex) * BigInt(memoryIndexScale) + BigInt(memoryDisplacement);
  const is16 = [memoryBase, memoryIndex].some((register) => RegisterExt.isGPR16(register));
  const offset = BigInt.asUintN(is16 ? 16 : 32, sum);
  const last = mode === 16 ? 0xffffn : 0xffff_ffffn;
  return offset > last - 9n && offset <= last;
}

const SMALL = new Set([OpKind.MemorySegESI, OpKind.MemoryESEDI]);
const hasSmallAddresses = (instruction: Instruction): boolean =>
  SMALL.has(instruction.op0Kind) || SMALL.has(instruction.op1Kind);

const usesOtherBase = ({ memorySegment, segmentPrefix }: Instruction): boolean =>
  [memorySegment, segmentPrefix].some((register) => register === Register.FS || register === Register.GS);

/** Whether AMD's processors decode the bytes in another way. */
export const decodesOtherwise = (bytes: Uint8Array, mode: Mode): boolean =>
  withInstruction(bytes, mode, identity) !== withInstruction(bytes, mode, identity, DecoderOptions.AMD) ||
  mayBeXop(bytes, mode) ||
  isLockedVerw(bytes, mode) ||
  isPrefixedVmcall(bytes, mode) ||
  ignoresW(bytes, mode);
/** 8F with such a second byte begins XOP forms there, which are longer than the POP of an undefined form. */
function mayBeXop(bytes: Uint8Array, mode: Mode): boolean {
  const opcode = opcodeIndex(bytes, mode);
  return bytes[opcode] === 0x8f && ((bytes[opcode + 1] ?? 0) & 0x1f) >= 8;
}
/** LOCK VERW with memory was found to be executed there. */
function isLockedVerw(bytes: Uint8Array, mode: Mode): boolean {
  const opcode = opcodeIndex(bytes, mode);
  const [first, group, modrm = 0xff] = bytes.subarray(opcode);
  const isVerw = first === 0x0f && group === 0 && (modrm & 0x38) === 0x28 && modrm < 0xc0;
  return isVerw && bytes.subarray(0, opcode).includes(0xf0);
}
/** With a prefix, VMCALL is undefined, but the hypervisor below answers all the same. */
function isPrefixedVmcall(bytes: Uint8Array, mode: Mode): boolean {
  const opcode = opcodeIndex(bytes, mode);
  const [first, second, modrm] = bytes.subarray(opcode);
  return opcode > 0 && first === 0x0f && second === 0x01 && modrm === 0xc1;
}
/** They take forms that ask for VEX.W = 1 without it: VPERMQ, and outside of 64-bit mode VPERMPD. */
function ignoresW(bytes: Uint8Array, mode: Mode): boolean {
  const opcode = opcodeIndex(bytes, mode);
  if (bytes[opcode] !== 0xc4) return false;
  const other = bytes.slice();
  other[opcode + 2] = (other[opcode + 2] ?? 0) ^ 0x80;
  const isInvalid = (code: Uint8Array) => withInstruction(code, mode, (instruction) => instruction.isInvalid);
  return isInvalid(bytes) && !isInvalid(other);
}
const identity = ({ code, length, isInvalid }: Instruction): string => `${code} ${length} ${isInvalid}`;

/** The reasons of instructions that a machine does not come back from to how it was. */
export const CHANGES_MORE: ReadonlySet<string> = new Set([
  'enters the kernel',
  'depends on descriptor tables',
  'moves the data of the recorder',
  'depends on the processor',
  'is privileged',
  'may set TF and AC',
  'was recorded in protected mode',
]);
