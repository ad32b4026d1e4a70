/** Registers by name, and as the debugger shows them, decoded. */

import { writeCr8 } from '../cpu/control-registers.ts';
import { readFlags } from '../cpu/flags.ts';
import { hex } from '../cpu/hexadecimal.ts';
import { modeNames, refreshMode } from '../cpu/modes.ts';
import type { Processor } from '../cpu/processor.ts';
import { ACCESS, CR0, CR4, EFER, RFLAGS } from '../cpu/register-bits.ts';
import { loadDataSegment } from '../cpu/segmentation.ts';
import type { SegmentRegister } from '../cpu/state.ts';
import { type FieldName, fieldTable, gprNames, segmentNames } from '../cpu/state-layout.ts';
import { vectorAccesses, vectorViews } from './vector-registers.ts';
import type { RegisterAccess, RegisterGroup, RegisterView } from './views.ts';
import { x87Accesses, x87Views } from './x87-registers.ts';

const unsigned = (value: number | bigint): bigint => BigInt.asUintN(64, BigInt(value));

function fieldAccess(name: FieldName, widthBits: number, write = true): RegisterAccess {
  const { type } = fieldTable[name];
  const access: RegisterAccess = { widthBits, read: ({ state }) => unsigned(state[name]) };
  if (!write) return access;
  return {
    ...access,
    write: (cpu, value) => {
      const state = cpu.state as unknown as Record<string, bigint | number>;
      if (type === 'u64') state[name] = value;
      else state[name] = Number(type === 'linear' ? BigInt.asIntN(64, value) : value);
      return undefined;
    },
  };
}

/** Part of a general-purpose register: AL, AX, EAX … */
function partAccess(index: number, widthBits: number, shift: number): RegisterAccess {
  const mask = ((1n << BigInt(widthBits)) - 1n) << BigInt(shift);
  return {
    widthBits,
    read: ({ state }) => (state.gpr(index) & mask) >> BigInt(shift),
    write: ({ state }, value) => {
      const placed = (value << BigInt(shift)) & mask;
      state.setGpr(index, widthBits === 32 ? placed : (state.gpr(index) & ~mask) | placed);
      return undefined;
    },
  };
}

const LEGACY = ['a', 'c', 'd', 'b'];
const POINTERS = ['sp', 'bp', 'si', 'di'];

function gprAccesses(): [string, RegisterAccess][] {
  const entries: [string, RegisterAccess][] = [];
  gprNames.forEach((name, index) => {
    entries.push([name.toLowerCase(), partAccess(index, 64, 0)]);
    for (const [part, width, shift] of gprParts(index)) entries.push([part, partAccess(index, width, shift)]);
  });
  return entries;
}

function gprParts(index: number): [string, number, number][] {
  if (index >= 8)
    return [
      [`r${index}d`, 32, 0],
      [`r${index}w`, 16, 0],
      [`r${index}b`, 8, 0],
    ];
  const letter = LEGACY[index];
  if (letter !== undefined) {
    return [
      [`e${letter}x`, 32, 0],
      [`${letter}x`, 16, 0],
      [`${letter}l`, 8, 0],
      [`${letter}h`, 8, 8],
    ];
  }
  const name = POINTERS[index - 4] as string;
  return [
    [`e${name}`, 32, 0],
    [name, 16, 0],
    [`${name}l`, 8, 0],
  ];
}

function segmentAccesses(): [string, RegisterAccess][] {
  return segmentNames.flatMap((name, index): [string, RegisterAccess][] => {
    const key = name.toLowerCase();
    const of = (cpu: Processor): SegmentRegister => cpu.state.segment(index);
    const hidden = (part: 'base' | 'limit' | 'attributes', widthBits: number): RegisterAccess => ({
      widthBits,
      read: (cpu) => unsigned(of(cpu)[part]),
      write: (cpu, value) => {
        of(cpu)[part] = Number(part === 'base' ? BigInt.asIntN(64, value) : value);
        refreshMode(cpu);
        return undefined;
      },
    });
    return [
      [
        key,
        {
          widthBits: 16,
          read: (cpu) => BigInt(of(cpu).selector),
          write: (cpu, value) => writeSelector(cpu, index, value),
        },
      ],
      [`${key}.base`, hidden('base', 64)],
      [`${key}.limit`, hidden('limit', 32)],
      [`${key}.attributes`, hidden('attributes', 32)],
    ];
  });
}

