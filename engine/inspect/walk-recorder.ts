/** Records a walk without side effects as the list of steps it took. */
import { ALL_GUEST_RIGHTS, EptRight, MappingFlag } from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { Entry, type EntryFormat, PagingMode, PDPTE_REGISTER } from '../mmu/paging-structures.ts';
import type { AddressSpace, WalkTrace } from '../mmu/walk.ts';
import { type DecodeContext, type DecodedEntry, decodeEntry, flagOf, isPresent } from './paging-entry.ts';

/** What the entries read so far allow together. */
export interface RightsSoFar {
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  /** User-mode accesses; undefined for EPT. */
  readonly user: boolean | undefined;
}

/** An EPT entry that was read. */
export interface EptStep {
  readonly table: 'EPT';
  readonly level: string;
  readonly index: number;
  readonly entryAddress: { readonly guestPhysical: undefined; readonly hostPhysical: number };
  readonly entryValue: bigint;
  readonly present: boolean;
  readonly entry: DecodedEntry;
  readonly rights: RightsSoFar;
}

/** A guest entry that was read, with the EPT steps that found it. */
export interface GuestStep {
  readonly table: 'guest';
  readonly level: string;
  readonly index: number;
  /** Both undefined for a PDPTE register of PAE paging. */
  readonly entryAddress: { readonly guestPhysical: number | undefined; readonly hostPhysical: number | undefined };
  readonly entryValue: bigint;
  readonly present: boolean;
  readonly entry: DecodedEntry;
  readonly rights: RightsSoFar;
  readonly nestedSteps: readonly EptStep[];
  /** Flags that the access would set in the entry, and the EPT steps of that write. */
  flagsWrite: { readonly flags: readonly string[]; readonly nestedSteps: readonly EptStep[] } | undefined;
}

export class WalkRecorder implements WalkTrace {
  readonly steps: GuestStep[] = [];
  /** Steps of the EPT translation made last, until the guest entry that it found takes them. */
  #pending: EptStep[] = [];

  readonly #guest: DecodeContext;
  readonly #ept: DecodeContext;
  /** The first level of EPT, or of the host's tables with nested paging. */
  readonly #firstShift: number;
  #guestRights: number = ALL_GUEST_RIGHTS;
  #eptRights: number = EptRight.All;

  constructor(mmu: Mmu, space: AddressSpace) {
    const formats = mmu.walker.formats;
    const { pageSizeExtensions } = space;
    const addressMaskHigh = formats[PagingMode.Level4]?.addressMaskHigh ?? 0;
    this.#guest = { structure: 'guest', addressMaskHigh, pageSizeExtensions };
    const nested = space.ept?.nested;
    const format = nested ? mmu.walker.ept.nested?.formatOf(nested) : mmu.walker.ept.formatOf({ levels: 4 });
    this.#firstShift = format?.levels[0]?.shift ?? 39;
    this.#ept = {
      structure: nested ? 'guest' : 'EPT',
      addressMaskHigh: format?.addressMaskHigh ?? 0,
      pageSizeExtensions: nested?.pageSizeExtensions ?? pageSizeExtensions,
    };
  }

  eptEntry(format: EntryFormat, index: number, address: number, low: number, high: number): void {
    if (format.shift === this.#firstShift) this.#beginEptTranslation();
    const entry = decodeEntry(this.#ept, format, low, high);
    this.#eptRights &= this.#ept.structure === 'EPT' ? low : nestedRights(format, entry, low);
    this.#pending.push({
      table: 'EPT',
      level: format.name,
      index,
      entryAddress: { guestPhysical: undefined, hostPhysical: address },
      entryValue: entry.value,
      present: isPresent(this.#ept.structure, low),
      entry,
      rights: {
        read: (this.#eptRights & EptRight.Read) !== 0,
        write: (this.#eptRights & EptRight.Write) !== 0,
        execute: (this.#eptRights & EptRight.Execute) !== 0,
        user: undefined,
      },
    });
  }

  #beginEptTranslation(): void {
    this.#eptRights = EptRight.All;
    if (this.#pending.length > 0) this.#pending = [];
  }

  guestEntry(format: EntryFormat, index: number, guest: number, host: number, low: number, high: number): void {
    const isRegister = format === PDPTE_REGISTER;
    const entry = decodeEntry(this.#guest, format, low, high);
    const present = isPresent('guest', low);
    if (!present) this.#guestRights = 0;
    else if (format.hasRights) this.#guestRights &= rightsOf(entry, low);
    this.steps.push({
      table: 'guest',
      level: format.name,
      index,
      entryAddress: isRegister
        ? { guestPhysical: undefined, hostPhysical: undefined }
        : { guestPhysical: guest, hostPhysical: host },
      entryValue: entry.value,
      present,
      entry,
      rights: {
        read: present,
        write: (this.#guestRights & MappingFlag.Write) !== 0,
        execute: (this.#guestRights & MappingFlag.Execute) !== 0,
        user: (this.#guestRights & MappingFlag.User) !== 0,
      },
      nestedSteps: this.#takePending(),
      flagsWrite: undefined,
    });
  }

  guestFlagsWrite(flags: number): void {
    const step = this.steps.at(-1);
    if (!step) return;
    const names = [flags & Entry.A ? 'A' : '', flags & Entry.D ? 'D' : ''].filter((name) => name !== '');
    // The EPT steps that follow, up to the next translation, are those of this write.
    this.#pending = [];
    step.flagsWrite = { flags: names, nestedSteps: this.#pending };
  }

  /** EPT steps after the last guest entry and the write of its flags: the translation of the page. */
  get finalSteps(): readonly EptStep[] {
    return this.#pending === this.steps.at(-1)?.flagsWrite?.nestedSteps ? [] : this.#pending;
  }

  /** The EPT steps that led to where the walk ended, for EPT violations and misconfigurations. */
  get lastEptSteps(): readonly EptStep[] {
    return this.#pending;
  }

  #takePending(): readonly EptStep[] {
    const taken = this.#pending;
    this.#pending = [];
    return taken;
  }
}

/** What an entry of the host's tables allows a guest, in EptRight bits. */
function nestedRights({ hasRights }: EntryFormat, entry: DecodedEntry, low: number): number {
  if (!hasRights && low & Entry.P) return EptRight.All;
  if (!(low & Entry.P) || !(low & Entry.US)) return 0;
  const write = low & Entry.RW ? EptRight.Write : 0;
  return EptRight.Read | write | (flagOf(entry, 'XD') ? 0 : EptRight.Execute);
}

function rightsOf(entry: DecodedEntry, low: number): number {
  const write = low & Entry.RW ? MappingFlag.Write : 0;
  const user = low & Entry.US ? MappingFlag.User : 0;
  return write | user | (flagOf(entry, 'XD') ? 0 : MappingFlag.Execute);
}
