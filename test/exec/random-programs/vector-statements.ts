/** Random statements with vector registers: SSE and MMX in every mode, AVX but in real-address mode, and CR0.TS now and then. */
import type { EntryMode } from '../../machine/hostile/tables.ts';
import { type Statement, type Writer, wide } from './writer.ts';

/** An address that may fault, and what loads its registers. */
export type MemoryAddress = (w: Writer) => { load: string[]; operand: string };

const TWO_SOURCES = 'paddb paddw paddd paddq psubb psubd pand pandn por pxor pcmpeqb pcmpgtd pmullw pmulhw pmaddwd psadbw pavgb pmaxsw pminub punpcklbw punpckhdq packsswb packuswb'.split(' '); // biome-ignore format: one list
const SHIFTS = 'psllw pslld psrlq psrad psraw'.split(' ');
const FLOATS = 'addps mulpd subss divsd minps maxpd unpcklps xorps'.split(' ');

const xmm = ({ random, mode }: Writer): string => `xmm${random.below(mode === 'long' ? 16 : 6)}`;
const mm = ({ random }: Writer): string => `mm${random.below(8)}`;

function sse(w: Writer): string {
  const { random } = w;
  const general = random.pick(['eax', 'edx', 'ecx']);
  return random.pick([
    `${random.pick(TWO_SOURCES)} ${xmm(w)}, ${xmm(w)}`,
    `${random.pick(TWO_SOURCES)} ${xmm(w)}, ${xmm(w)}`,
    `${random.pick(FLOATS)} ${xmm(w)}, ${xmm(w)}`,
    `${random.pick(SHIFTS)} ${xmm(w)}, ${random.below(70)}`,
    `${random.pick(SHIFTS)} ${xmm(w)}, ${xmm(w)}`,
    `pshufd ${xmm(w)}, ${xmm(w)}, ${random.below(256)}`,
    `pshufb ${xmm(w)}, ${xmm(w)}`,
    `movdqa ${xmm(w)}, ${xmm(w)}`,
    `movd ${xmm(w)}, ${general}`,
    `movd ${general}, ${xmm(w)}`,
    `pmovmskb ${general}, ${xmm(w)}`,
    `ptest ${xmm(w)}, ${xmm(w)}`,
    `ucomiss ${xmm(w)}, ${xmm(w)}`,
    `aesenc ${xmm(w)}, ${xmm(w)}`,
    `pcmpistri ${xmm(w)}, ${xmm(w)}, ${random.below(128)}`,
    `crc32 ${general}, dl`,
  ]);
}

function mmx(w: Writer): string {
  const { random } = w;
  return random.pick([
    `${random.pick(['paddb', 'psubd', 'pxor', 'pmullw', 'punpcklbw', 'packsswb'])} ${mm(w)}, ${mm(w)}`,
    `movd ${mm(w)}, eax`,
    `movd edx, ${mm(w)}`,
    `movq2dq ${xmm(w)}, ${mm(w)}`,
    'emms',
  ]);
}

function avx(w: Writer): string {
  const { random } = w;
  const file = random.pick(['xmm', 'ymm']);
  const register = () => xmm(w).replace('xmm', file);
  return random.pick([
    `v${random.pick(TWO_SOURCES)} ${register()}, ${register()}, ${register()}`,
    `v${random.pick(TWO_SOURCES)} ${register()}, ${register()}, ${register()}`,
    `vpermilps ${register()}, ${register()}, ${register()}`,
    `vpsllvd ${register()}, ${register()}, ${register()}`,
    `vperm2i128 ymm1, ymm2, ymm3, ${random.below(256)}`,
    'vzeroupper',
  ]);
}

function memory(w: Writer, address: MemoryAddress): string[] {
  const { random, mode } = w;
  const { load, operand } = address(w);
  const accesses = [
    `movdqu ${xmm(w)}, ${operand}`,
    `movdqu ${operand}, ${xmm(w)}`,
    `movups ${operand}, ${xmm(w)}`,
    `movq ${xmm(w)}, ${operand}`,
    `movhps ${operand}, ${xmm(w)}`,
    `movd ${operand}, ${xmm(w)}`,
    `movq ${operand}, ${mm(w)}`,
    `movaps ${xmm(w)}, ${operand}`,
    `paddd ${xmm(w)}, ${operand}`,
  ];
  const ymm = xmm(w).replace('x', 'y');
  const wideAccesses = [
    `vmovdqu ${operand}, ${ymm}`,
    `vmovdqu ${ymm}, ${operand}`,
    `vpaddb ${ymm}, ${ymm}, ${operand}`,
  ];
  return [...load, random.pick(mode === 'real' ? accesses : [...accesses, ...wideAccesses])];
}

/** The next instruction with a vector register faults, and the handler clears TS. */
const taskSwitched = (w: Writer): string[] => [`mov ${wide(w, 'ax')}, cr0`, 'or eax, 8', `mov cr0, ${wide(w, 'ax')}`];

export const vectorStatement =
  (address: MemoryAddress): Statement =>
  (w) => {
    const { random, mode } = w;
    if (mode !== 'real' && random.once(12)) return [...taskSwitched(w), sse(w)];
    if (random.once(3)) return memory(w, address);
    return [random.pick(mode === 'real' ? [sse, mmx] : [sse, sse, avx, avx, mmx])(w)];
  };

export const deviceNotAvailableHandler = (mode: EntryMode): string[] => [
  'not_available_handler:',
  'clts',
  { real: 'iret', protected: 'iretd', long: 'iretq' }[mode],
];

/** OSFXSR and OSXMMEXCPT; OSXSAVE and all that XCR0 has. */
export function enableVectors(mode: EntryMode): string[] {
  const accumulator = mode === 'long' ? 'rax' : 'eax';
  const cr4 = (bits: string) => [`mov ${accumulator}, cr4`, `or eax, ${bits}`, `mov cr4, ${accumulator}`];
  if (mode === 'real') return cr4('0x600');
  return [...cr4('0x40600'), 'xor ecx, ecx', 'xor edx, edx', 'mov eax, 7', 'xsetbv'];
}
