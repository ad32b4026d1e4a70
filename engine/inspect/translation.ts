/**
 * How a linear address becomes a host-physical one, as plain data: every entry read on the way, EPT's included, who
 * denies what, and what the TLB holds. No side effects.
 */
import { type LinearAddress, numberPart, restOf } from '../isa/linear-address.ts';
import {
  Access,
  DENIED_KEYS_FACTOR,
  guestPermits,
  keyDenies,
  MappingFlag,
  PageFaultCode,
  Policy,
  Privilege,
} from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { PagingMode, pagingModeNames } from '../mmu/paging-structures.ts';
import { violationQualification } from '../mmu/peeked-translation.ts';
import { type AddressSpace, eptContext, Outcome, Walk } from '../mmu/walk.ts';
import { type MemoryTypeView, memoryType } from './memory-type.ts';
import { linearEntryView, type TlbEntryView } from './tlb.ts';
import { type EptStep, type GuestStep, WalkRecorder } from './walk-recorder.ts';

export type { EptStep, GuestStep, RightsSoFar } from './walk-recorder.ts';

/** One right of the translation, and the entry or control that denies it. */
export interface RightView {
  readonly allowed: boolean;
  readonly deniedBy: string | undefined;
}

export interface DecodedBits {
  readonly value: number;
  /** The bits that are set, in words. */
  readonly bits: readonly string[];
}

export type TranslationResult =
  | { readonly kind: 'mapped'; readonly physical: number }
  | { readonly kind: 'page fault'; readonly code: DecodedBits; readonly because: string }
  | { readonly kind: 'EPT violation'; readonly qualification: DecodedBits; readonly because: string }
  | { readonly kind: 'nested page fault'; readonly code: DecodedBits; readonly because: string }
  | { readonly kind: 'EPT misconfiguration'; readonly because: string }
  | { readonly kind: 'not canonical'; readonly because: string };

export interface TranslationView {
  readonly linear: LinearAddress;
  readonly access: Access;
  readonly pagingMode: string;
  /** CR3's table, or the address itself without paging. */
  readonly root: number;
  readonly eptp: number | undefined;
  /** The guest's entries, each with the EPT steps that led to it. */
  readonly steps: readonly GuestStep[];
  /** EPT steps of the page itself, or of the guest entry that could not be read. */
  readonly finalSteps: readonly EptStep[];
  /** Guest-physical address, or undefined if the guest's tables do not lead to one. Without EPT the physical address. */
  readonly guestPhysical: number | undefined;
  readonly result: TranslationResult;
  /** Sizes in bytes; undefined if not mapped. */
  readonly pageBytes: { readonly guest: number; readonly effective: number } | undefined;
  /** What may be done at the privilege asked about; `user`: whether user mode may access the page at all. */
  readonly rights: Readonly<Record<'read' | 'write' | 'execute' | 'user', RightView>>;
  readonly memoryType: MemoryTypeView | undefined;
  /** The mapping the CPU would use now, if the TLB holds one; `stale` says that a walk contradicts it. */
  readonly cached: TlbEntryView | undefined;
}

export interface TranslationQuery {
  readonly linear: LinearAddress;
  /** Default: Read. */
  readonly access?: Access;
  /** Default: Current. */
  readonly privilege?: Privilege;
  /** Another address space: CR3, EPTP (null: no EPT) and paging mode, each defaulting to the current one. */
  readonly cr3?: number;
  readonly eptp?: number | null;
  readonly mode?: PagingMode;
}

/** The address space a query is about. */
function querySpace(mmu: Mmu, query: Pick<TranslationQuery, 'cr3' | 'eptp' | 'mode'>): AddressSpace {
  if (query.cr3 === undefined && query.eptp === undefined && query.mode === undefined) return mmu.currentSpace();
  const ept = query.eptp === undefined ? mmu.context.ept : query.eptp === null ? undefined : eptContext(query.eptp);
  return mmu.spaceOf(query.mode ?? mmu.pagingMode, query.cr3 ?? mmu.state.cr3, ept);
}

/** Explains the translation of a linear address. */
export function explainTranslation(mmu: Mmu, query: TranslationQuery): TranslationView {
  const { linear, access = Access.Read, privilege = Privilege.Current } = query;
  const space = querySpace(mmu, query);
  const recorder = new WalkRecorder(mmu, space);
  const walk = new Walk(false, recorder);
  if (mmu.isCanonical(linear)) mmu.walkPeek(linear, access, privilege, walk, space);
  else walk.outcome = Outcome.NonCanonical;

  const isCurrent = query.cr3 === undefined && query.eptp === undefined && query.mode === undefined;
  const cached = isCurrent ? mmu.cachedMapping(linear) : undefined;
  const isMapped = walk.outcome === Outcome.Mapped;
  return {
    linear,
    access,
    pagingMode: pagingModeNames[space.mode],
    root: space.root,
    eptp: space.ept?.eptp,
    steps: recorder.steps,
    finalSteps: isMapped ? recorder.finalSteps : recorder.lastEptSteps,
    guestPhysical: guestPhysicalOf(walk, linear, recorder),
    result: resultOf(mmu, walk, recorder, access, privilege),
    pageBytes: isMapped ? { guest: 2 ** walk.guestPageShift, effective: 2 ** walk.pageShift } : undefined,
    rights: rightsOf(mmu, walk, recorder, privilege, space),
    memoryType: isMapped ? memoryTypeOf(mmu, walk, recorder) : undefined,
    cached: cached ? linearEntryView(mmu, cached) : undefined,
  };
}

