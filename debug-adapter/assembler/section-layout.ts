/** Where the sections lie, in the image and by what their code believes. */
import { hex } from '../hexadecimal.ts';
import { MAXIMUM_IMAGE_BYTES, type Section } from './section.ts';
import type { SourceRange } from './source.ts';

/** Where a section was put. */
export interface PlacedSection {
  readonly section: Section;
  /** Where it lies in memory when the image is loaded at its origin. */
  readonly start: number;
  /** Where its code believes to be. */
  readonly vstart: number;
}

export interface Layout {
  readonly placed: readonly PlacedSection[];
  readonly origin: number;
}

type Report = (range: SourceRange, message: string) => void;

const DEFAULT_ALIGNMENT = 4;

/**
 * Places the sections as NASM's flat binary format does ("Multisection Support for the bin Format" in its manual):
 * sections with contents in the order of their appearance, moved by `follows=` and `start=`; then those without.
 */
export function layOut(sections: readonly Section[], origin: number | undefined, report: Report): Layout {
  const progbits = orderByStart(
    orderByFollows(
      sections.filter((section) => !section.isNobits),
      report,
    ),
  );
  const starts = new Map<Section, number>();
  const vstarts = new Map<Section, number>();
  const imageOrigin = origin ?? progbits[0]?.attributes.start ?? 0;
  let end = imageOrigin;
  for (const [index, section] of progbits.entries()) {
    const start = section.attributes.start ?? alignedStart(section, end, index === 0);
    checkStart(section, start, end, imageOrigin, report);
    starts.set(section, start);
    const { vstart, vfollows, valign } = section.attributes;
    if (vstart !== undefined) vstarts.set(section, vstart);
    else if (vfollows === undefined) vstarts.set(section, valign === undefined ? start : align(end, valign));
    if (start >= end) end = start + section.length;
  }
  placeVirtually(sections, progbits, starts, vstarts, report);
  const placed = sections.map((section) => ({
    section,
    start: starts.get(section) ?? 0,
    vstart: vstarts.get(section) ?? starts.get(section) ?? 0,
  }));
  return { placed: inOutputOrder(placed, progbits), origin: imageOrigin };
}

function checkStart(section: Section, start: number, end: number, origin: number, report: Report): void {
  const { name, range, length } = section;
  if (start < end && length > 0) {
    report(range, `section ${name} starts at ${hex(start)}, but the code before it reaches ${hex(end)}`);
  }
  if (start < origin) report(range, `section ${name} starts at ${hex(start)}, before the origin ${hex(origin)}`);
  if (start + length - origin > MAXIMUM_IMAGE_BYTES) {
    report(range, `section ${name} at ${hex(start)} makes the image longer than ${MAXIMUM_IMAGE_BYTES} bytes`);
  }
}

function inOutputOrder(placed: readonly PlacedSection[], progbits: readonly Section[]): PlacedSection[] {
  const rank = (one: PlacedSection): number => {
    const index = progbits.indexOf(one.section);
    return index < 0 ? progbits.length : index;
  };
  return [...placed].sort((a, b) => rank(a) - rank(b));
}

function alignedStart(section: Section, end: number, isFirst: boolean): number {
  const alignment = section.attributes.align ?? (isFirst ? 1 : DEFAULT_ALIGNMENT);
  return align(end, alignment);
}

function align(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** Moves every section with `follows=`, and the ones behind it that say nothing, after the one it follows. */
function orderByFollows(sections: readonly Section[], report: Report): Section[] {
  const order = [...sections];
  for (const section of sections) {
    const { follows } = section.attributes;
    if (follows === undefined) continue;
    const at = order.indexOf(section);
    if (order[at - 1]?.name === follows) continue;
    let count = 1;
    while (at + count < order.length && startsGroup(order[at + count]) === false) count++;
    const group = order.splice(at, count);
    const target = order.findIndex((one) => one.name === follows);
    if (target < 0) {
      report(section.range, `section ${section.name} follows ${follows}, which is no section with contents`);
      order.splice(at, 0, ...group);
    } else order.splice(target + 1, 0, ...group);
  }
  return order;
}

function startsGroup(section: Section | undefined): boolean {
  return section?.attributes.follows !== undefined || section?.attributes.start !== undefined;
}

/** Sorts the groups that begin with a section of a given start; sections without one stay with their group. */
function orderByStart(sections: readonly Section[]): Section[] {
  const groups: Section[][] = [];
  for (const section of sections) {
    const last = groups.at(-1);
    if (last && section.attributes.start === undefined) last.push(section);
    else groups.push([section]);
  }
  const sorted: Section[][] = [];
  for (const group of groups) {
    const start = group[0]?.attributes.start ?? 0;
    const before = sorted.findIndex((one) => (one[0]?.attributes.start ?? -1) > start);
    sorted.splice(before < 0 ? sorted.length : before, 0, group);
  }
  return sorted.flat();
}

/** Gives a virtual start to sections without contents, and to those with `vfollows=`. */
function placeVirtually(
  sections: readonly Section[],
  progbits: readonly Section[],
  starts: Map<Section, number>,
  vstarts: Map<Section, number>,
  report: Report,
): void {
  const pending = sections.filter((section) => !vstarts.has(section));
  let progress = true;
  while (pending.length > 0 && progress) {
    progress = false;
    for (const section of [...pending]) {
      const vstart = virtualStart(section, sections, progbits, vstarts);
      if (vstart === undefined) continue;
      vstarts.set(section, vstart);
      if (section.isNobits) starts.set(section, vstart);
      pending.splice(pending.indexOf(section), 1);
      progress = true;
    }
  }
  for (const section of pending) {
    report(section.range, `section ${section.name} has no start: its vfollows= names no section or goes in a circle`);
  }
}

function virtualStart(
  section: Section,
  sections: readonly Section[],
  progbits: readonly Section[],
  vstarts: ReadonlyMap<Section, number>,
): number | undefined {
  const { attributes } = section;
  // For a section without contents real and virtual attributes mean the same.
  const explicit = attributes.vstart ?? (section.isNobits ? attributes.start : undefined);
  if (explicit !== undefined) return explicit;
  const name = attributes.vfollows ?? (section.isNobits ? attributes.follows : undefined);
  const index = sections.indexOf(section);
  const previous = section.name === '.bss' ? progbits.at(-1) : sections[index - 1];
  const before = name === undefined ? previous : sections.find((one) => one.name === name);
  const beforeStart = before && vstarts.get(before);
  if (!before || beforeStart === undefined) return undefined;
  const alignment = attributes.valign ?? (section.isNobits ? attributes.align : undefined) ?? DEFAULT_ALIGNMENT;
  return align(beforeStart + before.length, alignment);
}
