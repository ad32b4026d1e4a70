/** Instructions with operands of all kinds, and the VM-exit instruction information that each has to give. */
import type { ExitReasonName } from '../../engine/vmx/exit-reasons.ts';
import { flat32, primary, secondary } from './exit-cases.ts';
import type { InformationFormat } from './exit-parts.ts';
import { VmxMachine } from './machine.ts';

export interface InformationRow {
  readonly hex: string;
  readonly information: number;
  /** The exit qualification: the displacement of a memory operand. */
  readonly qualification?: bigint;
}

export interface InformationCase {
  readonly name: string;
  readonly format: InformationFormat;
  readonly reason: ExitReasonName;
  /** Whether the guest executes 32-bit code. */
  readonly is32Bit: boolean;
  readonly rows: readonly InformationRow[];
}

const CONTROLS = ['Descriptor-table exiting', 'Enable INVPCID', 'RDRAND exiting', 'RDSEED exiting'];

export function informationGuest(is32Bit: boolean): VmxMachine {
  return new VmxMachine().inGuest({
    ...(is32Bit ? flat32(...CONTROLS) : secondary(...CONTROLS)),
    ...primary('INVLPG exiting', 'Unconditional I/O exiting'),
  });
}

/** Opcode bytes without prefixes, the mandatory prefix, and what ModRM.reg holds if it is no register. */
interface Encoding {
  readonly name: string;
  readonly format: InformationFormat;
  readonly reason: ExitReasonName;
  readonly prefix?: number;
  readonly opcode: readonly number[];
  readonly reg?: number;
  /** Bits that identify the instruction, or tell the operand size. */
  readonly identity?: number;
  /** Operand size of 32 bits in bit 11; in 64-bit mode it is undefined. */
  readonly tellsSize?: boolean;
}

const group7 = (name: string, reg: number, identity: number): Encoding => ({
  name,
  format: 'LIDT, LGDT, SIDT, SGDT',
  reason: 'Access to GDTR or IDTR',
  opcode: [0x0f, 0x01],
  reg,
  identity,
  tellsSize: true,
});
const group6 = (name: string, reg: number, identity: number): Encoding => ({
  name,
  format: 'LLDT, LTR, SLDT, STR',
  reason: 'Access to LDTR or TR',
  opcode: [0x0f, 0x00],
  reg,
  identity,
});
const invalidation = (name: ExitReasonName, last: number): Encoding => ({
  name,
  format: 'INVEPT, INVPCID, INVVPID',
  reason: name,
  prefix: 0x66,
  opcode: [0x0f, 0x38, last],
});
const pointer = (name: ExitReasonName, reg: number, prefix?: number): Encoding => ({
  name,
  format: 'VMCLEAR, VMPTRLD, VMPTRST, VMXON',
  reason: name,
  opcode: [0x0f, 0xc7],
  reg,
  ...(prefix === undefined ? {} : { prefix }),
});

const encodings: readonly Encoding[] = [
  pointer('VMCLEAR', 6, 0x66),
  pointer('VMPTRLD', 6),
  pointer('VMPTRST', 7),
  pointer('VMXON', 6, 0xf3),
  { name: 'VMREAD', format: 'VMREAD and VMWRITE', reason: 'VMREAD', opcode: [0x0f, 0x78] },
  { name: 'VMWRITE', format: 'VMREAD and VMWRITE', reason: 'VMWRITE', opcode: [0x0f, 0x79] },
  invalidation('INVEPT', 0x80),
  invalidation('INVVPID', 0x81),
  invalidation('INVPCID', 0x82),
  group7('SGDT', 0, 0),
  group7('SIDT', 1, 1),
  group7('LGDT', 2, 2),
  group7('LIDT', 3, 3),
  group6('SLDT', 0, 0),
  group6('STR', 1, 1),
  group6('LLDT', 2, 2),
  group6('LTR', 3, 3),
];

const IDENTITY = 28;
const REG2 = 28;
const REGISTER = 1 << 10;
const [NO_INDEX, NO_BASE] = [1 << 22, 1 << 27];
const [DS, SS] = [3, 2];
const gprs = Array.from({ length: 16 }, (_, index) => index);
const toHex = (bytes: readonly number[]): string => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
const dword = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);

const hasSecond = ({ format }: Encoding): boolean =>
  format === 'VMREAD and VMWRITE' || format === 'INVEPT, INVPCID, INVVPID';
/** What an encoding tells besides its memory or register operand. */
const own = (encoding: Encoding, second: number): number =>
  hasSecond(encoding) ? second << REG2 : (encoding.identity ?? 0) << IDENTITY;
const prefixOf = ({ prefix }: Encoding): number[] => (prefix === undefined ? [] : [prefix]);

/** `[base + index*2^scale + displacement]` in 64-bit mode, with all that is encoded by REX. */
function memoryRow(
  encoding: Encoding,
  base: number | undefined,
  index: number | undefined,
  scale: number,
  address32 = false,
): InformationRow {
  const second = ((base ?? 0) * 7 + 3) & 15;
  const reg = encoding.reg ?? second;
  const displacement = base === undefined ? 0x1234 : -0x1234;
  const rex = 0x40 | ((reg >> 3) << 2) | (((index ?? 0) >> 3) << 1) | ((base ?? 0) >> 3);
  const modrm = (base === undefined ? 0 : 0x80) | ((reg & 7) << 3) | 4;
  const sib = (scale << 6) | (((index ?? 4) & 7) << 3) | ((base ?? 5) & 7);
  const bytes = [
    ...(address32 ? [0x67] : []),
    ...prefixOf(encoding),
    rex,
    ...encoding.opcode,
    modrm,
    sib,
    ...dword(displacement),
  ];
  const segment = base === 4 || base === 5 ? SS : DS;
  const information =
    (index === undefined ? NO_INDEX : (index << 18) | scale) |
    (base === undefined ? NO_BASE : base << 23) |
    ((address32 ? 1 : 2) << 7) |
    (segment << 15) |
    (encoding.tellsSize ? 1 << 11 : 0) |
    own(encoding, second);
  return { hex: toHex(bytes), information: information >>> 0, qualification: BigInt(displacement) };
}

