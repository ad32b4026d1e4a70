/** The classes of registers that operands distinguish; the digits are the size in bits. */
export type RegisterClass =
  | 'r8'
  | 'r16'
  | 'r32'
  | 'r64'
  | 'segment'
  | 'cr'
  | 'dr'
  | 'tr'
  | 'st'
  | 'mm'
  | 'xmm'
  | 'ymm'
  | 'zmm'
  | 'k'
  | 'bnd'
  | 'tmm';

export interface RegisterInfo {
  readonly name: string;
  readonly class: RegisterClass;
  /** The number that is encoded; AH..BH have 4..7. */
  readonly number: number;
  readonly sizeBits: number;
  /** AH, CH, DH, BH: cannot be encoded together with a REX prefix. */
  readonly high: boolean;
  /** SPL, BPL, SIL, DIL: need a REX prefix. */
  readonly needsRex: boolean;
}

const REGISTERS = new Map<string, RegisterInfo>();

function add(kind: RegisterClass, sizeBits: number, names: readonly string[], first = 0): void {
  names.forEach((name, index) => {
    const number = first + index;
    const needsRex = kind === 'r8' && number >= 4 && number < 8;
    REGISTERS.set(name, { name, class: kind, number, sizeBits, high: false, needsRex });
  });
}

function numbered(stem: string, count: number, suffix = '', first = 0): string[] {
  return Array.from({ length: count }, (_unused, index) => `${stem}${first + index}${suffix}`);
}

function addAll(): void {
  const stems = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
  add('r8', 8, ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil', ...numbered('r', 8, 'b', 8)]);
  add('r16', 16, [...stems, ...numbered('r', 8, 'w', 8)]);
  add('r32', 32, [...stems.map((stem) => `e${stem}`), ...numbered('r', 8, 'd', 8)]);
  add('r64', 64, [...stems.map((stem) => `r${stem}`), ...numbered('r', 8, '', 8)]);
  ['ah', 'ch', 'dh', 'bh'].forEach((name, index) => {
    REGISTERS.set(name, { name, class: 'r8', number: 4 + index, sizeBits: 8, high: true, needsRex: false });
  });
  add('segment', 16, ['es', 'cs', 'ss', 'ds', 'fs', 'gs']);
  add('cr', 0, numbered('cr', 16));
  add('dr', 0, numbered('dr', 16));
  add('tr', 0, numbered('tr', 8));
  add('st', 80, numbered('st', 8));
  add('mm', 64, numbered('mm', 8));
  add('xmm', 128, numbered('xmm', 32));
  add('ymm', 256, numbered('ymm', 32));
  add('zmm', 512, numbered('zmm', 32));
  add('k', 64, numbered('k', 8));
  add('bnd', 128, numbered('bnd', 4));
  add('tmm', 8192, numbered('tmm', 8));
}

addAll();

/** The register of that name in any mixture of cases, or undefined. */
export function registerNamed(name: string): RegisterInfo | undefined {
  return REGISTERS.get(name) ?? REGISTERS.get(name.toLowerCase());
}

/** All register names, for completion. */
export function registerNames(): readonly string[] {
  return [...REGISTERS.keys()];
}

/** A general-purpose register that may stand in an address. */
export function isAddressRegister(register: RegisterInfo): boolean {
  return register.class === 'r16' || register.class === 'r32' || register.class === 'r64';
}

export function isVector(register: RegisterInfo): boolean {
  return register.class === 'xmm' || register.class === 'ymm' || register.class === 'zmm';
}