function memoryTypeOf(mmu: Mmu, walk: Walk, recorder: WalkRecorder): MemoryTypeView {
  const guestLeaf = recorder.steps.at(-1)?.entry;
  return memoryType(mmu.state.pat, guestLeaf, recorder.finalSteps.at(-1)?.entry, mmu.physical.isRam(walk.physical));
}

function guestPhysicalOf(walk: Walk, linear: LinearAddress, recorder: WalkRecorder): number | undefined {
  if (walk.outcome === Outcome.Mapped) return walk.guestPhysical;
  if (walk.outcome === Outcome.NonCanonical) return undefined;
  const leaf = recorder.steps.at(-1)?.entry;
  if (leaf?.maps !== 'page' || leaf.target === undefined) return undefined;
  return leaf.target + (numberPart(linear) & (leaf.coversBytes - 1)) + restOf(linear);
}

/** "the guest's PDE 3", "the EPT PTE 511": how steps are referred to. */
function nameOf(step: GuestStep | EptStep): string {
  return step.table === 'EPT'
    ? `the ${step.entry.structure === 'EPT' ? 'EPT' : 'nested'} ${step.level} ${step.index}`
    : `the guest's ${step.level} ${step.index}`;
}

function resultOf(
  mmu: Mmu,
  walk: Walk,
  recorder: WalkRecorder,
  access: Access,
  privilege: Privilege,
): TranslationResult {
  switch (walk.outcome) {
    case Outcome.Mapped:
      return { kind: 'mapped', physical: walk.physical };
    case Outcome.PageFault:
      return pageFault(mmu, walk, recorder, access, privilege);
    case Outcome.EptViolation:
      return eptViolation(walk, recorder);
    case Outcome.NestedPageFault:
      return nestedPageFault(walk, recorder);
    case Outcome.EptMisconfiguration:
      return { kind: 'EPT misconfiguration', because: misconfigurationReason(recorder) };
    default:
      return {
        kind: 'not canonical',
        because: `bits 63:${mmu.pagingMode === PagingMode.Level5 ? 56 : 47} of the address are not all equal`,
      };
  }
}

const pageFaultBits: readonly (readonly [number, string, string])[] = [
  [PageFaultCode.P, 'P: caused by a page-level protection violation', 'P clear: an entry is not present'],
  [PageFaultCode.W, 'W: caused by a write', ''],
  [PageFaultCode.U, 'U: caused by a user-mode access', ''],
  [PageFaultCode.RSVD, 'RSVD: a reserved bit is set in an entry', ''],
  [PageFaultCode.I, 'I: caused by an instruction fetch', ''],
  [PageFaultCode.PK, 'PK: denied by the protection key of the page', ''],
];

/** What nested paging of AMD-V refuses, by the last of the host's entries that was read. */
function nestedPageFault(walk: Walk, recorder: WalkRecorder): TranslationResult {
  const value = walk.errorCode;
  const last = recorder.lastEptSteps.at(-1);
  const where = last ? nameOf(last) : 'the first entry';
  let because = `${where} is not present`;
  if (value & PageFaultCode.RSVD) because = `${where} has a reserved bit set`;
  else if (value & PageFaultCode.P) because = 'the host’s page tables deny the access to user mode';
  return { kind: 'nested page fault', code: { value, bits: faultBits(value) }, because };
}

const faultBits = (value: number): string[] =>
  pageFaultBits.map(([bit, set, clear]) => (value & bit ? set : clear)).filter((text) => text !== '');

function pageFault(
  mmu: Mmu,
  walk: Walk,
  recorder: WalkRecorder,
  access: Access,
  privilege: Privilege,
): TranslationResult {
  const value = walk.errorCode;
  const bits = faultBits(value);
  const last = recorder.steps.at(-1);
  const where = last ? nameOf(last) : 'the first entry';
  let because = `${where} is not present`;
  if (value & PageFaultCode.RSVD) because = `${where} has a reserved bit set`;
  else if (value & PageFaultCode.PK) because = keyDenial(walk);
  else if (value & PageFaultCode.P) {
    because = guestDenial(recorder, access, mmu.policyOf(privilege, access)) ?? 'the access is not allowed';
  }
  return { kind: 'page fault', code: { value, bits }, because };
}

const violationBits: readonly (readonly [number, string, string])[] = [
  [1 << 0, 'a data read', ''],
  [1 << 1, 'a data write', ''],
  [1 << 2, 'an instruction fetch', ''],
  [1 << 3, 'EPT allows reads', 'EPT does not allow reads'],
  [1 << 4, 'EPT allows writes', 'EPT does not allow writes'],
  [1 << 5, 'EPT allows instruction fetches', 'EPT does not allow instruction fetches'],
  [1 << 7, 'the guest-linear address is valid', ''],
  [1 << 8, 'access to the translation of the linear address', 'access to a guest paging-structure entry'],
];

