import { describe, expect, test } from 'vitest';
import { type CpuConfig, checkCpu, cpuModels } from '../../engine/cpu/cpu-models.ts';
import { cpuidFeatures, implementedFeatures } from '../../engine/cpu/cpuid.ts';
import { checkCpuConfig, type MachineConfig } from '../../engine/index.ts';
import { allVectors, interruptTable } from '../support/interrupt-table.ts';
import { bootSource } from '../support/source-guests.ts';

const everything = new Map(cpuidFeatures.map(({ name }) => [name, true]));

describe('models', () => {
  test.each(cpuModels.map((model) => [model.name, model] as const))(
    '%s is consistent, and knows its features',
    (name, model) => {
      expect((model.features ?? []).filter((feature) => !everything.has(feature))).toEqual([]);
      expect(checkCpu({ model: name }, everything)).toBeUndefined();
      expect(checkCpu({ model: name }, implementedFeatures)).toBeUndefined();
    },
  );
});

describe('a configuration that cannot be', () => {
  const rows: readonly (readonly [name: string, cpu: CpuConfig, expected: RegExp, whatToDo: RegExp])[] = [
    ['a model that there is not', { model: '8080' }, /"ringside", "486"/, /cpu\.model/],
    ['a feature that there is not', { features: { SMEPP: false } }, /a feature of CPUID: .*SMEP, /, /take it out/],
    [
      'a feature without what it builds on',
      { model: 'core2', features: { FXSR: false } },
      /FXSR beside SSE/,
      /"FXSR": true, or "SSE": false/,
    ],
    [
      'a feature that the model cannot carry',
      { model: 'pentium', features: { LM: true } },
      /PAE beside LM/,
      /"PAE": true/,
    ],
  ];
  test.each(rows)('%s', (_name, cpu, expected, whatToDo) => {
    expect(checkCpu(cpu, everything)).toMatchObject({
      expected: expect.stringMatching(expected),
      whatToDo: expect.stringMatching(whatToDo),
    });
  });

  test('a feature that Ringside does not implement', () => {
    const known = new Map([...everything, ['LA57', false] as const]);
    expect(checkCpu({ features: { LA57: true } }, known)?.expected).toBe('a feature that Ringside implements');
    expect(checkCpu({ features: { LA57: false } }, known)).toBeUndefined();
  });

  const machine = (more: Partial<MachineConfig>, mode: 'protected' | 'long' = 'protected'): MachineConfig => ({
    program: { segments: [], entry: { mode, address: 0 } },
    memoryBytes: 2 ** 20,
    cpus: 1,
    virtualization: 'none',
    ...more,
  });
  test.each([
    ['64-bit code without LM', machine({ cpu: { model: 'pentium' } }, 'long'), /LM, as the program/],
    ['several processors without APIC', machine({ cpu: { model: '486' }, cpus: 2 }), /APIC, as several/],
    [
      'the hypervisor without VMX',
      machine({ cpu: { features: { VMX: false } }, virtualization: 'hardware' }),
      /VMX, as/,
    ],
  ])('%s', (_name, config, expected) => {
    expect(checkCpuConfig(config)?.expected).toMatch(expected);
  });
  test('what can be', () => {
    expect(checkCpuConfig(machine({ cpu: { model: 'core2' } }, 'long'))).toBeUndefined();
    expect(checkCpuConfig(machine({}, 'long'))).toBeUndefined();
  });
});

/** Runs code in ring 0 that leaves its result in AL; an exception ends it with its vector + 80H. */
function result(mode: 'protected' | 'long', cpu: CpuConfig, code: string): number {
  const bits = mode === 'long' ? 64 : 32;
  const text = `bits ${bits}
org 0x8000
start:
  lidt [idtr]
  call code
  out 0xf4, al
code:
  ${code}
  ret
align 16
stubs:
%assign v 0
%rep 32
  align 16
  mov al, 0x80 + v
  out 0xf4, al
%assign v v + 1
%endrep
${interruptTable(
  allVectors(31, (vector) => `stubs + ${16 * vector}`),
  { bits, origin: 0x8000 },
)}
align 4096
table: times 4096 db 0`;
  const stop = bootSource(text, { mode, cpu }).machine.run({ instructions: 10_000 });
  if (stop.kind !== 'exited') throw new Error(`expected the guest to exit, found ${JSON.stringify(stop)}`);
  return stop.code;
}

