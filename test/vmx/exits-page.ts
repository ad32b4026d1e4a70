/** docs/vm-exits.md, from the tables of the engine and of the tests; and what these leave out. */
import { type ExitReasonName, exitReasonTable } from '../../engine/vmx/exit-reasons.ts';
import { casesElsewhere, exitCases } from './exit-cases.ts';
import {
  type ExitPart,
  impossibleReasons,
  informationFormats,
  interruptionParts,
  qualificationParts,
  vectoringParts,
} from './exit-parts.ts';
import { informationCases } from './information-cases.ts';

/** A value that a test shows, and the name of that test. */
interface Shown {
  readonly value: bigint;
  readonly by: string;
}

const partOf = (value: bigint, { high, low }: ExitPart): number =>
  Number((value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n));
const bitsOf = ({ high, low }: ExitPart): string => (high === low ? String(high) : `${high}:${low}`);

/** Values of the part that nothing shows. */
function missing(part: ExitPart, shown: readonly Shown[]): number[] {
  const found = new Set(shown.map(({ value }) => partOf(value, part)));
  if (part.never !== undefined) return [];
  if (part.values) return part.values.filter((value) => !found.has(value));
  return [...found].some((value) => value !== 0) ? [] : [1];
}

const qualificationsOf = (reason: ExitReasonName): Shown[] => [
  ...exitCases
    .filter((exitCase) => exitCase.reason === reason)
    .map(({ name, qualification = 0 }) => ({ value: BigInt(qualification), by: name })),
  ...informationCases
    .filter((information) => information.reason === reason)
    .flatMap(({ name, rows }) =>
      rows.map(({ qualification = 0n }) => ({ value: BigInt.asUintN(64, qualification), by: name })),
    ),
];
const informationOf = (format: string): Shown[] =>
  informationCases
    .filter((information) => information.format === format)
    .flatMap(({ name, rows }) => rows.map(({ information }) => ({ value: BigInt(information), by: name })));
const shownBy = (field: 'interruption' | 'vectoring'): Shown[] =>
  exitCases.map((exitCase) => ({ value: BigInt(exitCase[field] ?? 0), by: `${exitCase.reason}: ${exitCase.name}` }));

const gapsIn = (what: string, parts: readonly (ExitPart | undefined)[], shown: readonly Shown[]): string[] =>
  parts.flatMap((part) => (part ? missing(part, shown).map((value) => `${what}, ${part.name}: ${value}`) : []));

const isShown = (reason: ExitReasonName): boolean =>
  qualificationsOf(reason).length > 0 || casesElsewhere.some((elsewhere) => elsewhere.reason === reason);

/** Whatever has no test. */
export function gaps(): string[] {
  const reasons = exitReasonTable.map(({ name }) => name);
  return [
    ...reasons.filter((reason) => isShown(reason) === (impossibleReasons[reason] !== undefined)),
    ...reasons
      .filter((reason) => !casesElsewhere.some((elsewhere) => elsewhere.reason === reason))
      .flatMap((reason) => gapsIn(reason, qualificationParts[reason] ?? [], qualificationsOf(reason))),
    ...Object.entries(informationFormats).flatMap(([format, parts]) => gapsIn(format, parts, informationOf(format))),
    ...gapsIn('interruption information', interruptionParts, shownBy('interruption')),
    ...gapsIn('IDT-vectoring information', vectoringParts, shownBy('vectoring')),
  ];
}

/** Tests beyond this many are counted, not named. */
const NAMED = 4;
function namesOf(shown: readonly Shown[]): string {
  const names = [...new Set(shown.map(({ by }) => by))];
  const more = names.length - NAMED;
  return more > 1 ? `${names.slice(0, NAMED).join('; ')}; ${more} more` : names.join('; ');
}

const partRow = (part: ExitPart, shown: readonly Shown[]): string => {
  const tests = shown.filter(({ value }) => partOf(value, part) !== 0);
  return `| ${bitsOf(part)} | ${part.name} | ${part.never === undefined ? namesOf(tests) : `always 0: ${part.never}`} |`;
};
const partTable = (parts: readonly (ExitPart | undefined)[], shown: readonly Shown[]): string[] => [
  '| bits | meaning | tests in which it is not 0 |',
  '|---|---|---|',
  ...parts.flatMap((part) => (part ? [partRow(part, shown)] : [])),
  '',
];

function reasonRow({ number, name }: { readonly number: number; readonly name: ExitReasonName }): string {
  const impossible = impossibleReasons[name];
  const elsewhere = casesElsewhere
    .filter(({ reason }) => reason === name)
    .map(({ file, title }) => `${title} (${file})`);
  const tests = [...elsewhere, namesOf(qualificationsOf(name))].filter((test) => test !== '').join('; ');
  return `| ${number} | ${name} | ${impossible === undefined ? tests : `cannot come: ${impossible}`} |`;
}

/** The whole page. */
export function exitsPage(): string {
  return [
    '# VM exits, bit by bit',
    '',
    'Made by `npx vitest run test/vmx/exits.test.ts -u` from the tables of the engine and of the tests. Each test bears the name',
    'of the exit reason and the one given here (`test/vmx/exits.test.ts`, unless another file is named); it compares the whole exit',
    'qualification, interruption information and IDT-vectoring information. That each value of each part is shown is a test too.',
    '',
    '## Exit reasons',
    '',
    '| number | exit reason | tests |',
    '|---|---|---|',
    ...exitReasonTable.map(reasonRow),
    '',
    '## Exit qualifications',
    '',
    'Those of exit reasons that are not here are 0.',
    '',
    ...Object.entries(qualificationParts).flatMap(([reason, parts]) => [
      `### ${reason}`,
      '',
      ...partTable(parts, qualificationsOf(reason as ExitReasonName)),
    ]),
    '## VM-exit instruction information',
    '',
    ...Object.entries(informationFormats).flatMap(([format, parts]) => [
      `### ${format}`,
      '',
      ...partTable(parts, informationOf(format)),
    ]),
    '## VM-exit interruption information',
    '',
    ...partTable(interruptionParts, shownBy('interruption')),
    '## IDT-vectoring information',
    '',
    ...partTable(vectoringParts, shownBy('vectoring')),
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}
