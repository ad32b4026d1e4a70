/** From linear to host-physical addresses for the loaded vCPU: the TLB, the walks behind it, the faults. */

import { GP, type GuestFault, PF, SS_, VmExit } from '../cpu/events.ts';
import {
  EMPTY_FAST_TLB_ADDRESS,
  FAST_TLB_SETS_OF_WORLD,
  LINEAR_TLB_ADDRESS,
  PLANNED_VMCS_ADDRESS,
} from '../cpu/memory-map.ts';
import type { CpuState } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { isSignExtended, type LinearAddress, numberPart, restOf } from '../isa/linear-address.ts';
import {
  Access,
  DENIED_KEYS_FACTOR,
  EptViolationBit,
  MappingFlag,
  mappingServes,
  Policy,
  PRIVILEGE_MASK,
  Privilege,
  STACK_PRIVILEGE,
} from './access.ts';
import type { ArchitecturalTlb } from './architectural-tlb.ts';
import { FastSet, FastTlb, fastSetAddress, type World } from './fast-tlb.ts';
import { GuestWalker, type StructureCacheOfContext } from './guest-walk.ts';
import { deniedKeys, keyRights } from './key-rights.ts';
import { Cr0, Cr4, DEFAULT_PHYSICAL_ADDRESS_BITS, Efer, PagingMode, pagingMode } from './paging-structures.ts';
import { violationQualification } from './peeked-translation.ts';
import type { PhysicalMemory } from './physical-memory.ts';
import { type MappingTag, NESTED_PAGING, NO_EPT } from './tlb.ts';
import {
  type ApicAccessPage,
  TlbStatistics,
  type TranslationAudit,
  TranslationContext,
} from './translation-context.ts';
import { type AddressSpace, type EptContext, EptOption, Outcome, Walk } from './walk.ts';
import { WorldRegisters } from './world-registers.ts';

/** All addresses within are canonical whatever the paging mode: 2^47. */
const CANONICAL_LIMIT = 0x8000_0000_0000;
/** RFLAGS.AC. */
const ALIGNMENT_CHECK = 1 << 18;
const EXIT_EPT_VIOLATION = 48;
const EXIT_EPT_MISCONFIGURATION = 49;
const EXIT_LOG_FULL = 62;
const EXIT_SUB_PAGE = 66;
/** Of AMD-V; EXITINFO1 tells in bits 32 and 33 which address was being translated. */
const EXIT_NESTED_PAGE_FAULT = 0x400;
const FINAL_ADDRESS = 1n << 32n;
const PAGE_TABLE_ADDRESS = 1n << 33n;
/** Exit qualification of sub-page events: an entry is missing, not misconfigured. */
const SUB_PAGE_MISS = 1 << 11;

export class Translation {
  readonly state: CpuState;
  readonly physical: PhysicalMemory;
  readonly physicalAddressBits: number;
  readonly walker: GuestWalker;
  readonly fast: FastTlb;
  /** Lookups of the architectural TLB that it answered, and that took a walk. Those the fast TLB answered are in neither. */
  readonly statistics: TlbStatistics;
  /** Bit 12 of the exit qualification of EPT violations: set by IRET while it undoes blocking by NMI. */
  nmiUnblockingDueToIret = false;
  apicAccessPage: ApicAccessPage | undefined;
  /**
   * Called when instruction fetches may translate differently from now on: for the `lengthBytes` from a linear address,
   * or for all addresses (undefined); of a world, or of both (undefined).
   */
  onCodeMappingsChanged: (linear: number | undefined, lengthBytes: number, world: World | undefined) => void = () => {};

  /** While there is one, nobody but the slow path translates. */
  protected audit: TranslationAudit | undefined;
  /** Whether the audit contradicted the translation made last. */
  isStale = false;