const UD = 0x86;
const GP = 0x8d;
const PF = 0x8e;
const CPUID_1_EAX = 'mov eax, 1 \n cpuid';
/** Maps 1 GiB at 512 GiB. */
const GIGABYTE_PAGE = `mov rbx, cr3 \n lea rax, [table + 3] \n mov [rbx + 8], rax \n mov qword [table], 0x83
  mov rax, 1 << 39 \n mov al, [rax] \n mov al, 1`;

describe('what follows the features', () => {
  const rows: readonly (readonly [string, 'protected' | 'long', CpuConfig, code: string, al: number])[] = [
    ['an instruction that the model has', 'long', { model: 'nehalem' }, 'mov eax, 7 \n popcnt eax, eax', 3],
    ['an instruction that it does not have', 'long', { model: 'core2' }, 'mov eax, 7 \n popcnt eax, eax', UD],
    ['one that was added', 'long', { model: 'core2', features: { POPCNT: true } }, 'mov eax, 7 \n popcnt eax, eax', 3],
    ['one that was taken away', 'long', { features: { POPCNT: false } }, 'mov eax, 7 \n popcnt eax, eax', UD],
    ['one of which Ringside may know nothing', 'protected', { model: 'pentium' }, 'addps xmm0, xmm1', UD],
    ['one with a prefix too many', 'protected', { model: 'pentium' }, 'db 0x66, 0x66 \n addps xmm0, xmm1', UD],
    ['one with VEX', 'long', { model: 'core2' }, 'andn eax, ebx, ecx', UD],
    ['CMOV', 'protected', { model: 'pentium' }, 'cmovz eax, ebx', UD],
    ['LZCNT', 'long', { model: 'skylake' }, 'mov eax, 2 \n lzcnt eax, eax', 30],
    ['LZCNT where it is BSR', 'long', { model: 'nehalem' }, 'mov eax, 2 \n lzcnt eax, eax', 1],
    ['TZCNT', 'long', { model: 'skylake' }, 'xor eax, eax \n tzcnt eax, eax', 32],
    ['TZCNT where it is BSF', 'long', { model: 'nehalem' }, 'mov eax, 5 \n xor ecx, ecx \n tzcnt eax, ecx', 5],
    ['RDTSC', 'protected', { model: '486' }, 'rdtsc', UD],
    ['RDMSR', 'protected', { model: '486' }, 'rdmsr', UD],
    ['the signature in CPUID', 'protected', { model: 'pentium' }, CPUID_1_EAX, 0x2c],
    ['the features in CPUID', 'protected', { model: 'pentium' }, `${CPUID_1_EAX} \n mov al, dl \n and al, 0xfe`, 0xbe],
    [
      'extended leaves in CPUID',
      'protected',
      { model: 'pentium' },
      'mov eax, 80000001h \n cpuid \n mov eax, edx \n bswap eax',
      0,
    ],
    ['CR4', 'protected', { model: '486' }, 'mov eax, cr4', UD],
    ['a bit of CR4', 'protected', { model: 'pentium' }, 'mov eax, 1 << 5 \n mov cr4, eax', GP],
    [
      'a bit of CR4 that was added',
      'protected',
      { model: 'pentium', features: { PAE: true } },
      'mov eax, 1 << 5 \n mov cr4, eax',
      1 << 5,
    ],
    ['SMEP', 'long', { model: 'core2' }, 'mov rax, cr4 \n bts eax, 20 \n mov cr4, rax', GP],
    ['IA32_EFER', 'protected', { model: 'pentium' }, 'mov ecx, 0xc0000080 \n rdmsr', GP],
    [
      'a bit of IA32_EFER',
      'long',
      { features: { NX: false } },
      'mov ecx, 0xc0000080 \n rdmsr \n bts eax, 11 \n wrmsr',
      GP,
    ],
    ['an MSR', 'long', { model: 'core2' }, 'mov ecx, 0xc0000103 \n rdmsr', GP],
    ['VMX', 'long', { features: { VMX: false } }, 'mov ecx, 0x480 \n rdmsr', GP],
    ['pages of 1 GByte', 'long', { model: 'skylake' }, GIGABYTE_PAGE, 1],
    ['their reserved bit', 'long', { model: 'nehalem' }, GIGABYTE_PAGE, PF],
  ];
  test.each(rows)('%s (%s, %j)', (_name, mode, cpu, code, al) => {
    expect(result(mode, cpu, code)).toBe(al);
  });
});
