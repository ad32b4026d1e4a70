/**
 * The filter "stale translation used": holds what the TLB translates against a fresh walk. What a walk has confirmed stays in
 * the fast TLB until an entry that the walk has read is written, so most accesses go at full speed even while the filter is on.
 */
import { hex } from '../cpu/hexadecimal.ts';
import { type LinearAddress, offsetInPage } from '../isa/linear-address.ts';
import { Access, type Privilege } from '../mmu/access.ts';
import { ConfirmedWalks } from '../mmu/confirmed-walks.ts';
import { type EntryFormat, PagingMode } from '../mmu/paging-structures.ts';
import type { TranslationAudit } from '../mmu/translation-context.ts';
import { type AddressSpace, Outcome, Walk, type WalkTrace } from '../mmu/walk.ts';
import { ConfirmedPages } from './confirmed-pages.ts';
import { common } from './event-descriptions.ts';
import type { Host } from './host.ts';
import { LatestConfirmations } from './latest-confirmations.ts';
import type { MachineEvent } from './machine-api.ts';
import { StopBefore } from './stop-before.ts';
import type { Cause } from './watches/watch-causes.ts';
import type { Watches } from './watches/watches.ts';

type Table = 'guest' | 'EPT';

/** An entry that a walk has read, by its host-physical address. */
interface EntryRead {
  readonly table: Table;
  readonly address: number;
}

class EntriesRead implements WalkTrace {
  list: EntryRead[] = [];

  eptEntry(_format: EntryFormat, _index: number, address: number): void {
    this.list.push({ table: 'EPT', address });
  }
  guestEntry(_format: EntryFormat, _index: number, _guestAddress: number, hostAddress: number): void {
    // There is none in memory for the registers of PAE paging.
    if (hostAddress >= 0) this.list.push({ table: 'guest', address: hostAddress });
  }
  guestFlagsWrite(): void {}
}

/** Who wrote an entry last. */
interface Change {
  readonly cause: Cause;
  readonly vcpu: number;
  readonly count: number;
}

/** A translation that the tables contradict. */
interface Contradiction {
  readonly linear: LinearAddress;
  readonly access: Access;
  /** Where the TLB leads. */
  readonly physical: number;
  readonly entries: readonly EntryRead[];
}

const ENTRY_BYTES = 8;
/** Entries of 4 bytes count by twos. */
const entryAt = (address: number): number => address - (address % ENTRY_BYTES);
/** So many entries are remembered with who wrote them, the latest ones. */
const REMEMBERED = 4096;
const accessNames = { [Access.Read]: 'read', [Access.Write]: 'write', [Access.Execute]: 'execute' } as const;

export class StaleTranslations implements TranslationAudit {
  readonly #host: Host;
  readonly #watches: Watches;
  readonly #report: (event: MachineEvent) => boolean;
  readonly #entries = new EntriesRead();
  readonly #walk = new Walk(false, this.#entries);
  /** Addresses of pages that hold paging structures. */
  readonly #tables = new Set<number>();
  readonly #changes = new Map<number, Change>();
  readonly #confirmed = new ConfirmedPages();
  readonly #latest = new LatestConfirmations();
  readonly #walks: ConfirmedWalks;
  /** The access that was told of last: one is translated more than once on its way. */
  #told = '';

  /** `report` says whether the run stops. */
  constructor(host: Host, watches: Watches, report: (event: MachineEvent) => boolean) {
    this.#host = host;
    this.#watches = watches;
    this.#report = report;
    this.#walks = new ConfirmedWalks(host.state.view.buffer);
  }

  arm(isOn: boolean): void {
    const { mmu, physical } = this.#host;
    physical.onTableWrite = (address, lengthBytes) => this.#written(address, lengthBytes);
    mmu.setAudit(isOn ? this : undefined);
    if (isOn) return;
    for (const page of this.#tables) mmu.watchTable(page, false);
    this.#tables.clear();
    this.#clear();
  }
  #clear(): void {
    this.#confirmed.clear();
    this.#latest.clear();
    this.#walks.clear();
  }

  /** A run begins, maybe where the machine has been before. */
  begin(): void {
    this.#told = '';
    this.#latest.clear();
  }

