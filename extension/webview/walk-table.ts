/** The walk of a translation as the rows of a table, in the order in which the CPU reads the entries. */
import type { WireTranslation } from '../../debug-adapter/protocol/requests.ts';
import { hex, linear } from '../views/text.ts';

type GuestStep = WireTranslation['steps'][number];
type EptStep = WireTranslation['finalSteps'][number];

export interface WalkRow {
  readonly structure: 'guest' | 'EPT';
  /** `PDE 3`. */
  readonly entry: string;
  /** Where the entry lies, and the memory reference of it; a PDPTE register lies nowhere. */
  readonly place: string;
  readonly reference: string | undefined;
  readonly value: string;
  readonly flags: readonly { readonly text: string; readonly isSet: boolean; readonly doc: string }[];
  readonly leadsTo: string;
  /** What the entries so far allow: `RW-U`. */
  readonly rights: string;
  /** The entry at which the translation ends with a fault. */
  readonly faults: boolean;
}

/** Rows that are read for one purpose, which the heading tells. */
export interface WalkSection {
  readonly heading: string;
  readonly rows: readonly WalkRow[];
}

/** All entries that a translation reads: for each of the guest's first the EPT entries that find it. */
export function walkSections(translation: WireTranslation): WalkSection[] {
  const fault = faultingStep(translation);
  const row = (step: GuestStep | EptStep): WalkRow => walkRow(step, step === fault);
  const { steps, finalSteps, guestPhysical, eptp } = translation;
  if (eptp === undefined) {
    return steps.length === 0 ? [] : [{ heading: 'Paging structures, from CR3', rows: steps.map(row) }];
  }
  const sections = steps.flatMap((step) => guestSections(step, row, translation));
  if (finalSteps.length === 0) return sections;
  const target = guestPhysical === undefined ? 'the next guest entry' : `guest-physical ${hex(guestPhysical)}`;
  return [...sections, { heading: `EPT: where ${target} lies`, rows: finalSteps.map(row) }];
}

type MakeRow = (step: GuestStep | EptStep) => WalkRow;

function guestSections(step: GuestStep, row: MakeRow, { result, finalSteps }: WireTranslation): WalkSection[] {
  const at = step.entryAddress.guestPhysical;
  const place = at === undefined ? '' : ` at guest-physical ${hex(at)}`;
  const sections: WalkSection[] = [];
  if (step.nestedSteps.length > 0) {
    sections.push({ heading: `EPT: where the guest’s ${step.level}${place} lies`, rows: step.nestedSteps.map(row) });
  }
  sections.push({ heading: `Guest: ${step.level}${place}`, rows: [row(step)] });
  const written = step.flagsWrite;
  // A write that EPT refuses ends the walk: its steps are the last ones, and stand there.
  const isLast = result.kind !== 'mapped' && sameSteps(written?.nestedSteps ?? [], finalSteps);
  if (written && written.nestedSteps.length > 0 && !isLast) {
    const heading = `EPT: writing ${written.flags.join(' and ')} to the guest’s ${step.level}`;
    sections.push({ heading, rows: written.nestedSteps.map(row) });
  }
  return sections;
}

const sameSteps = (a: readonly EptStep[], b: readonly EptStep[]): boolean => JSON.stringify(a) === JSON.stringify(b);

function walkRow(step: GuestStep | EptStep, faults: boolean): WalkRow {
  const { entryAddress, entry } = step;
  const { guestPhysical, hostPhysical } = entryAddress;
  return {
    structure: step.table,
    entry: `${step.level} ${step.index}`,
    place: hostPhysical === undefined ? 'register' : hex(hostPhysical),
    reference: referenceOf(guestPhysical, hostPhysical),
    value: hex(step.entryValue, 2 * entry.valueBytes),
    flags: entry.flags.map(({ name, value, doc }) => ({
      text: value > 1 ? `${name}=${value}` : name,
      isSet: value !== 0,
      doc: `${name} = ${value}: ${doc}`,
    })),
    leadsTo: entry.target === undefined ? 'nothing' : `${entry.maps} ${hex(entry.target)}`,
    rights: rightsLetters(step.rights),
    faults,
  };
}

function referenceOf(guestPhysical: number | undefined, hostPhysical: number | undefined): string | undefined {
  if (hostPhysical !== undefined) return `hpa:${hex(hostPhysical)}`;
  return guestPhysical === undefined ? undefined : `gpa:${hex(guestPhysical)}`;
}

function rightsLetters({ read, write, execute, user }: GuestStep['rights'] | EptStep['rights']): string {
  const letter = (name: string, allowed: boolean) => (allowed ? name : '-');
  return letter('R', read) + letter('W', write) + letter('X', execute) + (user === undefined ? '' : letter('U', user));
}

/** The step that the reason of the fault names; without a name the last one that was read. */
function faultingStep({ result, steps, finalSteps }: WireTranslation): GuestStep | EptStep | undefined {
  if (result.kind === 'mapped' || result.kind === 'not canonical') return undefined;
  const candidates: readonly (GuestStep | EptStep)[] = result.kind === 'page fault' ? steps : finalSteps;
  const named = ({ table, level, index }: GuestStep | EptStep) =>
    `${result.because} `.startsWith(`the ${table === 'EPT' ? 'EPT' : "guest's"} ${level} ${index} `);
  return candidates.find(named) ?? candidates.at(-1);
}

/** A stage of the way: an address and its memory, or the fault that ends it. */
export interface Stage {
  readonly name: string;
  readonly address: string;
  readonly reference: string | undefined;
  readonly fault: boolean;
}

interface References {
  readonly linear: string;
  readonly guestPhysical?: string;
  readonly hostPhysical?: string;
}

/** Linear → guest-physical → host-physical, as far as the translation gets. */
export function stages(translation: WireTranslation, references: References): Stage[] {
  const { result, guestPhysical, eptp } = translation;
  const ok = { fault: false };
  const found: Stage[] = [{ name: 'Linear', address: linear(translation.linear), reference: references.linear, ...ok }];
  if (eptp !== undefined && guestPhysical !== undefined) {
    found.push({ name: 'Guest-physical', address: hex(guestPhysical), reference: references.guestPhysical, ...ok });
  }
  if (result.kind === 'mapped') {
    const name = eptp === undefined ? 'Physical' : 'Host-physical';
    found.push({ name, address: hex(result.physical), reference: references.hostPhysical, ...ok });
  } else {
    found.push({ name: faultName(result), address: result.because, reference: undefined, fault: true });
  }
  return found;
}

type Result = WireTranslation['result'];

function faultName(result: Exclude<Result, { kind: 'mapped' }>): string {
  if (result.kind === 'page fault') return `Page fault, error code ${hex(result.code.value)}`;
  if (result.kind === 'nested page fault') return `Nested page fault, error code ${hex(result.code.value)}`;
  if (result.kind === 'EPT violation') return `EPT violation, qualification ${hex(result.qualification.value)}`;
  return result.kind === 'EPT misconfiguration' ? 'EPT misconfiguration' : 'Not canonical';
}

/** The bits of an error code or a qualification, in words. */
export function faultBits(result: Result): readonly string[] {
  if (result.kind === 'page fault') return result.code.bits;
  return result.kind === 'EPT violation' ? result.qualification.bits : [];
}