  #vcpu = new TranslationContext();
  /** What the fast translations of the two worlds were made for. */
  readonly #worlds = [new WorldRegisters(0), new WorldRegisters(1)] as const;
  #failure: GuestFault | VmExit | undefined;
  #mayRefill = true;
  readonly #view: DataView;
  readonly #walk = new Walk(true);
  readonly #tag: MappingTag = { vpid: 0, pcid: 0, eptRoot: NO_EPT, root: 0, mode: 0 };
  /** The address space that was asked for last, and the registers it was made from. */
  #space: { cr0: number; cr3: number; cr4: number; efer: number; space: AddressSpace } | undefined;
  readonly #guestPhysicalTag: MappingTag = { vpid: 0, pcid: 0, eptRoot: NO_EPT, root: 0, mode: 0 };

  /** `physicalAddressBits` is MAXPHYADDR, 36 to 48; `pages1GB`: whether there are pages of 1 GByte. */
  constructor(
    state: CpuState,
    physical: PhysicalMemory,
    physicalAddressBits = DEFAULT_PHYSICAL_ADDRESS_BITS,
    pages1GB = true,
  ) {
    this.state = state;
    this.physical = physical;
    this.physicalAddressBits = physicalAddressBits;
    this.walker = new GuestWalker(physical, physicalAddressBits, pages1GB);
    this.fast = new FastTlb(state.view.buffer as ArrayBuffer);
    this.#view = state.view;
    this.statistics = new TlbStatistics(state.view.buffer as ArrayBuffer);
    this.vcpu = this.#vcpu;
  }

  /** The MMU's part of the loaded vCPU. Assigning another one empties the fast TLB. */
  get vcpu(): TranslationContext {
    return this.#vcpu;
  }
  set vcpu(vcpu: TranslationContext) {
    this.#vcpu = vcpu;
    this.guestReplaced();
    const dropped = (page: number, pageShift: number, flags: number, guestsOnly: boolean) =>
      this.#mappingDropped(page, pageShift, flags, guestsOnly);
    vcpu.tlb.linear.onDrop = dropped;
    vcpu.tlb.guestPhysical.onDrop = dropped;
    this.contextChanged();
  }

  /** The guest that was entered last, or what is known of it, is another: compiled code may not enter or leave it. */
  protected guestReplaced(): void {
    this.#view.setUint32(PLANNED_VMCS_ADDRESS, 0, true);
  }

  /** Whether compiled code may fill the fast TLB by itself. */
  protected set mayRefill(value: boolean) {
    this.#mayRefill = value;
    this.#publishMappings();
  }

  #publishMappings(): void {
    // Compiled code takes it that pages with key 0 are open, and leaves all others; it knows EPT as it mostly is.
    const { ept } = this.#vcpu;
    const { pkru, pkrs } = keyRights(this.#view);
    const isOrdinaryEpt = !ept || ((ept.options & ~EptOption.ApicAccesses) === 0 && ept.levels === 4 && !ept.nested);
    const cachesStructures = this.#vcpu.tlb.structures !== undefined;
    const mayRefill = this.#mayRefill && !cachesStructures && isOrdinaryEpt && ((pkru | pkrs) & 3) === 0;
    this.#view.setUint32(LINEAR_TLB_ADDRESS, mayRefill ? this.#vcpu.tlb.linear.address : 0, true);
  }

  get tlb(): ArchitecturalTlb {
    return this.#vcpu.tlb;
  }