  contradicts(linear: LinearAddress, access: Access, privilege: Privilege, physical: number): boolean {
    const { mmu } = this.#host;
    const walk = this.#walk;
    const space = mmu.currentSpace();
    const offset = offsetInPage(linear);
    // An address that a number does not hold has no page that one could remember.
    const question =
      typeof linear === 'number'
        ? { page: linear - offset, access, policy: mmu.policyOf(privilege, access), space }
        : undefined;
    if (question && this.#latest.has(question, physical - offset)) return false;
    this.#entries.list = [];
    const isMapped = mmu.walkPeek(linear, access, privilege, walk, space);
    for (const { address } of this.#entries.list) this.#isTable(address);
    if (isMapped && walk.physical === physical) {
      this.#confirm(question?.page, access, space);
      if (question) this.#latest.add(question, physical - offset);
      return false;
    }
    const { clock, loaded } = this.#host;
    const told = `${clock.instructions} ${linear} ${access} ${loaded}`;
    if (this.#told === told) return true;
    this.#told = told;
    const event = this.#eventOf({ linear, access, physical, entries: this.#entries.list });
    if (this.#report(event) && access === Access.Execute) throw new StopBefore();
    return true;
  }

  /** A walk has led to where the TLB does, for a page. */
  #confirm(page: number | undefined, access: Access, { mode, root, ept }: AddressSpace): void {
    if (this.#confirmed.isFull) this.#forget();
    const entries = this.#entries.list.map(({ address }) => address);
    for (const address of entries) this.#confirmed.add(entryAt(address), page, access === Access.Execute);
    if (page === undefined || ept || mode !== PagingMode.Level4) return;
    if (entries.every((address) => this.#host.physical.isRam(address)))
      this.#walks.add(page, root, entries, this.#confirmed.hasCode(page));
  }

  /** Everything has to be confirmed again. */
  #forget(): void {
    this.#clear();
    this.#host.mmu.tablesChanged();
    this.#host.runtime.stopRequested = true;
  }

  /** An entry is going to be written. */
  #changed(entry: number): void {
    const pages = this.#confirmed.under(entry);
    if (!pages) return this.#forget();
    const { mmu, runtime } = this.#host;
    for (const page of pages) {
      this.#latest.drop(page);
      const hasCode = this.#confirmed.hasCode(page);
      mmu.tablesOfPageChanged(page, hasCode);
      if (hasCode) runtime.stopRequested = true;
    }
  }

  #isTable(address: number): void {
    const page = address - (address % 4096);
    if (this.#tables.has(page)) return;
    this.#tables.add(page);
    this.#host.mmu.watchTable(page, true);
  }

  /** A page with paging structures is going to be written: what was confirmed by its entries has to be confirmed again. */
  #written(address: number, lengthBytes: number): void {
    const { mmu, loaded, clock } = this.#host;
    if (mmu.settingFlagsFor !== undefined) return;
    const { cause } = this.#watches;
    for (let at = entryAt(address); at < address + lengthBytes; at += ENTRY_BYTES) {
      this.#changes.delete(at);
      this.#changes.set(at, { cause, vcpu: loaded, count: clock.instructions });
      this.#changed(at);
    }
    for (const at of this.#changes.keys()) {
      if (this.#changes.size <= REMEMBERED) break;
      this.#changes.delete(at);
    }
  }

  /** The change made last of what the walk has read, if it is known. */
  #lastChange({ entries }: Contradiction): (Change & EntryRead) | undefined {
    let last: (Change & EntryRead) | undefined;
    for (const entry of entries) {
      const change = this.#changes.get(entryAt(entry.address));
      // After a step back some are yet to come.
      if (!change || change.count > this.#host.clock.instructions) continue;
      if (!last || change.count >= last.count) last = { ...change, ...entry };
    }
    return last;
  }

  // ---- words -------------------------------------------------------------------------------------------------------

  #eventOf(found: Contradiction): MachineEvent {
    const { linear, access, physical } = found;
    const address = hex(linear);
    const now = this.#now();
    const tables = this.#tablesOf(found);
    const isFetch = access === Access.Execute;
    const [did, does] = isFetch ? ['fetch', 'is about to be fetched'] : [accessNames[access], 'was accessed'];
    return {
      filter: 'stale-translation',
      vcpu: this.#host.loaded,
      title: `Stale translation used: ${did} of ${address}, which the TLB has at ${hex(physical)}`,
      values: {
        ...common(this.#host),
        address: BigInt.asUintN(64, BigInt(linear)),
        access: accessNames[access],
        physical: BigInt(physical),
        ...(this.#walk.outcome === Outcome.Mapped ? { now: BigInt(this.#walk.physical) } : {}),
        table: tables.map((table) => (table === 'EPT' && this.#isSvm ? 'nested' : table)).join(' and '),
      },
      explanation: [
        `Linear address ${address} ${does} at physical address ${hex(physical)}, where the TLB has it; ${now}.`,
        ...this.#whoChanged(found),
        ...tables.map((table) => this.#advice(table, address)),
      ],
      ...(isFetch ? { comesAgain: true } : {}),
    };
  }

  /** What a walk says now. */
  #now(): string {
    const { outcome, physical, errorCode, eptQualification } = this.#walk;
    if (outcome === Outcome.NestedPageFault) {
      if (errorCode & 8) return 'a reserved bit is set in the nested tables now';
      return `the nested tables do not ${errorCode & 1 ? 'allow such an access' : 'map the page'} any more`;
    }
    if (outcome === Outcome.Mapped) return `the tables now lead to ${hex(physical)}`;
    if (outcome === Outcome.PageFault) {
      if (errorCode & 8) return 'a reserved bit is set in the tables now';
      return errorCode & 1 ? 'the tables do not allow such an access any more' : 'the page is not present any more';
    }
    if (outcome === Outcome.EptViolation) {
      const allows = (eptQualification >> 3) & 7;
      return allows ? 'EPT does not allow such an access any more' : 'EPT does not map the page any more';
    }
    return 'an EPT entry is misconfigured now';
  }

  /** Whose entries contradict; both where nobody can tell. */
  #tablesOf(found: Contradiction): Table[] {
    const { outcome } = this.#walk;
    if (outcome === Outcome.PageFault || !this.#host.mmu.context.ept) return ['guest'];
    if (outcome !== Outcome.Mapped) return ['EPT'];
    const last = this.#lastChange(found);
    return last ? [last.table] : ['guest', 'EPT'];
  }

  #whoChanged(found: Contradiction): string[] {
    const last = this.#lastChange(found);
    if (!last) return [];
    const { by, instruction } = last.cause;
    const where = instruction === undefined ? '' : ` at ${hex(instruction)}`;
    const who = last.vcpu === this.#host.loaded ? '' : ` of vCPU ${last.vcpu}`;
    const isNested = last.table === 'EPT' && this.#isSvm;
    const what = `The ${isNested ? 'nested paging' : last.table === 'EPT' ? 'EPT' : 'paging-structure'} entry at ${hex(last.address)}`;
    return [`${what} was last written by ${by}${where}${who}, at instruction ${last.count}.`];
  }

  get #isSvm(): boolean {
    return this.#host.hasSvm;
  }

  /** The invalidation that is missing (SDM volume 3, "Invalidation of TLBs and Paging-Structure Caches"; AMD64 APM volume 2, "TLB Control"). */
  #advice(table: Table, address: string): string {
    const { context } = this.#host.mmu;
    const { nonRoot } = this.#host.state;
    const done = 'is missing after the change';
    if (table === 'EPT' && this.#isSvm) {
      const asid = context.ept?.nested?.asid ?? 0;
      return `After the change the translations of ASID ${asid} have to be dropped: VMRUN with TLB_CONTROL 1 or 3 is missing, or with an ASID that has no translations yet.`;
    }
    if (table === 'EPT') {
      return `INVEPT ${done}: single-context with EPTP ${hex(context.ept?.eptp ?? 0)}, or all contexts.`;
    }
    const own = `INVLPG ${address} ${done}, or MOV to CR3, which keeps global pages, or INVPCID`;
    if (!nonRoot || context.vpid === 0) return `${own}; on each processor that has used the page.`;
    if (this.#isSvm) {
      return `${own}; if the hypervisor made the change, INVLPGA for that address and ASID ${context.vpid}, or VMRUN with TLB_CONTROL 1, 3 or 7.`;
    }
    return `${own}; if the hypervisor made the change, INVVPID for that address and VPID ${context.vpid}.`;
  }
}
