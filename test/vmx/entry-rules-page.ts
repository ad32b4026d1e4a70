/** docs/vm-entry-rules.md, from the tables of the engine and of the tests. */
import { type ControlGroup, controlGroups } from '../../engine/vmx/controls.ts';
import type { EntryRule } from '../../engine/vmx/entry-checks/entry-rule.ts';
import { controlRules, entryRules, guestRules, hostRules } from '../../engine/vmx/entry-checks/rules.ts';
import { type Violation, violations } from './entry-rule-violations.ts';
import { cases } from './judged/cases.ts';
import { differences } from './judged/differences.ts';
import { type NearestState, nearestState } from './nearest-states.ts';

const hex = (value: bigint | number): string => `${BigInt.asUintN(64, BigInt(value)).toString(16).toUpperCase()}H`;

function stateOf({ values = {}, prepare }: Violation | NearestState): string {
  const fields = Object.entries(values).map(([name, value]) => `${name} = ${hex(value)}`);
  return [...fields, ...(prepare ? ['a change outside of the VMCS'] : [])].join('; ');
}

function outcomeOf(rule: EntryRule): string {
  if (controlRules.includes(rule)) return 'VMfail 7';
  if (hostRules.includes(rule)) return 'VMfail 8';
  return `exit 33, qualification ${rule.qualification ?? 0}`;
}

const row = (rule: EntryRule): string => {
  const violation = violations[rule.id];
  return `| \`${rule.id}\` | ${rule.text} | ${outcomeOf(rule)} | ${violation ? stateOf(violation) : 'none'} | ${stateOf(nearestState(rule.id))} |`;
};

function sections(rules: readonly EntryRule[]): string[] {
  const titles = [...new Set(rules.map(({ section }) => section))];
  return titles.flatMap((title) => [
    `### ${title}`,
    '',
    '| rule | what the manual demands | if it is broken | broken in its tests by | passes with |',
    '|---|---|---|---|---|',
    ...rules.filter(({ section }) => section === title).map(row),
    '',
  ]);
}

function controlTable(): string[] {
  return Object.values(controlGroups).flatMap(({ field, controls }: ControlGroup) => {
    const names = (supported: boolean): string =>
      controls
        .filter((control) => control.supported === supported)
        .map(({ name, bit }) => `${name} (${bit})`)
        .join(', ');
    return [`| ${field} | ${names(true)} | ${names(false)} |`];
  });
}

/** What Bochs says of them. */
function judgementSection(): string[] {
  const unasked = cases.filter(({ built }) => built.reason !== undefined);
  const reasonOf = ({ name, built }: (typeof cases)[number]): string => `| ${name} | ${built.reason} |`;
  return [
    '## Judged by Bochs',
    '',
    'A bare guest (`test/vmx/judged`) brings about the broken and the nearest state of each rule and prints what VMLAUNCH does. Bochs 2.7',
    '(`corei7_skylake_x`) and Ringside print the same (`judged-entry-rules`), with these differences, where Ringside keeps to the manual.',
    'Of random states that break some rules the outcome is the same, too.',
    '',
    '| state | of Bochs |',
    '|---|---|',
    ...Object.entries(differences).map(([name, reason]) => `| ${name} | ${reason} |`),
    '',
    'Not asked, as a guest cannot, or would not come back:',
    '',
    '| state | why |',
    '|---|---|',
    ...unasked.map(reasonOf),
    '',
  ];
}

/** The whole page. */
export function entryRulesPage(): string {
  return [
    '# VM entry: controls and rules',
    '',
    'Made by `npx vitest run test/vmx/entry-rules.test.ts -u` from the tables of the engine and of the tests.',
    '',
    '## Controls',
    '',
    'With their bit numbers. What the CPU does not offer, the capability MSRs do not allow to be 1, and the fields that go with',
    'it do not exist.',
    '',
    '| field | offered | not offered |',
    '|---|---|---|',
    ...controlTable(),
    '',
    `## The ${entryRules.length} rules`,
    '',
    'In the order in which the processor checks them, by the sections of volume 3 of the SDM. Each has tests in',
    '`test/vmx` that bear its name: a valid VMCS with the change in the fourth column breaks this rule and no other that it could',
    'help breaking (`entry-rules`); VMLAUNCH then does what the third column says (`entry-rules`); and where a write to the VMCS',
    'can break it, it does so as well after a VM entry that passed (`checked-again`). With the change in the last column besides,',
    'which is the smallest that does it, VM entry passes all checks (`entry-rules`), as valid VMCSs of several kinds do.',
    '',
    ...sections([...controlRules, ...hostRules, ...guestRules]),
    ...judgementSection(),
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}
