/** Which instruction forms are recorded in which mode, and in which group. */
import {
  Code,
  CodeExt,
  CpuidFeature,
  EncodingKind,
  Instruction,
  type MemorySize,
  Mnemonic,
  type OpCodeOperandKind,
} from 'iced-x86';
import type { Mode } from '../layout.ts';
import { laneOf } from './extended-inputs.ts';
import { type FeatureGroup, featureGroupOf, type Lane } from './feature-groups.ts';

export interface Form {
  mode: Mode;
  /** The name of iced-x86's `Code`. */
  name: string;
  code: Code;
  /** As iced-x86 spells it: first letter upper-case. */
  mnemonic: string;
  group: string;
  operandKinds: OpCodeOperandKind[];
  canLock: boolean;
  canRep: boolean;
  canRepne: boolean;
  /** Joined by '+'. */
  features: string;
  /** Of a form of a feature group, and what its lanes hold. */
  featureGroup?: FeatureGroup;
  lane?: Lane;
}

/** Features of every x86-64 processor whose instructions are general-purpose ones. */
const BASE_FEATURES = 'INTEL8086 INTEL186 INTEL286 INTEL386 INTEL486 X64 CMOV CX8 CMPXCHG16B PAUSE'.split(' ');
/** The optional set, a group of its own. */
const EXTENSION_FEATURES = 'POPCNT BMI1 BMI2 LZCNT MOVBE ADX'.split(' ');

const CONDITIONS = 'o no b ae e ne be a s ns p np l ge le g'.split(' ');
const words = (text: string) => text.split(' ');

const GROUPS: Record<string, string[]> = {
  'data-movement': words('Mov Movzx Movsx Movsxd Xchg Bswap Cbw Cwde Cdqe Cwd Cdq Cqo Xlatb Lahf Sahf Nop Pause'),
  lea: ['Lea'],
  conditional: CONDITIONS.flatMap((condition) => [`Cmov${condition}`, `Set${condition}`]),
  stack: words('Push Pop Pushf Pushfd Pushfq Popf Popfd Popfq Pusha Pushad Popa Popad Enter Leave'),
  'add-subtract': words('Add Adc Sub Sbb Cmp Neg Inc Dec'),
  'multiply-divide': words('Mul Imul Div Idiv'),
  logic: words('And Or Xor Not Test'),
  'shift-rotate': words('Rol Ror Rcl Rcr Shl Shr Sal Sar'),
  'double-shift': words('Shld Shrd'),
  bit: words('Bt Bts Btr Btc Bsf Bsr'),
  string: words('Movs Stos Lods Scas Cmps').flatMap((name) => [...'bwdq'].map((size) => name + size)),
  exchange: words('Cmpxchg Xadd Cmpxchg8b Cmpxchg16b'),
  flags: words('Clc Stc Cmc Cld Std Cli Sti'),
  'control-transfer': [
    ...CONDITIONS.map((condition) => `J${condition}`),
    ...words('Jmp Call Ret Loop Loope Loopne Jcxz Jecxz Jrcxz'),
  ],
  legacy: words('Aaa Aas Aam Aad Daa Das Bound Arpl Salc'),
  interrupt: words('Int Int3 Into Iret Iretd Iretq'),
  segment: words('Lds Les Lfs Lgs Lss Retf'),
  undefined: words('Ud0 Ud1 Ud2 Lar Lsl Verr Verw Sldt Str Lldt Ltr'),
};
const GROUP_OF = new Map(
  Object.entries(GROUPS).flatMap(([group, names]) => names.map((name) => [name, group] as const)),
);

/** System instructions, I/O and what reads the machine itself; the privileged ones' #GP(0) is in 64-privileged. */
const SYSTEM = new Set(
  words(
    'Cpuid Rdtsc Hlt In Out Insb Insw Insd Outsb Outsw Outsd Int1 Wait Clts Invd Wbinvd Invlpg Swapgs Sgdt Sidt Lgdt Lidt Smsw Lmsw',
  ),
);
const OUTSIDE_REAL_MODE = new Set(words('Arpl Lar Lsl Verr Verw Sldt Str Lldt Ltr'));
const FAR = /ptr16|_m16(16|32|64)$|^Retf|^Iret|^L[defgs]s_/;

/** Why a general-purpose form is not recorded in a mode; undefined when it is. */
export function exclusionReason(mode: Mode, name: string, mnemonic: string): string | undefined {
  if (name === 'Bswap_r16') return 'the result is undefined';
  if (name === 'Popw_CS') return 'exists on the 8086 only';
  if (SYSTEM.has(mnemonic)) return 'not a user-mode instruction';
  if (/_(cr|dr)\d*(_|$)|_cr$|_dr$/.test(name)) return 'not a user-mode instruction';
  if (/^(Int|Cli|Sti)$/.test(mnemonic)) return 'not allowed in ring 3';
  if (OUTSIDE_REAL_MODE.has(mnemonic) && (mode === 16 || mnemonic !== 'Arpl'))
    return 'depends on the descriptor tables';
  if (mode === 16) return name.startsWith('VEX_') ? 'VEX does not exist in real-address mode' : undefined;
  if (FAR.test(name) && !/^Bound/.test(name)) return 'loads a segment register; recorded in 16-bit mode';
  if (/^Mov_Sreg|^Pop[wdq]_[DEFGS]S$/.test(name)) return 'loads a segment register; recorded in 16-bit mode';
  if (mode === 32 && /^(J|Loop|Call|Jmp).*_(rel8_16|rel16|rm16)|^Retnw/.test(name)) {
    return 'EIP cut to 16 bits leaves the code page; recorded in 16-bit mode';
  }
  return undefined;
}

