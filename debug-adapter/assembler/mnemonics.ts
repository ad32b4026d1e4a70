import { Mnemonic } from './forms.ts';

/** What a mnemonic of NASM stands for in iced-x86's naming. */
export interface MnemonicEntry {
  /** Forms of all of these are candidates, in this order. */
  readonly mnemonics: readonly Mnemonic[];
  /** Only forms of this operand size. */
  readonly operandSize?: number;
  /** Only forms of this address size, and only unprefixed. */
  readonly addressSize?: number;
  /** The last operand, which the mnemonic implies: `cmpeqps` is `cmpps …, 0`. */
  readonly immediate?: number;
  /** A prefix byte that the mnemonic implies. */
  readonly only?: 'legacy';
}

/** NASM's other names for the conditions, by iced's name. */
const CONDITIONS: Readonly<Record<string, readonly string[]>> = {
  o: [],
  no: [],
  b: ['c', 'nae'],
  ae: ['nb', 'nc'],
  e: ['z'],
  ne: ['nz'],
  be: ['na'],
  a: ['nbe'],
  s: [],
  ns: [],
  p: ['pe'],
  np: ['po'],
  l: ['nge'],
  ge: ['nl'],
  le: ['ng'],
  g: ['nle'],
};

/** One NASM name to the iced names it stands for. */
const ALIASES: Readonly<Record<string, string>> = {
  sal: 'shl',
  retn: 'ret',
  xlat: 'xlatb',
  fwait: 'wait',
  fsetpm: 'fnsetpm',
  int03: 'int3',
  icebp: 'int1',
  loopz: 'loope',
  loopnz: 'loopne',
  ud2a: 'ud2',
  ud2b: 'ud1',
  movsx: 'movsx movsxd',
  iretw: 'iret',
  pushfw: 'pushf',
  popfw: 'popf',
  pushaw: 'pusha',
  popaw: 'popa',
  fnstsw: 'fnstsw',
  sysret: 'sysret',
  sysexit: 'sysexit',
  enqcmd: 'enqcmd',
  pclmullqlqdq: 'pclmulqdq',
};

const SIZED: Readonly<Record<string, readonly [string, number]>> = {
  retw: ['ret', 16],
  retd: ['ret', 32],
  retq: ['ret', 64],
  retnw: ['ret', 16],
  retnd: ['ret', 32],
  retnq: ['ret', 64],
  retfw: ['retf', 16],
  retfd: ['retf', 32],
  retfq: ['retf', 64],
  iretw: ['iret', 16],
  pushfw: ['pushf', 16],
  popfw: ['popf', 16],
  pushaw: ['pusha', 16],
  popaw: ['popa', 16],
};

/** Mnemonics whose operand size follows the mode, though iced gives each size a name. */
const MODE_SIZED: Readonly<Record<string, string>> = {
  iret: 'iret iretd iretq',
  pushf: 'pushf pushfd pushfq',
  popf: 'popf popfd popfq',
  pusha: 'pusha pushad',
  popa: 'popa popad',
  sysret: 'sysret sysretq',
  sysexit: 'sysexit sysexitq',
};

const COMPARISONS: readonly string[] = ['eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord'];
const AVX_COMPARISONS: readonly string[] = (
  'eq_uq nge ngt false neq_oq ge gt true eq_os lt_oq le_oq unord_s neq_us nlt_uq nle_uq ord_s eq_us nge_uq ngt_uq ' +
  'false_os neq_os ge_oq gt_oq true_us'
).split(' ');
const AVX_COMPARISON_ALIASES: Readonly<Record<string, number>> = {
  eq_oq: 0,
  lt_os: 1,
  le_os: 2,
  unord_q: 3,
  neq_uq: 4,
  nlt_us: 5,
  nle_us: 6,
  ord_q: 7,
  nge_us: 9,
  ngt_us: 10,
  false_oq: 11,
  ge_os: 13,
  gt_os: 14,
  true_uq: 15,
};
const INTEGER_COMPARISONS: Readonly<Record<string, number>> = {
  eq: 0,
  lt: 1,
  le: 2,
  neq: 4,
  nlt: 5,
  nle: 6,
  ge: 5,
  gt: 6,
};
const CARRYLESS: Readonly<Record<string, number>> = { lqlq: 0, hqlq: 1, lqhq: 0x10, hqhq: 0x11 };

