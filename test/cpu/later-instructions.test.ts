/** RDRAND, RDSEED, RDPID, WBNOINVD and the machine-check MSRs. */
import { describe, expect, test } from 'vitest';
import { readFlags } from '../../engine/cpu/flags.ts';
import { readMsr, writeMsr } from '../../engine/cpu/msrs.ts';
import { bootSource } from '../support/source-guests.ts';
import { TestMachine } from './machine.ts';

const RDRAND_RAX = '48 0f c7 f0';
const RDSEED_EAX = '0f c7 f8';
const RDRAND_AX = '66 0f c7 f0';

describe('RDRAND and RDSEED', () => {
  test('give another number each time, with CF = 1 and the other status flags 0', () => {
    const machine = new TestMachine().long(3);
    const numbers = new Set<bigint>();
    for (let n = 0; n < 100; n++) {
      machine.cpu.writeFlags(0x8d4);
      machine.run(RDRAND_RAX);
      numbers.add(machine.state.gpr(0));
      expect(readFlags(machine.state) & 0x8d5).toBe(1);
    }
    expect(numbers.size).toBe(100);
    expect([...numbers].some((number) => number >> 63n === 1n)).toBe(true);
  });

  test('16 bits leave the rest of the register, 32 clear the upper half', () => {
    const machine = new TestMachine().long();
    machine.state.setGpr(0, 0x1111_2222_3333_4444n);
    machine.run(RDRAND_AX);
    expect(machine.state.gpr(0) >> 16n).toBe(0x1111_2222_3333n);
    machine.run(RDSEED_EAX);
    expect(machine.state.gpr(0) >> 32n).toBe(0n);
  });

  const numbers = (randomSeed?: number) => {
    const code = 'bits 64\norg 0x8000\nrdrand rax\nrdseed rbx\nrdrand rcx\nhlt';
    const cpu = randomSeed === undefined ? undefined : { randomSeed };
    const { machine } = bootSource(code, { mode: 'long', ...(cpu ? { cpu } : {}) });
    machine.run();
    return ['rax', 'rbx', 'rcx'].map((name) => machine.vcpus[0]?.readRegister(name));
  };
  test('the same seed gives the same numbers, another one others', () => {
    expect(numbers(7)).toEqual(numbers(7));
    expect(numbers()).toEqual(numbers(0));
    expect(numbers(8)).not.toEqual(numbers(7));
  });
});

test('RDPID reads IA32_TSC_AUX, all of the register', () => {
  const machine = new TestMachine().long(3);
  machine.state.tscAux = 0x1234_5678;
  machine.state.setGpr(0, -1n);
  machine.run('f3 0f c7 f8');
  expect(machine.state.gpr(0)).toBe(0x1234_5678n);
});

test('WBNOINVD is for ring 0', () => {
  expect(new TestMachine().long().faultOf('f3 0f 09')).toBe('none');
  expect(new TestMachine().long(3).faultOf('f3 0f 09')).toBe('GP(0)');
});

describe('machine-check MSRs', () => {
  const { cpu } = new TestMachine().long();
  test('as many banks as IA32_MCG_CAP says', () => {
    expect(readMsr(cpu, 0x179)).toBe(2n);
    for (let index = 0x400; index < 0x408; index++) expect(readMsr(cpu, index)).toBe(0n);
    expect(() => readMsr(cpu, 0x408)).toThrow();
  });
  test('controls can be written, reports only cleared', () => {
    writeMsr(cpu, 0x404, 0xffff_ffff_ffff_ffffn);
    expect(readMsr(cpu, 0x404)).toBe(0xffff_ffff_ffff_ffffn);
    writeMsr(cpu, 0x405, 0n);
    expect(() => writeMsr(cpu, 0x405, 1n)).toThrow();
    expect(() => writeMsr(cpu, 0x17a, 8n)).toThrow();
  });
});
