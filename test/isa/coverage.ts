/** Which instructions there are, which of them the engine executes, and what they were held against: docs/instructions.md. */
import { Code, CodeExt, CpuidFeature, Instruction, Mnemonic } from 'iced-x86';
import { createCpuModel } from '../../engine/cpu/model.ts';
import { systemInstructions } from '../../engine/cpu/system-table.ts';
import { featuresOf } from '../../engine/isa/availability.ts';
import { instructionSet } from '../../engine/isa/instruction-set.ts';
import { vectorGroups, vectorText } from '../vectors/read-vectors.ts';

const MODES = [16, 32, 64] as const;
type Mode = (typeof MODES)[number];

export interface InstructionCoverage {
  /** iced-x86's Code, an instruction form, and its mnemonic. */
  readonly form: string;
  readonly mnemonic: string;
  /** As the manual groups it: the decoder's names of the CPUID features. */
  readonly group: string;
  /** Whether the model with everything announces all features that the form needs. */
  readonly isAnnounced: boolean;
  readonly execution: 'written once' | 'function' | undefined;
  readonly modes: readonly Mode[];
}

/** Forms that the decoder never answers with: WAIT and what follows it are two instructions. */
const withWait = new Set(['Fstenv', 'Fstcw', 'Feni', 'Fdisi', 'Fclex', 'Finit', 'Fsave', 'Fstsw', 'Fsetpm']);
/** No processor of today has them; they are told apart by options of the decoder that are off. */
const historic =
  /_ONLY$|^CYRIX|^PADLOCK|^CENTAUR|^D3NOW|^KNC$|^IA64$|^MPX$|^OSS$|^UDBG$|^MOV_TR$|^UMOV$|^FPU387SL|^INTEL486_A/;

/** Every instruction form of the decoder that a processor of today could have. */
export function allInstructions(vmx: readonly string[]): InstructionCoverage[] {
  const { has } = createCpuModel({ localApic: true, vmx: true, processors: 2 });
  const names = Object.keys(Code).filter((name) => Number.isNaN(Number(name)));
  return names.flatMap((form) => coverageOf(form, has, vmx) ?? []);
}

function coverageOf(form: string, has: (feature: string) => boolean, vmx: readonly string[]) {
  const code = Code[form as keyof typeof Code] as unknown as Code;
  const info = CodeExt.opCode(code);
  const instruction = new Instruction();
  try {
    instruction.code = code;
    const features = Array.from(instruction.cpuidFeatures(), (feature) => CpuidFeature[feature] as string);
    const mnemonic = Mnemonic[instruction.mnemonic] as string;
    const isOld = features.some((feature) => historic.test(feature)) || withWait.has(mnemonic);
    if (!info.isInstruction || isOld || mnemonic === 'INVALID') return undefined;
    const needed = featuresOf(instruction);
    const coverage: InstructionCoverage = {
      form,
      mnemonic,
      group: features.join(' + '),
      isAnnounced: needed.every(has),
      execution: executionOf(mnemonic, vmx),
      modes: MODES.filter((mode) => info[`mode${mode}`]),
    };
    return coverage;
  } finally {
    info.free();
    instruction.free();
  }
}

function executionOf(mnemonic: string, vmx: readonly string[]): InstructionCoverage['execution'] {
  if (instructionSet[mnemonic]) return 'written once';
  return systemInstructions[mnemonic] || vmx.includes(mnemonic) ? 'function' : undefined;
}

/** How many vectors from a real CPU there are, by mode and form. */
export function recordedVectors(): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const group of vectorGroups()) {
    const mode = group.split('-')[0];
    let form = '';
    for (const line of vectorText(group).split('\n')) {
      if (line.startsWith('form ')) form = line.split(' ')[1] ?? '';
      else if (line.startsWith(' ')) counts.set(`${mode} ${form}`, (counts.get(`${mode} ${form}`) ?? 0) + 1);
    }
  }
  return counts;
}

/** The page. */
export function instructionPage(all: readonly InstructionCoverage[], vectors: ReadonlyMap<string, number>): string {
  const groups = groupBy(all);
  const executed = [...groups].filter(([, forms]) => forms.some(({ isAnnounced }) => isAnnounced));
  const others = [...groups].filter(([, forms]) => !forms.some(({ isAnnounced }) => isAnnounced));
  return [
    '# Instructions',
    '',
    'Made by `npx vitest run test/isa/coverage.test.ts -u` from the tables of the engine and the recorded vectors.',
    '',
    'What Ringside executes, by the CPUID feature that it belongs to: how many encodings (forms) there are, how many have their',
    'semantics *written once* (run by interpreter and compiler, and evaluated with BigInt in tests) and how many are a *function* of',
    'the CPU state; and in each mode, how many forms are held against vectors that were recorded from a real CPU, of how many.',
    'System instructions are held against Bochs by guests (`test/system`), and against the manual by tests (`test/cpu`, `test/vmx`).',
    '',
    '| feature | forms | written once | function | 16-bit | 32-bit | 64-bit | vectors |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
    ...executed.map(([group, forms]) => row(group, forms, vectors)),
    '',
    '## What is not there',
    '',
    'An instruction of a feature that CPUID does not announce stops the machine visibly, by its name; if `cpu.model` or `cpu.features`',
    'is given it raises #UD, as on a CPU without it:',
    '',
    `${others.map(([group, forms]) => `${group} (${forms.length})`).join(', ')}.`,
    '',
  ].join('\n');
}

function row(group: string, forms: readonly InstructionCoverage[], vectors: ReadonlyMap<string, number>): string {
  const by = (kind: InstructionCoverage['execution']) => forms.filter(({ execution }) => execution === kind).length;
  const recorded = (mode: Mode) => {
    const inMode = forms.filter(({ modes }) => modes.includes(mode));
    const held = inMode.filter(({ form }) => vectors.has(`${mode} ${form}`));
    return `${held.length} of ${inMode.length}`;
  };
  const total = forms.flatMap(({ form }) => MODES.map((mode) => vectors.get(`${mode} ${form}`) ?? 0));
  const cells = [forms.length, by('written once'), by('function'), ...MODES.map(recorded)];
  return `| ${[group, ...cells, total.reduce((sum, count) => sum + count, 0)].join(' | ')} |`;
}

function groupBy(all: readonly InstructionCoverage[]): Map<string, InstructionCoverage[]> {
  const groups = new Map<string, InstructionCoverage[]>();
  for (const one of all) {
    const group = groups.get(one.group);
    if (group) group.push(one);
    else groups.set(one.group, [one]);
  }
  return groups;
}