/** ES, DS, FS and GS load their descriptor as MOV would; the others only take the visible part. */
function writeSelector(cpu: Processor, index: number, value: bigint): string | undefined {
  const selector = Number(value & 0xffffn);
  const name = segmentNames[index] as string;
  if (!['ES', 'DS', 'FS', 'GS'].includes(name)) {
    cpu.state.segment(index).selector = selector;
    return undefined;
  }
  try {
    loadDataSegment(cpu, index, selector);
    return undefined;
  } catch {
    return `${name} cannot be loaded with selector 0x${selector.toString(16)}: no present data segment is there that ring ${cpu.state.cpl} may use`;
  }
}

const rflags: RegisterAccess = {
  widthBits: 32,
  read: ({ state }) => BigInt(readFlags(state)),
  write: (cpu, value) => {
    cpu.writeFlags(Number((value & 0x3f_7fd5n) | 2n));
    return undefined;
  },
};

/** Changes paging through the MMU, so that cached translations follow. */
function controlAccess(
  read: (cpu: Processor) => number,
  write: (cpu: Processor, value: number) => void,
): RegisterAccess {
  return {
    widthBits: 64,
    read: (cpu) => unsigned(read(cpu)),
    write: (cpu, value) => {
      try {
        write(cpu, Number(value));
        refreshMode(cpu);
        return undefined;
      } catch {
        return `the value 0x${value.toString(16)} is not allowed: a page-directory-pointer entry it selects has reserved bits set`;
      }
    },
  };
}

const table: ReadonlyMap<string, RegisterAccess> = new Map<string, RegisterAccess>([
  ...gprAccesses(),
  ...segmentAccesses(),
  ['rip', fieldAccess('rip', 64)],
  ['eip', fieldAccess('rip', 32)],
  ['ip', fieldAccess('rip', 16)],
  ['rflags', rflags],
  ['eflags', rflags],
  ['flags', rflags],
  [
    'cr0',
    controlAccess(
      (cpu) => cpu.state.cr0,
      (cpu, value) => cpu.tlb.writeCr0(value),
    ),
  ],
  ['cr2', fieldAccess('cr2', 64)],
  [
    'cr3',
    controlAccess(
      (cpu) => cpu.state.cr3,
      (cpu, value) => cpu.tlb.writeCr3(value, false),
    ),
  ],
  [
    'cr4',
    controlAccess(
      (cpu) => cpu.state.cr4,
      (cpu, value) => cpu.tlb.writeCr4(value),
    ),
  ],
  [
    'cr8',
    {
      ...fieldAccess('cr8', 64),
      write: (cpu, value) => {
        if (value > 15n) return `CR8 holds a priority class, 0 to 15; found ${value}`;
        writeCr8(cpu, value);
        return undefined;
      },
    },
  ],
  ['xcr0', fieldAccess('xcr0', 32)],
  [
    'pkru',
    {
      ...fieldAccess('pkru', 32),
      write: (cpu, value) => {
        cpu.state.pkru = Number(value & 0xffff_ffffn);
        cpu.tlb.keyRightsChanged();
        return undefined;
      },
    },
  ],
  ['mxcsr', fieldAccess('mxcsr', 32)],
  ...vectorAccesses(),
  ...x87Accesses(),
  ...(['dr0', 'dr1', 'dr2', 'dr3'] as const).map((name): [string, RegisterAccess] => [name, fieldAccess(name, 64)]),
  ['dr6', fieldAccess('dr6', 32)],
  ['dr7', fieldAccess('dr7', 32)],
  ['gdtr.base', fieldAccess('gdtrBase', 64)],
  ['gdtr.limit', fieldAccess('gdtrLimit', 16)],
  ['idtr.base', fieldAccess('idtrBase', 64)],
  ['idtr.limit', fieldAccess('idtrLimit', 16)],
  ['cpl', fieldAccess('cpl', 2, false)],
  ['ring', fieldAccess('cpl', 2, false)],
  ['nonroot', fieldAccess('nonRoot', 1, false)],
]);

