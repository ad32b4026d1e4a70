/** Which entry of which EPT table made an access exit: the walk of a guest-physical address, in words. Peeks only. */
import { hex } from '../cpu/hexadecimal.ts';
import type { PhysicalMemory } from '../mmu/physical-memory.ts';
import { eptWalkLength } from '../mmu/walk.ts';

/** An EPT entry that was read on the way. */
interface Step {
  readonly level: string;
  readonly index: number;
  /** Host-physical. */
  readonly address: number;
  readonly value: bigint;
  readonly isPage: boolean;
}

/** From the page up. */
const levels = ['PTE', 'PDE', 'PDPTE', 'PML4E', 'PML5E'] as const;
const PAGE_SIZE = 0x80n;
const TABLE = 0xf_ffff_ffff_f000n;
const RESERVED_MEMORY_TYPES: readonly number[] = [2, 3, 7];
const rightNames = [
  { bit: 0n, name: 'R', words: 'reads' },
  { bit: 1n, name: 'W', words: 'writes' },
  { bit: 2n, name: 'X', words: 'instruction fetches' },
] as const;
const USER_EXECUTE = 10n;

const bitOf = (value: bigint, bit: bigint): boolean => ((value >> bit) & 1n) === 1n;

/** The entries that translate a guest-physical address, up to the first that does not lead on. */
function walk(physical: PhysicalMemory, eptp: bigint, guestPhysical: bigint): Step[] {
  const steps: Step[] = [];
  let table = eptp & TABLE;
  for (let depth = Math.min(eptWalkLength(Number(eptp & 0xfffn)), levels.length) - 1; depth >= 0; depth--) {
    const index = Number((guestPhysical >> BigInt(12 + 9 * depth)) & 511n);
    const address = Number(table) + index * 8;
    if (!physical.isRam(address, 8)) return steps;
    const value = physical.view.getBigUint64(address, true);
    const isPage = depth === 0 || (depth <= 2 && (value & PAGE_SIZE) !== 0n);
    steps.push({ level: levels[depth] as string, index, address, value, isPage });
    if (isPage || !isPresent(value)) return steps;
    table = value & TABLE;
  }
  return steps;
}

/** Any right makes an entry present. Bit 10 is one only with mode-based execute control; alone it is of no use. */
const isPresent = (value: bigint): boolean => (value & 7n) !== 0n;

const letters = (value: bigint): string => rightNames.map(({ bit, name }) => (bitOf(value, bit) ? name : '-')).join('');
const nameOf = ({ level, index }: Step): string => `${level} ${index}`;
const describe = (step: Step): string =>
  `${nameOf(step)} at host-physical ${hex(step.address)} is ${hex(step.value)} (${letters(step.value)})`;

/**
 * Why EPT did not allow an access, as paragraphs: the entries on the way, and the one that denies.
 *
 * @param qualification of the EPT violation
 * @param modeBased whether "mode-based execute control for EPT" is 1
 */
export function explainEptViolation(
  physical: PhysicalMemory,
  eptp: bigint,
  guestPhysical: bigint,
  qualification: bigint,
  modeBased: boolean,
): string[] {
  const steps = walk(physical, eptp, guestPhysical);
  return [wayTo(steps, eptp, guestPhysical), verdict(steps, qualification, modeBased)];
}

function wayTo(steps: readonly Step[], eptp: bigint, guestPhysical: bigint): string {
  const way = steps.map(describe).join('; ');
  return `EPT entries for guest-physical ${hex(guestPhysical)}, from EPTP ${hex(eptp)}: ${way || 'the root table lies outside of memory'}.`;
}

function verdict(steps: readonly Step[], qualification: bigint, modeBased: boolean): string {
  const last = steps.at(-1);
  if (!last) return 'There is no entry to read.';
  if (!isPresent(last.value) && !(modeBased && bitOf(last.value, USER_EXECUTE))) {
    return `${nameOf(last)} is not present (R, W and X are all 0): nothing is mapped there.`;
  }
  const needed = rightNames.filter(({ bit }) => bitOf(qualification, bit));
  for (const { bit, name, words } of needed) {
    const denier = steps.find(({ value }) => !bitOf(value, bit));
    if (denier)
      return `${nameOf(denier)} denies ${words}: its bit ${bit} (${name}) is 0. The access needs it to be 1 in every entry.`;
    const user = modeBased && name === 'X' ? steps.find(({ value }) => !bitOf(value, USER_EXECUTE)) : undefined;
    if (user)
      return `${nameOf(user)} denies user-mode instruction fetches: its bit 10 (XU) is 0, with "mode-based execute control for EPT".`;
  }
  if (!last.isPage) return `${nameOf(last)} leads to a table outside of memory.`;
  return 'These entries allow the access now: the processor used a translation that it had cached before they were changed. INVEPT after each change that takes effect at once is missing (the violation itself has dropped the translation), or sub-page permissions deny it.';
}

/** What is wrong with the entry that an EPT misconfiguration met, after the entries on the way. */
export function explainEptMisconfiguration(physical: PhysicalMemory, eptp: bigint, guestPhysical: bigint): string[] {
  const steps = walk(physical, eptp, guestPhysical);
  const wrong = steps.find((step) => fault(step) !== undefined) ?? steps.at(-1);
  const because = wrong && (fault(wrong) ?? 'has a reserved bit set');
  return [wayTo(steps, eptp, guestPhysical), ...(wrong ? [`${nameOf(wrong)} ${because}.`] : [])];
}

function fault({ value, isPage }: Step): string | undefined {
  if ((value & 3n) === 2n) return 'allows writes but not reads (W = 1, R = 0)';
  const memoryType = Number((value >> 3n) & 7n);
  if (!isPresent(value) || !isPage) return undefined;
  return RESERVED_MEMORY_TYPES.includes(memoryType)
    ? `has the reserved memory type ${memoryType} (bits 5:3)`
    : undefined;
}