const memoryRows = (encoding: Encoding): InformationRow[] => [
  ...gprs.map((base) =>
    memoryRow(encoding, base, base === 4 ? undefined : (base + 1) % 16 === 4 ? 5 : (base + 1) % 16, base & 3),
  ),
  memoryRow(encoding, undefined, 4 + 8, 3),
  memoryRow(encoding, 0, undefined, 0),
  memoryRow(encoding, 1, 2, 1, true),
  memoryRow(encoding, 3, 4 + 8, 0),
  memoryRow(encoding, 2, 5, 0),
];

const registerRows = (encoding: Encoding): InformationRow[] =>
  gprs.map((register) => {
    const second = 15 - register;
    const reg = encoding.reg ?? second;
    const rex = 0x40 | ((reg >> 3) << 2) | (register >> 3);
    const bytes = [...prefixOf(encoding), rex, ...encoding.opcode, 0xc0 | ((reg & 7) << 3) | (register & 7)];
    const information = (register << 3) | REGISTER | (2 << 7) | own(encoding, second);
    return { hex: toHex(bytes), information: information >>> 0 };
  });

const segmentPrefixes = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
/** `[ebx]` with each segment, and `[bx+si]`; in 32-bit code. */
function segmentRows(encoding: Encoding): InformationRow[] {
  const reg = encoding.reg ?? 1;
  const rest = own(encoding, 1) | (encoding.tellsSize ? 1 << 11 : 0);
  const ebx = [...prefixOf(encoding), ...encoding.opcode, (reg << 3) | 3];
  const word = [0x67, ...prefixOf(encoding), ...encoding.opcode, reg << 3];
  const narrow = [0x66, ...encoding.opcode, (reg << 3) | 3];
  const plain = NO_INDEX | (3 << 23) | (1 << 7);
  return [
    ...segmentPrefixes.map((prefix, segment) => ({
      hex: toHex([prefix, ...ebx]),
      information: (plain | (segment << 15) | rest) >>> 0,
      qualification: 0n,
    })),
    { hex: toHex(word), information: ((3 << 23) | (6 << 18) | (DS << 15) | rest) >>> 0, qualification: 0n },
    ...(encoding.tellsSize
      ? [{ hex: toHex(narrow), information: (plain | (DS << 15) | own(encoding, 1)) >>> 0, qualification: 0n }]
      : []),
  ];
}

const hasRegisterForm = ({ format }: Encoding): boolean =>
  format === 'VMREAD and VMWRITE' || format === 'LLDT, LTR, SLDT, STR';

function casesOf(encoding: Encoding): InformationCase[] {
  const { name, format, reason } = encoding;
  const make = (what: string, is32Bit: boolean, rows: readonly InformationRow[]): InformationCase => ({
    name: `${name}: ${what}`,
    format,
    reason,
    is32Bit,
    rows,
  });
  return [
    make('bases, indices and scales', false, memoryRows(encoding)),
    make('segments and address sizes', true, segmentRows(encoding)),
    ...(hasRegisterForm(encoding) ? [make('registers', false, registerRows(encoding))] : []),
  ];
}

/** RDRAND and RDSEED to registers of all sizes. */
const random = (name: 'RDRAND' | 'RDSEED', reg: number): InformationCase => ({
  name,
  format: 'RDRAND and RDSEED',
  reason: name,
  is32Bit: false,
  rows: gprs.flatMap((register) =>
    [0, 1, 2].map((size) => {
      const rex = 0x40 | (size === 2 ? 8 : 0) | (register >> 3);
      const bytes = [...(size === 0 ? [0x66] : []), rex, 0x0f, 0xc7, 0xc0 | (reg << 3) | (register & 7)];
      return { hex: toHex(bytes), information: (register << 3) | (size << 11) };
    }),
  ),
});

const strings = (name: string, is32Bit: boolean, rows: readonly InformationRow[]): InformationCase => ({
  name,
  format: 'INS and OUTS',
  reason: 'I/O instruction',
  is32Bit,
  rows,
});

export const informationCases: readonly InformationCase[] = [
  ...encodings.flatMap(casesOf),
  random('RDRAND', 6),
  random('RDSEED', 7),
  strings('INS and OUTS: 64-bit and 32-bit addresses', false, [
    { hex: '6c', information: 2 << 7 },
    { hex: '67 6c', information: 1 << 7 },
    { hex: '6e', information: (2 << 7) | (DS << 15) },
    { hex: '64 6e', information: (2 << 7) | (4 << 15) },
    { hex: '65 6e', information: (2 << 7) | (5 << 15) },
  ]),
  strings('INS and OUTS: segments and 16-bit addresses', true, [
    { hex: '67 6c', information: 0 },
    ...segmentPrefixes.map((prefix, segment) => ({
      hex: toHex([prefix, 0x6e]),
      information: (1 << 7) | (segment << 15),
    })),
  ]),
];