function msrAccess(cpu: Processor, name: string): RegisterAccess | undefined {
  const wanted = name.toLowerCase();
  for (const msr of cpu.model.msrs.values()) {
    if (msr.name.toLowerCase() !== wanted) continue;
    return {
      widthBits: 64,
      read: (processor) => BigInt.asUintN(64, msr.read(processor)),
      write: (processor, value) => {
        if (!msr.write) return `${msr.name} is read-only`;
        try {
          msr.write(processor, value);
          return undefined;
        } catch {
          return `WRMSR of 0x${value.toString(16)} to ${msr.name} would raise #GP(0): reserved bits are set`;
        }
      },
    };
  }
  return undefined;
}

type Bits = Readonly<Record<string, number>>;

/** Registers whose bits have names of their own: `rflags.zf`, `cr0.pg`, `ia32_efer.lme`. */
const BITS_OF: Readonly<Record<string, Bits>> = { rflags: RFLAGS, cr0: CR0, cr4: CR4, ia32_efer: EFER };

/** One field of a register: writing it writes the register, as far as that allows. */
function bitAccess(register: string, mask: number): RegisterAccess {
  const bits = BigInt(mask >>> 0);
  const shift = BigInt(31 - Math.clz32(mask & -mask));
  const whole = (cpu: Processor): bigint => readRegister(cpu, register) ?? 0n;
  return {
    widthBits: (bits >> shift).toString(2).length,
    read: (cpu) => (whole(cpu) & bits) >> shift,
    write: (cpu, value) => writeRegister(cpu, register, (whole(cpu) & ~bits) | (value << shift)),
  };
}

const bitTable: ReadonlyMap<string, RegisterAccess> = new Map(
  Object.entries(BITS_OF).flatMap(([register, bits]) =>
    Object.entries(bits).map(([name, mask]) => [`${register}.${name.toLowerCase()}`, bitAccess(register, mask)]),
  ),
);

const find = (cpu: Processor, name: string): RegisterAccess | undefined =>
  table.get(name.toLowerCase()) ?? bitTable.get(name.toLowerCase()) ?? msrAccess(cpu, name);

/** Value of a register by any of its names, or undefined. */
export const readRegister = (cpu: Processor, name: string): bigint | undefined => find(cpu, name)?.read(cpu);

/** Writes a register; returns why not, or undefined. */
export function writeRegister(cpu: Processor, name: string, value: bigint): string | undefined {
  const access = find(cpu, name);
  if (!access) return `there is no register ${name}`;
  if (!access.write) return `${name} cannot be written`;
  if (BigInt.asUintN(access.widthBits, value) !== value && BigInt.asIntN(access.widthBits, value) !== value) {
    const bits = access.widthBits === 1 ? '1 bit' : `${access.widthBits} bits`;
    return `${name} has ${bits}; 0x${value.toString(16)} does not fit`;
  }
  return access.write(cpu, BigInt.asUintN(access.widthBits, value));
}

/** Names that readRegister knows, for completion. */
export const registerNames = (cpu: Processor): string[] => [
  ...table.keys(),
  ...bitTable.keys(),
  ...[...cpu.model.msrs.values()].map((msr) => msr.name),
];

/** The set bits of a register, by the manual's names. */
function bitParts(value: bigint, bits: Bits) {
  return Object.entries(bits).map(([name, mask]) => ({
    name,
    value: (value & BigInt(mask >>> 0)) !== 0n ? '1' : '0',
    description: `bit ${Math.log2(mask >>> 0)}`,
  }));
}

function view(cpu: Processor, key: string, parts?: RegisterView['parts'], label = key.toUpperCase()): RegisterView {
  const access = find(cpu, key);
  if (!access) throw new Error(`no register ${key}`);
  const { widthBits } = access;
  return {
    name: label,
    value: access.read(cpu),
    widthBits,
    writable: access.write !== undefined,
    ...(parts && { parts }),
  };
}

