/** Which instructions there are, which of them the engine executes, and what they were held against: docs/instructions.md. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Code, CodeExt, Instruction, Mnemonic } from 'iced-x86';
import { createCpuModel } from '../../engine/cpu/model.ts';
import { systemInstructions } from '../../engine/cpu/system-table.ts';
import { decoderFeatures, featuresOf } from '../../engine/isa/availability.ts';
import { instructionSet } from '../../engine/isa/instruction-set.ts';
import { firstDifference } from '../lockstep/compare.ts';
import { departuresOf, recordedGuest } from '../lockstep/named-guests.ts';
import { GUESTS, readRecorded } from '../lockstep/traces.ts';
import { svmGuests } from '../svm/svm-guests.ts';
import { systemGuests } from '../system/system-guests.ts';
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
    const features = decoderFeatures(instruction);
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

/** Keys `mode form`, of the forms that recorded lockstep runs execute. */
export function steppedForms(): ReadonlySet<string> {
  const forms = new Set<string>();
  const onInstruction = (mode: Mode, code: number): void => void forms.add(`${mode} ${Code[code]}`);
  for (const [name, judge] of Object.entries(GUESTS)) {
    const departures = departuresOf(name, judge);
    const difference = firstDifference(recordedGuest(name), readRecorded(name), { departures, onInstruction });
    if (difference !== undefined) throw new Error(difference);
  }
  return forms;
}

/** Tests that name instructions in their sources, by folder, the judged ones first. */
const TOPICS = ['system', 'cpu', 'svm', 'vmx', 'mmu', 'machine', 'exec', 'isa'] as const;

/** The first folder of tests whose sources have the mnemonic as a word. */
export function topicNaming(): (mnemonic: string) => string | undefined {
  const texts = TOPICS.map((topic) => [`test/${topic}`, wordsIn(`test/${topic}`)] as const);
  return (mnemonic) => texts.find(([, words]) => words.has(mnemonic.toLowerCase()))?.[0];
}

function wordsIn(folder: string): ReadonlySet<string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.(asm|inc|ts|c)$/.test(file),
  );
  const text = files.map((file) => readFileSync(path.join(folder, file), 'utf8')).join('\n');
  return new Set(text.toLowerCase().match(/\w+/g));
}

/** What instructions were held against. */
export interface Proof {
  /** See `recordedVectors`, `steppedForms` and `topicNaming`. */
  readonly vectors: ReadonlyMap<string, number>;
  readonly stepped: ReadonlySet<string>;
  readonly topic: (mnemonic: string) => string | undefined;
}

/** The page. */
export function instructionPage(all: readonly InstructionCoverage[], proof: Proof): string {
  const groups = groupBy(all, ({ group }) => group);
  const executed = [...groups].filter(([, forms]) => forms.some(({ isAnnounced }) => isAnnounced));
  const others = [...groups].filter(([, forms]) => !forms.some(({ isAnnounced }) => isAnnounced));
  return [
    '# Instructions',
    '',
    'Made by `npx vitest run test/isa/coverage.test.ts -u` from the tables of the engine, the recorded vectors and lockstep runs.',
    '',
    'What Ringside executes, by the CPUID feature that it belongs to: how many encodings (forms) there are, how many have their',
    'semantics *written once* (run by interpreter and compiler, and evaluated with BigInt in tests) and how many are a *function* of',
    'the CPU state; and in each mode, how many forms are held against vectors that were recorded from a real CPU, of how many; after a',
    '+, how many of the others are stepped beside KVM or QEMU (`test/lockstep`). 16-bit code is that of real-address mode, 32-bit code',
    'that of protected or compatibility mode. Vectors come from ring 3, steps from rings 0 and 3. Besides, `npm run fuzz` holds all',
    'but system instructions against the CPU that it runs on, in all sizes of code, `test/isa/decoder-property` whatever bytes against',
    'the decoder.',
    '',
    '| feature | forms | written once | function | 16-bit | 32-bit | 64-bit | vectors |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
    ...executed.map(([group, forms]) => row(group, forms, proof)),
    '',
    '## Held by other tests',
    '',
    'Instructions that have neither vectors nor steps in any mode, and the first tests whose sources name them: in `test/system` and',
    '`test/svm` mostly guests that Bochs or QEMU judges, see below, in the others tests against the manual.',
    '',
    '| tests | instructions |',
    '|---|---|',
    ...otherTests(all, proof),
    '',
    '## System behaviour',
    '',
    'Guests that print what comes of what they try: in Ringside as in the judges, which are emulators as well (Bochs 2.7, QEMU 7.2);',
    'their headers cite the manual, and say what is not asked as a judge departs from it.',
    '',
    '| guest | judges | about |',
    '|---|---|---|',
    ...judgedGuests(),
    '',
    '## What is not there',
    '',
    'An instruction of a feature that CPUID does not announce stops the machine visibly, by its name; if `cpu.model` or `cpu.features`',
    'is given it raises #UD, as on a CPU without it:',
    '',
    '| feature | forms | instructions |',
    '|---|---:|---|',
    ...missing(others.flatMap(([, forms]) => forms)),
    '',
  ].join('\n');
}

