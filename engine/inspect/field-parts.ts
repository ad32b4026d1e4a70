/** Parts of fields that VMCS and VMCB have in common, and how they are made. */

export interface FieldPart {
  readonly name: string;
  readonly value: string;
  readonly description: string;
}

type PartsOf = (value: bigint) => readonly FieldPart[];

export const part = (name: string, value: string | number | bigint, description: string): FieldPart => ({
  name,
  value: String(value),
  description,
});
export const bitOf = (value: bigint, bit: number): string => String((value >> BigInt(bit)) & 1n);

/** The named bits of a register that are 1. */
export const setBits =
  (names: Readonly<Record<string, number>>): PartsOf =>
  (value) =>
    Object.entries(names)
      .filter(([, mask]) => (mask & (mask - 1)) === 0)
      .map(([name, mask]) => [name, Math.log2(mask)] as const)
      .filter(([, bit]) => bitOf(value, bit) === '1')
      .map(([name, bit]) => part(name, 1, `Bit ${bit}.`));

export const accessRights: PartsOf = (value) => {
  const rights = Number(value);
  return [
    part('unusable', (rights >>> 16) & 1, 'There is no segment.'),
    part('type', rights & 15, typeName(rights)),
    part('S', (rights >>> 4) & 1, '1: code or data; 0: system segment.'),
    part('DPL', (rights >>> 5) & 3, 'Descriptor privilege level; that of SS is the CPL.'),
    part('P', (rights >>> 7) & 1, 'Present.'),
    part('AVL', (rights >>> 12) & 1, 'For software.'),
    part('L', (rights >>> 13) & 1, '64-bit code.'),
    part('D/B', (rights >>> 14) & 1, '32-bit default size.'),
    part('G', (rights >>> 15) & 1, 'Limit in units of 4 KBytes.'),
  ];
};

const systemTypes: Readonly<Record<number, string>> = {
  1: 'available 16-bit TSS',
  2: 'LDT',
  3: 'busy 16-bit TSS',
  9: 'available 32- or 64-bit TSS',
  11: 'busy 32- or 64-bit TSS',
};
function typeName(rights: number): string {
  const type = rights & 15;
  if ((rights & 16) === 0) return systemTypes[type] ?? 'reserved';
  const accessed = type & 1 ? ', accessed' : '';
  if (type & 8) return `${type & 4 ? 'conforming ' : ''}code, ${type & 2 ? 'readable' : 'execute-only'}${accessed}`;
  return `data, ${type & 2 ? 'writable' : 'read-only'}${type & 4 ? ', expand-down' : ''}${accessed}`;
}

export const selector: PartsOf = (value) => [
  part('index', value >> 3n, 'Index of the descriptor.'),
  part('TI', bitOf(value, 2), '0: GDT; 1: LDT.'),
  part('RPL', value & 3n, 'Requested privilege level.'),
];
