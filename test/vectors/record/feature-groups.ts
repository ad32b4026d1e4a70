/** Vector groups of single features: one line a group. A form belongs to the first group that claims it. */
import type { Mode } from '../layout.ts';

/** What a lane of a vector, or an x87 operand, holds. */
export interface Lane {
  kind: 'integer' | 'float' | 'bcd';
  bits: number;
}

export interface FeatureGroup {
  /** As iced-x86 names CPU features; a form that needs several has them joined by '+'. */
  features: readonly string[];
  /** Of these features only the mnemonics (iced-x86's) that match; all, when it is not given. */
  mnemonics?: RegExp;
  /** Where it is recorded: in 64-bit mode only, when it is not given. */
  modes?: readonly Mode[];
  /** Encodings with registers, and as many with memory, of each form (2); three times as many with an immediate. */
  encodings?: number;
  /** Inputs for each encoding (4). */
  cases?: number;
  /** In 32- and 16-bit mode; as many (`cases`), when it is not given. */
  cases32?: number;
  /** What the lanes hold, where the type of the form's memory operand would mislead. */
  lane?: Lane;
}

const SSE = ['SSE', 'SSE2', 'SSE3', 'SSSE3', 'SSE4_1', 'SSE4_2'];
const AVX = ['AVX', 'AVX2'];
const X87 = ['FPU', 'FPU387', 'FPU287', 'FPU+CMOV', 'FPU+SSE3'];
const EXTENDED: Lane = { kind: 'float', bits: 80 };

/** Arithmetic, comparisons, conversions and roundings but those with MMX registers, and approximations. */
const FLOATING_POINT = /^V?(?!.*pi)(Add|Sub|Mul|Div|Min|Max|Sqrt|H?add|Hsub|Dp|Round|Cmp|U?comi|Cvt)/i;

const BOTH: readonly Mode[] = [64, 32];
/** VEX does not exist in real-address mode, which the 16-bit vectors stand for. */
const ALL: readonly Mode[] = [64, 32, 16];