  /** VPID and EPT in force. */
  get context(): { readonly vpid: number; readonly ept: EptContext | undefined } {
    return { vpid: this.#vcpu.vpid, ept: this.#vcpu.ept };
  }

  /** A mapping left the architectural TLB: nothing faster may keep it. */
  #mappingDropped(page: number, pageShift: number, flags: number, guestsOnly: boolean): void {
    if (!guestsOnly) this.#dropFast(page, pageShift, 0);
    this.#dropFast(page, pageShift, 1);
    if (flags & MappingFlag.Executed) this.onCodeMappingsChanged(page, 2 ** pageShift, guestsOnly ? 1 : undefined);
  }
  #dropFast(page: number, pageShift: number, world: World): void {
    if (pageShift === 12) this.fast.dropPage(page, world);
    else this.fast.dropWorld(world);
  }

  /** To be called when registers that translation depends on were replaced: nothing fast survives. */
  contextChanged(): void {
    this.fast.dropAll();
    this.#publishMappings();
    this.#worlds[this.#world()].remember(this.#view, this.#vcpu);
    this.privilegeChanged();
    this.onCodeMappingsChanged(undefined, 0, undefined);
  }

  /** Paging structures were written, and somebody wants to know who translates by what they said before. */
  tablesChanged(): void {
    this.fast.dropAll();
    this.onCodeMappingsChanged(undefined, 0, undefined);
  }

  /** CR3 was written: nothing fast of the world in which that happened survives. */
  protected spaceChanged(): void {
    const world = this.#world();
    this.fast.dropWorld(world);
    this.#worlds[world].remember(this.#view, this.#vcpu);
    this.onCodeMappingsChanged(undefined, 0, world);
  }

  /**
   * To be called when a VM entry or VM exit replaced the registers: what is fast stays, in the sets of the two worlds, if
   * the world that is entered is as it was left.
   */
  protected worldChanged(): void {
    this.#publishMappings();
    const world = this.#world();
    const registers = this.#worlds[world];
    if (!registers.areCurrent(this.#view, this.#vcpu)) {
      this.fast.dropWorld(world);
      registers.remember(this.#view, this.#vcpu);
      this.onCodeMappingsChanged(undefined, 0, world);
    }
    this.privilegeChanged();
  }

  #world(): World {
    return this.#view.getUint32(fieldAddress.nonRoot, true) ? 1 : 0;
  }

  /** Whether explicit accesses raise #AC where they are not aligned: ring 3, CR0.AM and EFLAGS.AC. */
  #checksAlignment(): boolean {
    const view = this.#view;
    if ((view.getUint32(fieldAddress.flagsOther, true) & ALIGNMENT_CHECK) === 0) return false;
    return view.getUint32(fieldAddress.cpl, true) === 3 && (view.getUint32(fieldAddress.cr0, true) & Cr0.AM) !== 0;
  }

  /** The same, as the set of the fast TLB says, which compiled code chooses too. */
  protected get isAlignmentChecked(): boolean {
    return this.#view.getUint32(fieldAddress.tlbBase, true) === EMPTY_FAST_TLB_ADDRESS;
  }

  /** To be called when CPL, EFLAGS.AC, CR0.AM or CR4.SMAP changed: chooses the set of the fast TLB. */
  privilegeChanged(): void {
    const base = this.#checksAlignment() ? EMPTY_FAST_TLB_ADDRESS : fastSetAddress(this.fastSet());
    this.#view.setUint32(fieldAddress.tlbBase, base, true);
  }

  /**
   * The set of the fast TLB for accesses of a privilege, or -1. Implicit supervisor accesses have the rights of explicit
   * ones that EFLAGS.AC does not exempt from SMAP, and so their set.
   */
  protected fastSetFor(privilege: Privilege): number {
    const who = privilege & PRIVILEGE_MASK;
    if (who === Privilege.Current) return this.fastSet();
    return who === Privilege.Supervisor ? this.#world() * FAST_TLB_SETS_OF_WORLD + FastSet.Supervisor : -1;
  }

  /** The set of the fast TLB for explicit accesses at the current privilege. */
  protected fastSet(): number {
    const view = this.#view;
    const first = this.#world() * FAST_TLB_SETS_OF_WORLD;
    if (view.getUint32(fieldAddress.cpl, true) === 3) return first + FastSet.User;
    const smap = (view.getUint32(fieldAddress.cr4, true) & Cr4.SMAP) !== 0;
    const exempt = smap && (view.getUint32(fieldAddress.flagsOther, true) & ALIGNMENT_CHECK) !== 0;
    return first + (exempt ? FastSet.SupervisorAc : FastSet.Supervisor);
  }

  /**
   * Host-physical address for an access to a linear address. Sets accessed and dirty flags and fills the TLB.
   *
   * @throws GuestFault #PF, or #GP(0)/#SS(0) if the address is not canonical; VmExit 48 or 49 from EPT
   */
  translate(linear: LinearAddress, access: Access, privilege: Privilege = Privilege.Current): number {
    const physical = this.tryTranslate(linear, access, privilege);
    if (physical < 0) throw this.takeFailure();
    return physical;
  }

  /** Does what `translate` does, but returns a negative number in place of throwing; `takeFailure` tells what. */
  tryTranslate(linear: LinearAddress, access: Access, privilege: Privilege = Privilege.Current): number {
    const physical = this.#tryTranslate(linear, access, privilege);
    if (this.audit) this.isStale = physical >= 0 && this.audit.contradicts(linear, access, privilege, physical);
    return physical;
  }

  #tryTranslate(address: LinearAddress, access: Access, privilege: Privilege): number {
    if (!this.isCanonical(address)) return this.#fail(nonCanonical(privilege));
    const linear = numberPart(address);
    if (!(this.#view.getUint32(fieldAddress.cr0, true) & Cr0.PG)) {
      return this.#vcpu.ept ? this.#walkUnpaged(linear, access) : linear;
    }
    const tag = this.currentTag();
    const policy = this.policyOf(privilege, access);
    const store = this.#vcpu.tlb.linear;
    const slot = store.find(linear, tag);
    if (slot >= 0) {
      const flags = store.flagsAt(slot);
      if (mappingServes(flags, access, policy)) {
        this.statistics.hits++;
        if (access === Access.Execute) store.setFlags(slot, flags | MappingFlag.Executed);
        return store.physicalOf(slot, linear) + restOf(address);
      }
      // Not allowed, or the dirty flag must be set: only the tables can tell.
      store.dropAddress(linear, tag);
    }
    return this.#walkAndCache(address, access, policy, tag);
  }

  /** Whether the address is canonical, for checks that come before the access. */
  isCanonical(linear: LinearAddress): boolean {
    if (linear >= -CANONICAL_LIMIT && linear < CANONICAL_LIMIT) return true;
    return isSignExtended(linear, (this.#view.getUint32(fieldAddress.cr4, true) & Cr4.LA57) !== 0);
  }

  #walkAndCache(linear: LinearAddress, access: Access, policy: number, tag: MappingTag): number {
    this.statistics.misses++;
    const walk = this.#walk;
    const store = this.#vcpu.tlb.linear;
    if (!this.walker.walk(this.currentSpace(), linear, access, policy, walk, this.cache(), this.structures())) {
      this.#vcpu.tlb.dropAddress(numberPart(linear), tag);
      return this.#fail(this.#failureOf(linear));
    }
    const flags = walk.flags | (access === Access.Execute ? MappingFlag.Executed : 0);
    store.insert(numberPart(linear), walk.physical - restOf(linear), walk.pageShift, walk.guestPageShift, flags, tag);
    return walk.physical;
  }

  /** Without paging, EPT alone translates, and guest-physical mappings are all that is cached. */
  #walkUnpaged(linear: number, access: Access): number {
    const walk = this.#walk;
    if (!this.walker.walk(this.currentSpace(), linear, access, 0, walk, this.cache())) {
      return this.#fail(this.#failureOf(linear));
    }
    if (access === Access.Execute) {
      const store = this.#vcpu.tlb.guestPhysical;
      const slot = store.find(linear, this.#guestPhysicalTag);
      if (slot >= 0) store.setFlags(slot, store.flagsAt(slot) | MappingFlag.Executed);
    }
    return walk.physical;
  }

  /** The linear address whose walk is storing accessed and dirty flags right now. */
  get settingFlagsFor(): LinearAddress | undefined {
    return this.#walk.isSettingFlags ? this.#walk.linear : undefined;
  }

  #fail(failure: GuestFault | VmExit): number {
    this.#failure = failure;
    return -1;
  }
  /** What ended the last `tryTranslate`. */
  takeFailure(): GuestFault | VmExit {
    const failure = this.#failure;
    if (!failure) throw new Error('no translation failed');
    this.#failure = undefined;
    return failure;
  }

  /** What ends the walk that just failed. Mappings for the address that faulted do not stay. */
  #failureOf(linear: LinearAddress): GuestFault | VmExit {
    const { outcome, errorCode, guestPhysical } = this.#walk;
    if (outcome === Outcome.PageFault) return PF(errorCode, linear);
    this.#vcpu.tlb.guestPhysical.dropAddress(guestPhysical, this.#guestPhysicalTag);
    const plain = this.#exitOfAnyAccess(guestPhysical);
    if (plain) return plain;
    if (outcome === Outcome.SubPageMiss || outcome === Outcome.SubPageMisconfiguration) {
      const miss = outcome === Outcome.SubPageMiss ? SUB_PAGE_MISS : 0;
      return new VmExit(EXIT_SUB_PAGE, BigInt(miss | this.#nmiUnblocking()), { guestLinear: linear, guestPhysical });
    }
    const qualification = BigInt(violationQualification(this.#walk) | this.#nmiUnblocking());
    const suppressesVe = this.#walk.eptSuppressesVe;
    return new VmExit(EXIT_EPT_VIOLATION, qualification, { guestLinear: linear, guestPhysical, suppressesVe });
  }

  /** The exit of a walk of EPT that tells nothing of the access it was made for; undefined if it ended otherwise. */
  #exitOfAnyAccess(guestPhysical: number): VmExit | undefined {
    const { outcome } = this.#walk;
    if (outcome === Outcome.EptMisconfiguration) return new VmExit(EXIT_EPT_MISCONFIGURATION, 0n, { guestPhysical });
    if (outcome === Outcome.NestedPageFault) {
      const where = this.#walk.inPageWalk ? PAGE_TABLE_ADDRESS : FINAL_ADDRESS;
      return new VmExit(EXIT_NESTED_PAGE_FAULT, where | BigInt(this.#walk.errorCode), { guestPhysical });
    }
    if (outcome === Outcome.ApicAccess) return this.apicAccessPage?.guestPhysicalExit();
    if (outcome === Outcome.LogFull) return new VmExit(EXIT_LOG_FULL, BigInt(this.#nmiUnblocking()));
    return undefined;
  }

  #nmiUnblocking(): number {
    return this.nmiUnblockingDueToIret ? EptViolationBit.NmiUnblocking : 0;
  }

  /**
   * Host-physical address of a guest-physical one that is accessed for no linear address (PDPTEs, VMX structures of
   * the guest). `rights` are EptRight bits.
   *
   * @throws VmExit 44, 48 or 49
   */
  translateGuestPhysical(guestPhysical: number, rights: number): number {
    const { ept } = this.#vcpu;
    if (!ept) return guestPhysical;
    const walk = this.#walk;
    // PDPTEs, with nested paging.
    walk.inPageWalk = true;
    if (this.walker.ept.translateAccess(ept, guestPhysical, rights, walk, this.cache())) return walk.eptPhysical;
    const plain = this.#exitOfAnyAccess(guestPhysical);
    if (plain) throw plain;
    const qualification = BigInt(walk.eptQualification | this.#nmiUnblocking());
    throw new VmExit(EXIT_EPT_VIOLATION, qualification, { guestPhysical, suppressesVe: walk.eptSuppressesVe });
  }

  /** Policy for an access, from the registers as they are now: Policy bits, and the protection keys that deny it. */
  policyOf(privilege: Privilege, access: Access): number {
    const view = this.#view;
    const who = privilege & PRIVILEGE_MASK;
    const cr4 = view.getUint32(fieldAddress.cr4, true);
    const isUser =
      who === Privilege.User || (who === Privilege.Current && view.getUint32(fieldAddress.cpl, true) === 3);
    let policy = isUser ? Policy.User : 0;
    if (view.getUint32(fieldAddress.cr0, true) & Cr0.WP) policy |= Policy.WriteProtect;
    if (cr4 & Cr4.SMEP) policy |= Policy.Smep | Policy.ReportFetch;
    if (cr4 & Cr4.PAE && view.getUint32(fieldAddress.efer, true) & Efer.NXE) policy |= Policy.ReportFetch;
    if (cr4 & Cr4.SMAP) {
      const exempt = who !== Privilege.Supervisor && view.getUint32(fieldAddress.flagsOther, true) & ALIGNMENT_CHECK;
      if (!exempt) policy |= Policy.Smap;
    }
    return policy + deniedKeys(keyRights(view), access, policy) * DENIED_KEYS_FACTOR;
  }

  /** Tag of the mappings of the current context. One object, refreshed. */
  protected currentTag(): MappingTag {
    const view = this.#view;
    const tag = this.#tag;
    const { vpid, ept } = this.#vcpu;
    const cr3Low = view.getUint32(fieldAddress.cr3, true);
    tag.vpid = vpid;
    tag.pcid = view.getUint32(fieldAddress.cr4, true) & Cr4.PCIDE ? cr3Low & 0xfff : 0;
    tag.eptRoot = ept ? eptRootTag(ept) : NO_EPT;
    return tag;
  }

  /** The paging-structure caches, where there are any, for walks of the current context. */
  protected structures(): StructureCacheOfContext | undefined {
    const { structures } = this.#vcpu.tlb;
    return structures && { caches: structures, tag: this.currentTag() };
  }

  protected cache() {
    const { ept, tlb } = this.#vcpu;
    if (!ept) return undefined;
    const tag = this.#guestPhysicalTag;
    tag.eptRoot = eptRootTag(ept);
    tag.root = ept.eptp;
    tag.vpid = ept.nested?.asid ?? 0;
    return { store: tlb.guestPhysical, tag };
  }

  /** The address space that the registers select now. */
  currentSpace(): AddressSpace {
    const { cr0, cr3, cr4, efer } = this.state;
    const { ept, pdptes } = this.#vcpu;
    const known = this.#space;
    if (
      known?.cr3 === cr3 &&
      known.cr0 === cr0 &&
      known.cr4 === cr4 &&
      known.efer === efer &&
      known.space.ept === ept &&
      known.space.pdptes === pdptes
    ) {
      return known.space;
    }
    const space = this.spaceOf(pagingMode(cr0, cr4, efer), cr3, ept);
    this.#space = { cr0, cr3, cr4, efer, space };
    this.#tag.root = space.root;
    this.#tag.mode = space.mode;
    return space;
  }

  /** An address space of the paging mode given, with the other controls as they are now. */
  spaceOf(mode: PagingMode, cr3: number, ept: EptContext | undefined): AddressSpace {
    const { cr4, efer } = this.state;
    const low = cr3 % 0x1_0000_0000;
    return {
      mode,
      root:
        mode === PagingMode.PAE
          ? low - (low % 32)
          : mode === PagingMode.Bits32
            ? low - (low % 4096)
            : cr3 - (cr3 % 4096),
      pdptes: this.#vcpu.pdptes,
      pageSizeExtensions: (cr4 & Cr4.PSE) !== 0,
      globalPages: (cr4 & Cr4.PGE) !== 0,
      executeDisable: (efer & Efer.NXE) !== 0,
      ept,
    };
  }
}

/** What the mappings that EPT or nested paging had a part in are tagged with. */
export const eptRootTag = ({ root, nested }: EptContext): number => (nested ? NESTED_PAGING : root);

function nonCanonical(privilege: Privilege): GuestFault {
  return privilege & STACK_PRIVILEGE ? SS_(0) : GP(0);
}
