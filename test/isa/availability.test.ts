/** An instruction whose feature is off raises #UD, and one whose features are on does not: every form of the decoder. */
import { Instruction } from 'iced-x86';
import { describe, expect, test } from 'vitest';
import { type CpuConfig, cpuModels, vendorOf } from '../../engine/cpu/cpu-models.ts';
import { implementedFeatures } from '../../engine/cpu/cpuid.ts';
import { systemInstructions } from '../../engine/cpu/system-table.ts';
import { availabilityOf, featuresOf } from '../../engine/isa/availability.ts';
import { decodeInstructions, decodeOne, UNAVAILABLE } from '../../engine/isa/decode.ts';
import { instructionSet } from '../../engine/isa/instruction-set.ts';
import { type InstructionSample, instructionSamples } from '../support/instruction-samples.ts';
import { VectorMachine } from '../support/vector-machine.ts';
import type { Mode } from '../vectors/layout.ts';
import { initialState } from '../vectors/read-vectors.ts';

const MODES = [32, 64] as const;
const UD = 6;
const NEVER = { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 1 };

interface Sample extends InstructionSample {
  readonly needs: readonly string[];
}

/** With what the decoder's tables say that they need. */
const samples = new Map<Mode, Sample[]>(
  MODES.map((mode) => [mode, instructionSamples(mode).map((sample) => ({ ...sample, needs: needsOf(sample) }))]),
);

function needsOf({ code }: InstructionSample): readonly string[] {
  const instruction = new Instruction();
  instruction.code = code;
  const needs = featuresOf(instruction);
  instruction.free();
  return needs;
}

const samplesOf = (mode: Mode): readonly Sample[] => samples.get(mode) ?? [];

/** Without the feature, CPUs ignore the prefix: BSR, BSF and WBINVD. */
const IS_ANOTHER = /^(Lzcnt|Tzcnt|Wbnoinvd)/;
/** Their functions raise #UD unless CPUID announces AMD-V. */
const OF_AMD_V = /^(Vm(run|mcall|load|save)|Stgi|Clgi|Skinit|Invlpga)/;

/** The names of forms that raise #UD, of those given. */
function undefinedOnes(mode: Mode, cpu: CpuConfig, forms: readonly InstructionSample[]): string[] {
  const machine = new VectorMachine(mode, NEVER, cpu);
  const isUndefined = ({ bytes }: InstructionSample): boolean =>
    machine.execute(initialState(mode), bytes, (executor) => executor.run(1)).exception?.vector === UD;
  return namesOf(forms.filter(isUndefined));
}

const namesOf = (forms: readonly InstructionSample[]): string[] => forms.map(({ form }) => form);

function expectUndefined(mode: Mode, cpu: CpuConfig, missing: (sample: Sample) => boolean): void {
  const forms = samplesOf(mode).filter((sample) => missing(sample) && !IS_ANOTHER.test(sample.form));
  expect(forms.length).toBeGreaterThan(0);
  expect(undefinedOnes(mode, cpu, forms)).toEqual(namesOf(forms));
}

describe('an instruction is undefined if a feature of it is off', () => {
  for (const mode of MODES) {
    test.each(cpuModels.map(({ name }) => name))(`in ${mode}-bit code of the model %s`, (model) => {
      const { has } = new VectorMachine(mode, NEVER, { model }).host.processor.model;
      expectUndefined(mode, { model }, ({ needs }) => !needs.every(has));
    });
  }

  const needed = new Set(samplesOf(64).flatMap(({ needs, form }) => (IS_ANOTHER.test(form) ? [] : needs)));
  const features = [...needed].filter((name) => implementedFeatures.get(name));
  test.each(features)('without %s', (feature) => {
    expectUndefined(64, { features: { [feature]: false } }, ({ needs }) => needs.includes(feature));
  });
});

const everything: CpuConfig = { model: 'ringside' };

describe('an instruction whose features are on', () => {
  const { has } = new VectorMachine(64, NEVER, everything).host.processor.model;

  test('is executed', () => {
    const availability = availabilityOf(has);
    const mnemonicOf = ({ bytes }: Sample) => [...decodeInstructions(bytes, 64, 0, availability)][0]?.mnemonic;
    const there = samplesOf(64).filter(({ needs }) => needs.every(has));
    expect(there.length).toBeGreaterThan(1500);
    expect(there.filter((sample) => mnemonicOf(sample) === UNAVAILABLE)).toEqual([]);
  });

  test('is the only one that is executed where nothing is off', () => {
    const isExecuted = (mnemonic = ''): boolean => mnemonic in instructionSet || mnemonic in systemInstructions;
    for (const mode of MODES) {
      const others = samplesOf(mode).filter(({ needs, form }) => !needs.every(has) && !OF_AMD_V.test(form));
      expect(
        others.filter(({ bytes }) => isExecuted(decodeOne(bytes, mode, 0)?.mnemonic)).map(({ form }) => form),
      ).toEqual([]);
    }
  });
});

test('PAUSE with REX.B is XCHG R8, RAX on CPUs of AMD, as they were found to do', () => {
  const bytes = Uint8Array.of(0xf3, 0x41, 0x90);
  const mnemonicOf = (model: string) => {
    const { has } = new VectorMachine(64, NEVER, { model }).host.processor.model;
    return [...decodeInstructions(bytes, 64, 0, availabilityOf(has))][0]?.mnemonic;
  };
  const byVendor = Object.fromEntries(cpuModels.map((model) => [vendorOf(model), mnemonicOf(model.name)]));
  expect(byVendor).toEqual({ GenuineIntel: 'Pause', AuthenticAMD: 'Xchg' });
  expect(decodeOne(bytes, 64, 0)?.mnemonic).toBe('Pause');
});
