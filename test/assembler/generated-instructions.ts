import type { Mnemonic } from 'iced-x86';
import { type Form, formsOf, mnemonicEntry, mnemonicNames } from '../../debug-adapter/assembler/index.ts';

export type Bits = 16 | 32 | 64;
type Operand = Form['operands'][number];

const REGISTERS: Readonly<Record<string, readonly string[]>> = {
  r8: ['al', 'dl', 'bh', 'sil', 'r9b'],
  r16: ['ax', 'bp', 'r10w'],
  r32: ['eax', 'esi', 'r11d'],
  r64: ['rax', 'rdi', 'r12'],
  segment: ['ds', 'fs'],
  cr: ['cr0', 'cr4', 'cr8'],
  dr: ['dr7', 'dr0'],
  tr: ['tr6'],
  st: ['st3', 'st0'],
  mm: ['mm1', 'mm6'],
  xmm: ['xmm2', 'xmm7', 'xmm12'],
  ymm: ['ymm3', 'ymm6', 'ymm13'],
  zmm: ['zmm1', 'zmm7', 'zmm30'],
  k: ['k2', 'k7'],
  bnd: ['bnd1', 'bnd3'],
  tmm: ['tmm1', 'tmm5', 'tmm2'],
};

const NEEDS_64_BITS = /^(?:r\d+[bwd]?|sil|cr8|[xyz]mm(?:[89]|[123]\d))$|^r[a-z][a-z]$/u;

const ADDRESSES: Readonly<Record<Bits, readonly string[]>> = {
  16: ['bx+si', 'bp', 'di+0x1234', '0x5678', 'eax+ebx*4+8'],
  32: ['eax', 'esp+4', 'ebp+ecx*8-0x1000', '0x12345678', 'bx'],
  64: ['rax', 'r13+r9*2+0x7f', 'rsp-0x200', '0x12345678', 'rel target', 'edx+5'],
};

const SIZES: Readonly<Record<number, string>> = {
  8: 'byte ',
  16: 'word ',
  32: 'dword ',
  64: 'qword ',
  80: 'tword ',
  128: 'oword ',
  256: 'yword ',
  512: 'zword ',
};

const IMMEDIATES: Readonly<Record<number, readonly string[]>> = {
  4: ['3'],
  8: ['5', '0x7f', '0x80', '-1'],
  16: ['0x1234', '5', '-3', '0x8000'],
  32: ['0x12345678', '7', '-128', '0x80000000', 'target'],
  64: ['0x123456789abcdef0', '1', '-1', '0xffffffff', '0x80000000', 'target'],
};

function registers(kind: string, bits: Bits): string[] {
  return (REGISTERS[kind] ?? []).filter((name) => bits === 64 || !NEEDS_64_BITS.test(name));
}

function implicitRegister(operand: Operand): string {
  const names: Readonly<Record<string, readonly string[]>> = {
    r8: ['al', 'cl'],
    r16: ['ax', 'cx', 'dx'],
    r32: ['eax'],
    r64: ['rax'],
    st: ['st0'],
    segment: ['es', 'cs', 'ss', 'ds', 'fs', 'gs'],
  };
  return names[operand.registerClass ?? '']?.[operand.registerNumber ?? 0] ?? '';
}

function memory(form: Form, operand: Operand, bits: Bits): string[] {
  const far =
    form.operands.length === 1 && form.opcode === 0xff && (form.group === 3 || form.group === 5) ? 'far ' : '';
  const size = far + (SIZES[form.memoryBits] ?? '');
  if (operand.vsib) return [`[${bits === 64 ? 'rax' : 'eax'}+${operand.vsib}4*4+0x40]`, `[${operand.vsib}1*8]`];
  if (operand.role === 'moffs') return [`[0x1234]`, ...(bits === 64 ? ['[qword 0x123456789a]'] : ['[fs:0x5678]'])];
  const all = ADDRESSES[bits].map((address) => `${size}[${address}]`);
  return [...all, `${far}[${ADDRESSES[bits][0]}]`, `${size}[gs:${ADDRESSES[bits][1]}]`];
}

function samples(form: Form, operand: Operand, bits: Bits): string[] {
  switch (operand.role) {
    case 'implicit':
      return [implicitRegister(operand)];
    case 'one':
      return ['1'];
    case 'immediate':
      return [...(IMMEDIATES[operand.effectiveBits] ?? []), ...(IMMEDIATES[operand.encodedBits] ?? [])];
    case 'relative':
      return ['target', 'near target', 'short target'];
    case 'far':
      return ['8:target', 'word 0x10:0x1234', 'dword 0x18:0x12345678'];
    default:
      return [
        ...registers(operand.registerClass ?? '', bits),
        ...(operand.allowsMemory ? memory(form, operand, bits) : []),
      ];
  }
}