interface Description {
  name: string;
  code: Code;
  mnemonic: string;
  features: string[];
  operandKinds: OpCodeOperandKind[];
  canLock: boolean;
  canRep: boolean;
  canRepne: boolean;
  legacyEncoding: boolean;
  memorySize: MemorySize;
  modes: Set<Mode>;
}

function describe(code: Code): Description | undefined {
  const opCode = CodeExt.opCode(code);
  const instruction = new Instruction();
  instruction.code = code;
  try {
    // FSTCW and the like are two instructions, FWAIT and another one.
    if (
      !opCode.isInstruction ||
      opCode.fwait ||
      (opCode.encoding !== EncodingKind.Legacy && opCode.encoding !== EncodingKind.VEX)
    )
      return undefined;
    const modes = new Set<Mode>();
    if (opCode.mode16 && opCode.intelDecoder16) modes.add(16);
    if (opCode.mode32 && opCode.intelDecoder32) modes.add(32);
    if (opCode.mode64 && opCode.intelDecoder64) modes.add(64);
    return {
      name: Code[code],
      code,
      mnemonic: Mnemonic[opCode.mnemonic],
      features: [...instruction.cpuidFeatures()].map((feature) => CpuidFeature[feature] ?? ''),
      operandKinds: Array.from({ length: opCode.opCount }, (_, n) => opCode.opKind(n)),
      canLock: opCode.canUseLockPrefix,
      canRep: opCode.canUseRepPrefix,
      canRepne: opCode.canUseRepnePrefix,
      legacyEncoding: opCode.encoding === EncodingKind.Legacy,
      memorySize: opCode.memorySize,
      modes,
    };
  } finally {
    opCode.free();
    instruction.free();
  }
}

function groupOf(description: Description): string | undefined {
  const { name, features, mnemonic, legacyEncoding } = description;
  if (features.every((feature) => EXTENSION_FEATURES.includes(feature)) && features.length > 0)
    return 'bit-manipulation';
  if (/^Nop_rm/.test(name)) return 'data-movement';
  if (!legacyEncoding || !features.every((feature) => BASE_FEATURES.includes(feature))) return undefined;
  return SYSTEM.has(mnemonic) ? 'system' : GROUP_OF.get(mnemonic);
}

/** The form's own part of a feature group, if one claims it. */
function featureForm(mode: Mode, description: Description): Form | undefined {
  const { features, mnemonic, memorySize } = description;
  const claimed = featureGroupOf(mode, features, mnemonic);
  if (!claimed) return undefined;
  const [group, featureGroup] = claimed;
  return { ...formOf(mode, group, description), featureGroup, lane: featureGroup.lane ?? laneOf(memorySize) };
}

function formOf(mode: Mode, group: string, description: Description): Form {
  const { name, code, mnemonic, features, operandKinds, canLock, canRep, canRepne } = description;
  return { mode, name, code, mnemonic, group, operandKinds, canLock, canRep, canRepne, features: features.join('+') };
}

/** Every general-purpose form of a mode, and those of the feature groups; and the others with the reason why not. */
export function formsOf(mode: Mode): { recorded: Form[]; excluded: Map<string, string>; ungrouped: string[] } {
  const recorded: Form[] = [];
  const excluded = new Map<string, string>();
  const ungrouped: string[] = [];
  for (const code of Object.values(Code).filter((value): value is Code => typeof value === 'number')) {
    const description = describe(code);
    if (!description?.modes.has(mode)) continue;
    const feature = featureForm(mode, description);
    if (feature) {
      recorded.push(feature);
      continue;
    }
    const { name, mnemonic, features } = description;
    const group = groupOf(description);
    const isGeneralPurpose = features.every((feature) => BASE_FEATURES.includes(feature));
    const reason = exclusionReason(mode, name, mnemonic);
    if (group === undefined && !(isGeneralPurpose && reason === undefined)) continue;
    if (group === undefined) ungrouped.push(name);
    else if (reason !== undefined) excluded.set(name, reason);
    else recorded.push(formOf(mode, realGroup(mode, group, name), description));
  }
  return { recorded, excluded, ungrouped };
}

/** Far transfers and segment loads have a group of their own. */
function realGroup(mode: Mode, group: string, name: string): string {
  if (mode !== 16) return group;
  if (/^(Call|Jmp)_(ptr16|m16)|Sreg|^(Push|Pop)[wd]_[CDEFGS]S$/.test(name)) return 'segment';
  return group;
}