function eptViolation(walk: Walk, recorder: WalkRecorder): TranslationResult {
  const value = violationQualification(walk);
  const bits = violationBits.map(([bit, set, clear]) => (value & bit ? set : clear)).filter((text) => text !== '');
  const missing = recorder.lastEptSteps.find((step) => !step.present);
  const because = missing ? `${nameOf(missing)} is not present` : (eptDenial(recorder.lastEptSteps, value & 7) ?? '');
  return { kind: 'EPT violation', qualification: { value, bits }, because };
}

function misconfigurationReason(recorder: WalkRecorder): string {
  const step = recorder.lastEptSteps.at(-1);
  if (!step) return '';
  const isWriteOnly = (step.entryValue & 3n) === 2n;
  const what = isWriteOnly ? 'allows writes but not reads' : 'has a reserved bit set or a reserved memory type';
  return `${nameOf(step)} ${what}`;
}

const eptRightWords = [
  [1, 'R', 'reads'],
  [2, 'W', 'writes'],
  [4, 'X', 'instruction fetches'],
] as const;

/** Which EPT entry is the first to refuse one of the rights needed. */
function eptDenial(steps: readonly EptStep[], needed: number): string | undefined {
  for (const [bit, name, words] of eptRightWords) {
    if (!(needed & bit)) continue;
    const step = steps.find(({ entryValue }) => (Number(entryValue & 7n) & bit) === 0);
    if (step) return `${nameOf(step)} denies ${words} (${name} = 0)`;
  }
  return undefined;
}

/** Which guest entry or control is the first to refuse the access, or undefined if it is allowed. */
function guestDenial(recorder: WalkRecorder, access: Access, policy: number): string | undefined {
  const { steps } = recorder;
  const rights = steps.at(-1)?.rights;
  if (!rights) return undefined;
  const flags =
    (rights.write ? MappingFlag.Write : 0) |
    (rights.user ? MappingFlag.User : 0) |
    (rights.execute ? MappingFlag.Execute : 0);
  // Whether the key of the page denies it, the walk has said.
  if (guestPermits(flags, access, policy % DENIED_KEYS_FACTOR)) return undefined;
  const first = (name: keyof GuestStep['rights']) => {
    const step = steps.find((one) => !one.rights[name]);
    return step ? nameOf(step) : 'no entry';
  };
  if (policy & Policy.User && !rights.user) return `${first('user')} denies user-mode accesses (U/S = 0)`;
  if (access === Access.Execute && !rights.execute) return `${first('execute')} denies instruction fetches (XD = 1)`;
  if (access === Access.Execute) return 'CR4.SMEP denies supervisor mode fetches from a user page';
  if (!(policy & Policy.User) && rights.user && policy & Policy.Smap) {
    return 'CR4.SMAP denies supervisor mode accesses to a user page';
  }
  return `${first('write')} denies writes (R/W = 0)`;
}

function rightsOf(mmu: Mmu, walk: Walk, recorder: WalkRecorder, privilege: Privilege, space: AddressSpace) {
  const right = (access: Access, eptRight: number): RightView => {
    const deniedBy = notPresent(recorder) ?? denial(mmu, walk, recorder, access, privilege, eptRight, space);
    return { allowed: deniedBy === undefined, deniedBy };
  };
  const userDenier = recorder.steps.find((step) => !step.rights.user);
  const user = userDenier ? `${nameOf(userDenier)} (U/S = 0)` : undefined;
  return {
    read: right(Access.Read, 1),
    write: right(Access.Write, 2),
    execute: right(Access.Execute, 4),
    user: { allowed: user === undefined, deniedBy: user },
  };
}

function denial(
  mmu: Mmu,
  walk: Walk,
  recorder: WalkRecorder,
  access: Access,
  privilege: Privilege,
  eptRight: number,
  space: AddressSpace,
): string | undefined {
  const policy = mmu.policyOf(privilege, access);
  const byGuest = space.mode === PagingMode.None ? undefined : guestDenial(recorder, access, policy);
  const byKey = recorder.steps.at(-1)?.entry.maps === 'page' && keyDenies(walk.flags, policy);
  return byGuest ?? (byKey ? keyDenial(walk) : undefined) ?? eptDenial(recorder.finalSteps, eptRight);
}

/** Which register denies an access to the protection key of the page that the walk came to. */
const keyDenial = ({ flags }: Walk): string =>
  `${flags & MappingFlag.User ? 'PKRU' : 'IA32_PKRS'} denies it to the protection key of the page`;

/** The entry where the walk ended because there is none. */
function notPresent(recorder: WalkRecorder): string | undefined {
  const step = recorder.lastEptSteps.find((one) => !one.present) ?? recorder.steps.find((one) => !one.present);
  return step ? `${nameOf(step)} is not present` : undefined;
}