/** One combination of first choices, then each operand varied by itself. */
function combinations(lists: readonly (readonly string[])[]): string[][] {
  if (lists.some((list) => list.length === 0)) return [];
  const firsts = lists.map((list, index) => list[Math.min(index, list.length - 1)] ?? '');
  const varied = lists.flatMap((list, index) =>
    list.map((sample) => firsts.map((one, at) => (at === index ? sample : one))),
  );
  return [firsts, ...varied];
}

function decorated(form: Form, operands: readonly string[]): string[] {
  const plain = operands.join(', ');
  const [first, ...rest] = operands;
  const variants = form.mustMask ? [] : [plain];
  if (form.canMask && first !== undefined) {
    const masked = `${first} {k3}${form.canZero && !first.includes('[') ? '{z}' : ''}`;
    variants.push([masked, ...rest].join(', '));
  }
  const memoryAt = operands.findIndex((one) => one.includes('['));
  if (form.broadcastBits > 0 && memoryAt >= 0) {
    const count = form.memoryBits / form.broadcastBits;
    const address = (operands[memoryAt] ?? '').replace(/^\w+ \[/u, '[');
    variants.push(operands.map((one, index) => (index === memoryAt ? `${address}{1to${count}}` : one)).join(', '));
  }
  if (memoryAt < 0 && form.canRound) variants.push(`${plain}, {rz-sae}`);
  else if (memoryAt < 0 && form.canSuppress) variants.push(`${plain}, {sae}`);
  return variants;
}

/** Where NASM 2.16.01 writes bytes that are another instruction, or none; the assembler writes the right ones. */
const WRONG_IN_NASM: readonly RegExp[] = [
  // AVX512-FP16: displacements are scaled by 4 instead of 2, and some opcodes are those of other instructions.
  /^v\w*(?:ph|sh|ph2\w+|sh2\w+|2ph|2sh|phx|psx|phc?)\b|^vmovw\b|^vcmp\w*[ps]h\b|^vf\w*c\w*(?:ph|sh)\b/u,
  // The wrong mandatory prefix, or none.
  /^(?:ptwrite|vmgexit)\b/u,
  // No operand-size prefix in front of RET imm16.
  /^retn?w \S/u,
  // EVEX.vvvv or the opcode map is not what the instruction needs.
  /^vcvtneps2bf16|^vcvtusi2s[sd] .*sae/u,
  // An undocumented instruction of the 80386 and of Knights Corner, with other rules than all the rest.
  /^(?:umov|kmov|knot|kortest|kand\w?|kor|kxor\w?|kxnor)\b/u,
  // The EVEX form is taken only for 64-bit registers, and without EVEX.W.
  /^vextractps r/u,
  // The register is an address whose size must be that of the memory operand; NASM adds a prefix for one of them.
  /^(?:enqcmds?|movdir64b)\b/u,
];

function isTrusted(line: string): boolean {
  return WRONG_IN_NASM.every((pattern) => !pattern.test(line));
}

/**
 * Instructions of every form that iced-x86 knows, in NASM's syntax; NASM itself decides which of them it accepts. The
 * list is the same on every machine. Of vector instructions only some operand combinations are taken.
 */
export function generateInstructions(bits: Bits): string[] {
  const lines = new Set<string>();
  for (const name of mnemonicNames()) {
    const entry = mnemonicEntry(name);
    if (!entry) continue;
    for (const form of entry.mnemonics.flatMap((mnemonic: Mnemonic) => formsOf(mnemonic))) {
      if (form.modes[bits])
        for (const line of linesOf(name, form, entry.immediate !== undefined, bits)) lines.add(line);
    }
  }
  return [...lines].filter(isTrusted);
}

function linesOf(name: string, form: Form, impliesImmediate: boolean, bits: Bits): string[] {
  const all = combinations(form.operands.map((operand) => samples(form, operand, bits)));
  const used = impliesImmediate ? all.map((one) => one.slice(0, -1)) : all;
  const step = impliesImmediate ? 9 : form.encoding === 0 ? 1 : 5;
  const chosen = used.filter((_one, index) => index % step === 0);
  return chosen.flatMap((operands) => decorated(form, operands).map((text) => `${name} ${text}`.trim()));
}
