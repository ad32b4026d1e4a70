/** 5-level paging: CR4.LA57, and which addresses are canonical where ("5-Level Paging and 5-Level EPT", "Canonicality"). */
import { describe, expect, test } from 'vitest';
import { PHYSICAL_ADDRESS_BITS } from '../../engine/cpu/cpuid.ts';
import { createCpuModel } from '../../engine/cpu/model.ts';
import { CR4 } from '../../engine/cpu/register-bits.ts';
import { FS } from '../../engine/cpu/state.ts';
import { linearAddressOf } from '../../engine/isa/linear-address.ts';
import { TestMachine } from './machine.ts';

const MOV_CR4_EAX = '0f 22 e0';
const WRMSR = '0f 30';
const LGDT_RAX = '0f 01 10';
const WRFSBASE_RAX = 'f3 48 0f ae d0';
const INVPCID_RCX_RAX = '66 0f 38 82 08';
const SYSRETQ = '48 0f 07';
const IA32_KERNEL_GS_BASE = 0xc000_0102n;

const without = createCpuModel({ hasFeature: (name) => name !== 'LA57' });
/** The last and the first address that 57 bits have and 48 have not; what they have not either. */
const INSIDE = [(1n << 56n) - 1n, 1n << 47n, -(1n << 56n), -(1n << 47n) - 1n].map((value) => BigInt.asUintN(64, value));
const OUTSIDE = [1n << 56n, -(1n << 56n) - 1n].map((value) => BigInt.asUintN(64, value));

const DATA = 0xa000;

const with5Levels = (): TestMachine => {
  const m = new TestMachine().long();
  m.state.cr4 |= CR4.LA57;
  return m;
};

describe('CR4.LA57', () => {
  test('can be set before IA-32e mode', () => {
    const m = new TestMachine().protected();
    m.state.setGpr(0, BigInt(CR4.PAE | CR4.LA57));
    m.run(MOV_CR4_EAX);
    expect(m.state.cr4).toBe(CR4.PAE | CR4.LA57);
  });
  test('is reserved where CPUID does not announce it', () => {
    const m = new TestMachine({}, without).protected();
    m.state.setGpr(0, BigInt(CR4.LA57));
    expect(m.faultOf(MOV_CR4_EAX)).toBe('GP(0)');
  });
  test.each([0, CR4.LA57])('cannot change in IA-32e mode: %s', (before) => {
    const m = new TestMachine().long();
    m.state.cr4 |= before;
    m.state.setGpr(0, BigInt(m.state.cr4 ^ CR4.LA57));
    expect(m.faultOf(MOV_CR4_EAX)).toBe('GP(0)');
  });
});

test.each([
  [createCpuModel(), 57],
  [without, 48],
])('CPUID tells the width', (model, bits) => {
  const m = new TestMachine({}, model).long();
  expect(model.cpuid(m.state, 0x8000_0008, 0).eax).toBe(PHYSICAL_ADDRESS_BITS | (bits << 8));
});

/** Each loads an address, which is in RAX. */
const loads: readonly (readonly [name: string, load: (m: TestMachine, value: bigint) => string])[] = [
  [
    'an MSR',
    (m, value) => {
      m.state.setGpr(1, IA32_KERNEL_GS_BASE);
      m.state.setGpr(0, value & 0xffff_ffffn);
      m.state.setGpr(2, value >> 32n);
      return m.faultOf(WRMSR);
    },
  ],
  [
    'LGDT',
    (m, value) => {
      m.u64(DATA + 2, value);
      m.state.setGpr(0, BigInt(DATA));
      return m.faultOf(LGDT_RAX);
    },
  ],
  [
    'WRFSBASE',
    (m, value) => {
      m.state.cr4 |= CR4.FSGSBASE;
      m.state.setGpr(0, value);
      return m.faultOf(WRFSBASE_RAX);
    },
  ],
  [
    'INVPCID',
    (m, value) => {
      m.u64(DATA, 0n);
      m.u64(DATA + 8, value);
      m.state.setGpr(0, BigInt(DATA));
      m.state.setGpr(1, 0n);
      return m.faultOf(INVPCID_RCX_RAX);
    },
  ],
];

describe.each(loads)('%s', (_name, load) => {
  test.each(INSIDE)('takes 57 bits whatever the paging mode: %s', (value) => {
    expect(load(new TestMachine().long(), value)).toBe('none');
    expect(load(with5Levels(), value)).toBe('none');
  });
  test.each(INSIDE)('but not without LA57 in CPUID: %s', (value) => {
    expect(load(new TestMachine({}, without).long(), value)).toBe('GP(0)');
  });
  test.each(OUTSIDE)('no more: %s', (value) => {
    expect(load(with5Levels(), value)).toBe('GP(0)');
  });
});

test('a base keeps all its bits', () => {
  const m = with5Levels();
  m.state.cr4 |= CR4.FSGSBASE;
  m.state.setGpr(0, INSIDE[0] as bigint);
  m.run(WRFSBASE_RAX);
  expect(m.state.segment(FS).base).toBe(linearAddressOf(INSIDE[0] as bigint));
  m.run('f3 48 0f ae c1'); // RDFSBASE RCX
  expect(m.state.gpr(1)).toBe(INSIDE[0]);
});

describe('SYSRET', () => {
  const sysret = (m: TestMachine, target: bigint) => {
    m.state.efer |= 1;
    m.state.setGpr(1, target);
    m.state.setGpr(11, 2n);
    return m.faultOf(SYSRETQ);
  };
  test.each(INSIDE)('goes by the paging mode: %s', (target) => {
    expect(sysret(new TestMachine().long(), target)).toBe('GP(0)');
    const m = with5Levels();
    expect(sysret(m, target)).toBe('none');
    expect(BigInt.asUintN(64, BigInt(m.state.rip))).toBe(target);
  });
});