let entries: ReadonlyMap<string, MnemonicEntry> | undefined;

/** iced names that are not instructions, or that NASM does not know as such. */
const EXCLUDED: ReadonlySet<string> = new Set(['invalid', 'db', 'dw', 'dd', 'dq', 'zero_bytes', 'reservednop']);

function buildEntries(): Map<string, MnemonicEntry> {
  const map = new Map<string, MnemonicEntry>();
  const numbers = new Map<string, Mnemonic>();
  for (let number: Mnemonic = 0; Mnemonic[number] !== undefined; number++) {
    const name = Mnemonic[number]?.toLowerCase() ?? '';
    if (EXCLUDED.has(name)) continue;
    numbers.set(name, number);
    map.set(name, { mnemonics: [number] });
  }
  const named = (names: string): Mnemonic[] =>
    names.split(' ').flatMap((name) => {
      const number = numbers.get(name);
      return number === undefined ? [] : [number];
    });
  for (const [name, target] of Object.entries(ALIASES)) map.set(name, { mnemonics: named(target) });
  for (const [name, targets] of Object.entries(MODE_SIZED)) map.set(name, { mnemonics: named(targets) });
  for (const [name, [target, operandSize]] of Object.entries(SIZED)) {
    map.set(name, { mnemonics: named(target), operandSize });
  }
  addConditions(map, named);
  addComparisons(map, named);
  return map;
}

function addConditions(map: Map<string, MnemonicEntry>, named: (names: string) => Mnemonic[]): void {
  for (const [condition, others] of Object.entries(CONDITIONS)) {
    for (const other of others) {
      for (const stem of ['j', 'set', 'cmov']) {
        map.set(`${stem}${other}`, { mnemonics: named(`${stem}${condition}`) });
      }
    }
  }
}

function addComparisons(map: Map<string, MnemonicEntry>, named: (names: string) => Mnemonic[]): void {
  for (const type of ['ps', 'pd', 'ss', 'sd']) {
    const [legacy, avx] = [named(`cmp${type}`), named(`vcmp${type}`)];
    COMPARISONS.forEach((name, immediate) => {
      map.set(`cmp${name}${type}`, { mnemonics: legacy, immediate });
    });
    [...COMPARISONS, ...AVX_COMPARISONS].forEach((name, immediate) => {
      map.set(`vcmp${name}${type}`, { mnemonics: avx, immediate });
    });
    for (const [name, immediate] of Object.entries(AVX_COMPARISON_ALIASES)) {
      map.set(`vcmp${name}${type}`, { mnemonics: avx, immediate });
    }
  }
  for (const type of ['b', 'w', 'd', 'q', 'ub', 'uw', 'ud', 'uq']) {
    const compare = named(`vpcmp${type}`);
    for (const [name, immediate] of Object.entries(INTEGER_COMPARISONS)) {
      map.set(`vpcmp${name}${type}`, overload(map.get(`vpcmp${name}${type}`), compare, immediate));
    }
  }
  for (const [name, immediate] of Object.entries(CARRYLESS)) {
    map.set(`pclmul${name}dq`, { mnemonics: named('pclmulqdq'), immediate });
    map.set(`vpclmul${name}dq`, { mnemonics: named('vpclmulqdq'), immediate });
  }
}

/** `vpcmpeqb` and `vpcmpgtb` are instructions of their own; the implied-immediate reading does not replace them. */
function overload(existing: MnemonicEntry | undefined, mnemonics: Mnemonic[], immediate: number): MnemonicEntry {
  return existing ?? { mnemonics, immediate };
}

function table(): ReadonlyMap<string, MnemonicEntry> {
  entries ??= buildEntries();
  return entries;
}

/** Whether the word, in lower case, is the name of an instruction. */
export function isMnemonic(word: string): boolean {
  return table().has(word);
}

/** What the mnemonic, in lower case, stands for. */
export function mnemonicEntry(word: string): MnemonicEntry | undefined {
  return table().get(word);
}

/** All mnemonics, in lower case, for completion. */
export function mnemonicNames(): readonly string[] {
  return [...table().keys()];
}