export const FEATURE_GROUPS: Record<string, FeatureGroup> = {
  'state-saving': {
    features: ['FXSR', 'XSAVE', 'XSAVEOPT', 'XSAVEC'],
    mnemonics: /^(Fxsave|Fxrstor|Xsave|Xrstor)/,
    modes: [64, 32],
    encodings: 1,
    cases: 12,
  },
  'x87-arithmetic': {
    features: X87,
    mnemonics: /^F(i?(add|sub|mul|div)r?p?|sqrt|abs|chs|scale|xtract|prem1?|rndint)$/,
    cases: 12,
    cases32: 2,
    modes: ALL,
  },
  'x87-compare': { features: X87, mnemonics: /^F(i?comp?|u?comi?p?p?|tst|xam)$/, cases: 8, cases32: 2, modes: ALL },
  'x87-data': {
    features: X87,
    mnemonics: /^F(i?ld|i?stp?|isttp|bld|bstp|xch|stpnce|cmov.*|ld[1lpz].*|freep?)$/,
    modes: ALL,
    cases: 8,
  },
  'x87-transcendental': { features: X87, mnemonics: /^F(sin|cos|sincos|ptan|patan|2xm1|yl2x|yl2xp1)$/, cases: 160 },
  'x87-control': {
    features: [...X87, 'INTEL8086'],
    mnemonics: /^(Wait|F(ld(env|cw)|nst(env|cw|sw)|nop|(dec|inc)stp|rstor|nsave|ninit|nclex|neni|ndisi|nsetpm))$/,
    modes: [64, 32],
    cases: 8,
    lane: EXTENDED,
  },
  'sse-float': {
    features: ['SSE', 'SSE2', 'SSE3', 'SSE4_1'],
    mnemonics: FLOATING_POINT,
    encodings: 1,
    cases: 24,
    cases32: 4,
    modes: ALL,
  },
  'mmx-float': { features: ['SSE', 'SSE2'], mnemonics: /^Cvt.*pi/, encodings: 1, cases: 24, cases32: 4, modes: BOTH },
  'avx-float': { features: ['AVX'], mnemonics: FLOATING_POINT, encodings: 1, cases: 10, cases32: 3, modes: BOTH },
  fma: { features: ['FMA'], encodings: 1, cases: 6, cases32: 2, modes: BOTH },
  f16c: { features: ['F16C'], encodings: 2, cases: 12, cases32: 4, modes: BOTH },
  mxcsr: { features: ['SSE', 'AVX'], mnemonics: /mxcsr$/i, cases: 8, modes: [64, 32] },
  'sse-move': { features: SSE, mnemonics: /^(Mov(?!nti)|Lddqu|Pmovmskb)/, cases: 3, cases32: 1, modes: ALL },
  'sse-logic': { features: SSE, mnemonics: /^(P(and|or|xor|test)|(And|Or|Xor))/, cases: 3, modes: ALL },
  'sse-string': { features: ['SSE4_2'], mnemonics: /^(Pcmp[ei]str|Crc32)/, encodings: 4, cases32: 1, modes: ALL },
  'sse-shuffle': {
    features: SSE,
    mnemonics: /^(P(unpck|ack|shuf|alignr|blend|insr|extr|mov|s[lr]ldq)|Unpck|Shufp|Blend|Insertps|Extractps)/,
    cases: 3,
    cases32: 1,
    modes: ALL,
  },
  'sse-integer': {
    features: SSE,
    mnemonics: /^(P(abs|add|avg|cmp|h|madd|max|min|mul|sad|sign|sl|sr|sub)|Mpsadbw)/,
    cases32: 1,
    modes: ALL,
  },
  mmx: { features: ['MMX'], modes: [64, 32] },
  aes: { features: ['AES', 'AVX+AES', 'AES+AVX'], encodings: 3, cases32: 1, modes: BOTH },
  pclmulqdq: { features: ['PCLMULQDQ', 'PCLMULQDQ+AVX', 'AVX+PCLMULQDQ'], encodings: 3, cases32: 1, modes: BOTH },
  vaes: { features: ['VAES'], encodings: 3, cases32: 1, modes: BOTH },
  vpclmulqdq: { features: ['VPCLMULQDQ'], encodings: 3, cases32: 1, modes: BOTH },
  'cache-control': {
    features: ['CLFSH', 'CLFLUSHOPT', 'CLWB', 'PREFETCHW', 'PREFETCHWT1', 'CLDEMOTE', 'CET_IBT', 'SSE', 'SSE2'],
    mnemonics: /^(Clflush(opt)?|Clwb|Prefetch.*|Cldemote|Endbr..|[LMS]fence|Movnti)$/,
    cases: 3,
    cases32: 1,
    modes: ALL,
  },
  sha: { features: ['SHA'], encodings: 3, cases32: 1, modes: BOTH },
  'sse-masked': { features: SSE, mnemonics: /^Maskmov/, cases: 8 },
  'avx-masked': { features: AVX, mnemonics: /^V(p?maskmov|p?gather)/, cases: 8 },
  'avx-move': {
    features: AVX,
    mnemonics: /^V(mov|lddqu|pmovmskb|zero|broadcast|pbroadcast)/,
    cases: 3,
    cases32: 1,
    modes: BOTH,
  },
  'avx-logic': {
    features: AVX,
    mnemonics: /^V(p(and|or|xor|test)|(and|or|xor)|test)/,
    cases: 3,
    cases32: 1,
    modes: BOTH,
  },
  'avx-string': { features: AVX, mnemonics: /^Vpcmp[ei]str/, cases32: 1, modes: BOTH },
  'avx-shuffle': {
    features: AVX,
    mnemonics: /^V(p(unpck|ack|shuf|alignr|blend|insr|extr|mov|s[lr]ldq|erm)|unpck|shufp|blend|insert|extract|perm)/,
    cases: 3,
    cases32: 1,
    modes: BOTH,
  },
  'avx-integer': {
    features: AVX,
    mnemonics: /^V(p(abs|add|avg|cmp|h|madd|max|min|mul|sad|sign|sl|sr|sub)|mpsadbw)/,
    cases: 3,
    cases32: 1,
    modes: BOTH,
  },
};

/** The name and the properties of the group that a form of these features belongs to. */
export function featureGroupOf(
  mode: Mode,
  features: readonly string[],
  mnemonic: string,
): [string, FeatureGroup] | undefined {
  const joined = features.join('+');
  return Object.entries(FEATURE_GROUPS).find(
    ([, group]) =>
      group.features.includes(joined) &&
      (group.modes ?? [64]).includes(mode) &&
      (group.mnemonics === undefined || group.mnemonics.test(mnemonic)),
  );
}
