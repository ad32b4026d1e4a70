/** The memory type range registers, kept as state (SDM volume 3, "Memory Type Range Registers"). */
import { PHYSICAL_ADDRESS_BITS } from './cpuid.ts';
import { GP } from './events.ts';
import type { Msr } from './msrs.ts';
import type { CpuState } from './state.ts';
import type { FieldName } from './state-layout.ts';

const VARIABLE_RANGES = 8;
const PHYSICAL = (1n << BigInt(PHYSICAL_ADDRESS_BITS)) - 1n;
const PAGE_FRAME = PHYSICAL & ~0xfffn;

type MtrrField = Extract<FieldName, `mtrr${string}`>;

const isMemoryType = (type: bigint): boolean => type === 0n || type === 1n || (type >= 4n && type <= 6n);

function mtrr(index: number, name: string, field: MtrrField, valid: (value: bigint) => boolean): Msr {
  return {
    index,
    name,
    read: ({ state }) => state[field],
    write: ({ state }, value) => {
      if (!valid(value)) throw GP(0);
      store(state, field, value);
    },
  };
}

function store(state: CpuState, field: MtrrField, value: bigint): void {
  state[field] = value;
}

const validDefault = (value: bigint): boolean => (value & ~0xcffn) === 0n && isMemoryType(value & 0xffn);
const validBase = (value: bigint): boolean => (value & ~(PAGE_FRAME | 0xffn)) === 0n && isMemoryType(value & 0xffn);
const validMask = (value: bigint): boolean => (value & ~(PAGE_FRAME | 0x800n)) === 0n;

function validFixed(value: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    if (!isMemoryType((value >> shift) & 0xffn)) return false;
  }
  return true;
}

const fixedRanges: readonly (readonly [number, string, MtrrField])[] = [
  [0x250, 'IA32_MTRR_FIX64K_00000', 'mtrrFix64Kx00000'],
  [0x258, 'IA32_MTRR_FIX16K_80000', 'mtrrFix16Kx80000'],
  [0x259, 'IA32_MTRR_FIX16K_A0000', 'mtrrFix16KxA0000'],
  [0x268, 'IA32_MTRR_FIX4K_C0000', 'mtrrFix4KxC0000'],
  [0x269, 'IA32_MTRR_FIX4K_C8000', 'mtrrFix4KxC8000'],
  [0x26a, 'IA32_MTRR_FIX4K_D0000', 'mtrrFix4KxD0000'],
  [0x26b, 'IA32_MTRR_FIX4K_D8000', 'mtrrFix4KxD8000'],
  [0x26c, 'IA32_MTRR_FIX4K_E0000', 'mtrrFix4KxE0000'],
  [0x26d, 'IA32_MTRR_FIX4K_E8000', 'mtrrFix4KxE8000'],
  [0x26e, 'IA32_MTRR_FIX4K_F0000', 'mtrrFix4KxF0000'],
  [0x26f, 'IA32_MTRR_FIX4K_F8000', 'mtrrFix4KxF8000'],
];

function variableRange(n: number): Msr[] {
  const base = `mtrrPhysBase${n}` as MtrrField;
  const mask = `mtrrPhysMask${n}` as MtrrField;
  return [
    mtrr(0x200 + 2 * n, `IA32_MTRR_PHYSBASE${n}`, base, validBase),
    mtrr(0x201 + 2 * n, `IA32_MTRR_PHYSMASK${n}`, mask, validMask),
  ];
}

/** IA32_MTRRCAP: number of variable ranges, fixed ranges (8), write combining (10). */
const capabilities: Msr = {
  index: 0xfe,
  name: 'IA32_MTRRCAP',
  read: () => BigInt(VARIABLE_RANGES | 0x500),
};

export const mtrrMsrs: readonly Msr[] = [
  capabilities,
  mtrr(0x2ff, 'IA32_MTRR_DEF_TYPE', 'mtrrDefType', validDefault),
  ...fixedRanges.map(([index, name, field]) => mtrr(index, name, field, validFixed)),
  ...Array.from({ length: VARIABLE_RANGES }, (_, n) => variableRange(n)).flat(),
];