/** All registers in groups. */
export function registerGroups(cpu: Processor): RegisterGroup[] {
  const { state } = cpu;
  const flags = BigInt(readFlags(state));
  return [
    {
      name: 'General',
      registers: [...gprNames.map((name) => view(cpu, name.toLowerCase(), undefined, name)), view(cpu, 'rip')],
    },
    { name: 'Flags', registers: [view(cpu, 'rflags', flagParts(flags)), view(cpu, 'cpl')] },
    { name: 'Segment', registers: segmentViews(cpu) },
    {
      name: 'Control',
      registers: [
        view(cpu, 'cr0', bitParts(unsigned(state.cr0), CR0)),
        view(cpu, 'cr2'),
        view(cpu, 'cr3'),
        view(cpu, 'cr4', bitParts(unsigned(state.cr4), CR4)),
        view(cpu, 'cr8'),
        view(cpu, 'pkru'),
        view(cpu, 'IA32_EFER', bitParts(unsigned(state.efer), EFER), 'IA32_EFER'),
      ],
    },
    { name: 'x87', registers: x87Views(cpu) },
    { name: 'Vector', registers: vectorViews(cpu) },
    { name: 'Debug', registers: ['dr0', 'dr1', 'dr2', 'dr3', 'dr6', 'dr7'].map((name) => view(cpu, name)) },
    { name: 'MSRs', registers: [...cpu.model.msrs.values()].map((msr) => view(cpu, msr.name, undefined, msr.name)) },
  ];
}

function flagParts(value: bigint) {
  const single = Object.fromEntries(
    Object.entries(RFLAGS).filter(([, mask]) => Number.isInteger(Math.log2(mask >>> 0))),
  );
  const iopl = { name: 'IOPL', value: String((value >> 12n) & 3n), description: 'bits 13:12, I/O privilege level' };
  return [...bitParts(value, single), iopl];
}

function segmentViews(cpu: Processor): RegisterView[] {
  const segments = segmentNames.map((name) => {
    const register = cpu.state.segment(segmentNames.indexOf(name));
    return view(cpu, name.toLowerCase(), segmentParts(register));
  });
  const tables = ['gdtr.base', 'gdtr.limit', 'idtr.base', 'idtr.limit'].map((name) => view(cpu, name));
  return [...segments, ...tables];
}

function segmentParts({ selector, base, limit, attributes }: SegmentRegister) {
  const part = (name: string, value: string, description: string) => ({ name, value, description });
  if (attributes & 0x1_0000) return [part('unusable', '1', 'the register holds a null selector')];
  return [
    part('index', String(selector >> 3), `entry of the ${selector & 4 ? 'LDT' : 'GDT'}`),
    part('RPL', String(selector & 3), 'requested privilege level'),
    part('base', hex(base), 'hidden part: segment base'),
    part('limit', hex(limit), 'hidden part: segment limit in bytes'),
    part('type', describeType(attributes), `type field ${attributes & 15}, S = ${(attributes >> 4) & 1}`),
    part('DPL', String((attributes >> 5) & 3), 'descriptor privilege level'),
    part('P', attributes & ACCESS.P ? '1' : '0', 'segment present'),
    part('L', attributes & ACCESS.L ? '1' : '0', '64-bit code segment'),
    part('D/B', attributes & ACCESS.DB ? '1' : '0', 'default operation size'),
  ];
}

function describeType(attributes: number): string {
  const type = attributes & 15;
  if (!(attributes & ACCESS.S))
    return { 2: 'LDT', 3: '16-bit TSS (busy)', 9: 'TSS (available)', 11: 'TSS (busy)' }[type] ?? `system ${type}`;
  const accessed = type & 1 ? ', accessed' : '';
  if (type & 8) return `code, execute${type & 2 ? '/read' : '-only'}${type & 4 ? ', conforming' : ''}${accessed}`;
  return `data, read${type & 2 ? '/write' : '-only'}${type & 4 ? ', expand-down' : ''}${accessed}`;
}

export const modeName = (mode: number): string => modeNames[mode] ?? `mode ${mode}`;