/** A row for each judged guest, with what its source begins with. */
function judgedGuests(): string[] {
  const system = systemGuests.map(([name, judges]) => [`test/system/guests/${name}.asm`, judges] as const);
  const svm = svmGuests.map((name) => [`test/svm/guests/${name}.asm`, ['qemu']] as const);
  return [...system, ...svm].map(([file, judges]) => {
    const [about = ''] = readFileSync(file, 'utf8').split('\n;\n');
    const names = judges.map((judge) => ({ bochs: 'Bochs', qemu: 'QEMU' })[judge]).join(', ');
    return `| [${path.basename(file, '.asm')}](../${file}) | ${names} | ${about.replace(/^; /gm, '').replaceAll('\n', ' ')} |`;
  });
}

function otherTests(all: readonly InstructionCoverage[], { vectors, stepped, topic }: Proof): string[] {
  const isHeld = ({ form }: InstructionCoverage): boolean =>
    MODES.some((mode) => vectors.has(`${mode} ${form}`) || stepped.has(`${mode} ${form}`));
  const byMnemonic = groupBy(
    all.filter(({ isAnnounced }) => isAnnounced),
    ({ mnemonic }) => mnemonic,
  );
  const names = [...byMnemonic].filter(([, forms]) => !forms.some(isHeld)).map(([mnemonic]) => mnemonic);
  const rows = groupBy(names, (mnemonic) => topic(mnemonic) ?? 'only the fuzz and the decoder property');
  return [...rows].map(([tests, mnemonics]) => `| ${tests} | ${mnemonics.map(upper).sort().join(', ')} |`).sort();
}

const SHOWN = 8;
const upper = (mnemonic: string): string => mnemonic.toUpperCase();

/** A row for each family of features. */
function missing(forms: readonly InstructionCoverage[]): string[] {
  const families = groupBy(forms, ({ group }) =>
    group.includes('AVX512') ? 'AVX-512' : group.replace(/^AMX_\w+/, 'AMX'),
  );
  return [...families].map(([family, members]) => {
    const mnemonics = [...new Set(members.map(({ mnemonic }) => upper(mnemonic)))].sort();
    const more = mnemonics.length > SHOWN ? ` and ${mnemonics.length - SHOWN} more` : '';
    return `| ${family} | ${members.length} | ${mnemonics.slice(0, SHOWN).join(', ')}${more} |`;
  });
}

function row(group: string, forms: readonly InstructionCoverage[], { vectors, stepped }: Proof): string {
  const by = (kind: InstructionCoverage['execution']) => forms.filter(({ execution }) => execution === kind).length;
  const recorded = (mode: Mode) => {
    const inMode = forms.filter(({ modes }) => modes.includes(mode));
    const [held, others] = partition(inMode, ({ form }) => vectors.has(`${mode} ${form}`));
    const beside = others.filter(({ form }) => stepped.has(`${mode} ${form}`)).length;
    return `${held.length}${beside > 0 ? ` + ${beside}` : ''} of ${inMode.length}`;
  };
  const total = forms.flatMap(({ form }) => MODES.map((mode) => vectors.get(`${mode} ${form}`) ?? 0));
  const cells = [forms.length, by('written once'), by('function'), ...MODES.map(recorded)];
  return `| ${[group, ...cells, total.reduce((sum, count) => sum + count, 0)].join(' | ')} |`;
}

const partition = <T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] => [
  all.filter(test),
  all.filter((one) => !test(one)),
];

function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const group = groups.get(keyOf(one));
    if (group) group.push(one);
    else groups.set(keyOf(one), [one]);
  }
  return groups;
}
