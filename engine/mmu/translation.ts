/** From linear to host-physical addresses for the loaded vCPU: the TLB, the walks behind it, the faults. */

import { GP, type GuestFault, PF, SS_, type VmExit } from '../cpu/events.ts';
import { CR0, CR4, EFER, RFLAGS } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { isSignExtended, type LinearAddress, numberPart, restOf } from '../isa/linear-address.ts';
import {
  Access,
  DENIED_KEYS_FACTOR,
  MappingFlag,
  mappingServes,
  Policy,
  PRIVILEGE_MASK,
  Privilege,
  STACK_PRIVILEGE,
} from './access.ts';
import type { ArchitecturalTlb } from './architectural-tlb.ts';
import { FastTranslation } from './fast-translation.ts';
import { GuestWalker, type StructureCacheOfContext } from './guest-walk.ts';
import { deniedKeys, keyRights } from './key-rights.ts';
import { DEFAULT_PHYSICAL_ADDRESS_BITS, PagingMode, pagingMode } from './paging-structures.ts';
import type { PhysicalMemory } from './physical-memory.ts';
import { type MappingTag, NESTED_PAGING, NO_EPT } from './tlb.ts';
import { type ApicAccessPage, TlbStatistics, type TranslationAudit } from './translation-context.ts';
import { exitOfGuestPhysicalAccess, exitOfLinearAccess } from './translation-exits.ts';
import { type AddressSpace, type EptContext, Outcome, Walk } from './walk.ts';

/** All addresses within are canonical whatever the paging mode: 2^47. */
const CANONICAL_LIMIT = 0x8000_0000_0000;

export class Translation extends FastTranslation {
  readonly physical: PhysicalMemory;
  readonly physicalAddressBits: number;
  readonly walker: GuestWalker;
  /** Lookups of the architectural TLB that it answered, and that took a walk. Those the fast TLB answered are in neither. */
  readonly statistics: TlbStatistics;
  /** Bit 12 of the exit qualification of EPT violations: set by IRET while it undoes blocking by NMI. */
  nmiUnblockingDueToIret = false;
  apicAccessPage: ApicAccessPage | undefined;

  /** While there is one, nobody but the slow path translates. */
  protected audit: TranslationAudit | undefined;
  /** Whether the audit contradicted the translation made last. */
  isStale = false;

  #failure: GuestFault | VmExit | undefined;
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
    super(state);
    this.physical = physical;
    this.physicalAddressBits = physicalAddressBits;
    this.walker = new GuestWalker(physical, physicalAddressBits, pages1GB);
    this.statistics = new TlbStatistics(state.view.buffer as ArrayBuffer);
  }

  get tlb(): ArchitecturalTlb {
    return this.vcpu.tlb;
  }

  /** VPID and EPT in force. */
  get context(): { readonly vpid: number; readonly ept: EptContext | undefined } {
    return { vpid: this.vcpu.vpid, ept: this.vcpu.ept };
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
    if (!(this.view.getUint32(fieldAddress.cr0, true) & CR0.PG)) {
      return this.vcpu.ept ? this.#walkUnpaged(linear, access) : linear;
    }
    const tag = this.currentTag();
    const policy = this.policyOf(privilege, access);
    const store = this.vcpu.tlb.linear;
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
    return isSignExtended(linear, (this.view.getUint32(fieldAddress.cr4, true) & CR4.LA57) !== 0);
  }

  #walkAndCache(linear: LinearAddress, access: Access, policy: number, tag: MappingTag): number {
    this.statistics.misses++;
    const walk = this.#walk;
    const store = this.vcpu.tlb.linear;
    if (!this.walker.walk(this.currentSpace(), linear, access, policy, walk, this.cache(), this.structures())) {
      this.vcpu.tlb.dropAddress(numberPart(linear), tag);
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
      const store = this.vcpu.tlb.guestPhysical;
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
    const walk = this.#walk;
    if (walk.outcome === Outcome.PageFault) return PF(walk.errorCode, linear);
    this.vcpu.tlb.guestPhysical.dropAddress(walk.guestPhysical, this.#guestPhysicalTag);
    return exitOfLinearAccess(walk, linear, this);
  }

  /**
   * Host-physical address of a guest-physical one that is accessed for no linear address (PDPTEs, VMX structures of
   * the guest). `rights` are EptRight bits.
   *
   * @throws VmExit 44, 48 or 49
   */
  translateGuestPhysical(guestPhysical: number, rights: number): number {
    const { ept } = this.vcpu;
    if (!ept) return guestPhysical;
    const walk = this.#walk;
    // PDPTEs, with nested paging.
    walk.inPageWalk = true;
    if (this.walker.ept.translateAccess(ept, guestPhysical, rights, walk, this.cache())) return walk.eptPhysical;
    throw exitOfGuestPhysicalAccess(walk, guestPhysical, this);
  }

  /** Policy for an access, from the registers as they are now: Policy bits, and the protection keys that deny it. */
  policyOf(privilege: Privilege, access: Access): number {
    const view = this.view;
    const who = privilege & PRIVILEGE_MASK;
    const cr4 = view.getUint32(fieldAddress.cr4, true);
    const isUser =
      who === Privilege.User || (who === Privilege.Current && view.getUint32(fieldAddress.cpl, true) === 3);
    let policy = isUser ? Policy.User : 0;
    if (view.getUint32(fieldAddress.cr0, true) & CR0.WP) policy |= Policy.WriteProtect;
    if (cr4 & CR4.SMEP) policy |= Policy.Smep | Policy.ReportFetch;
    if (cr4 & CR4.PAE && view.getUint32(fieldAddress.efer, true) & EFER.NXE) policy |= Policy.ReportFetch;
    if (cr4 & CR4.SMAP) {
      const exempt = who !== Privilege.Supervisor && view.getUint32(fieldAddress.flagsOther, true) & RFLAGS.AC;
      if (!exempt) policy |= Policy.Smap;
    }
    return policy + deniedKeys(keyRights(view), access, policy) * DENIED_KEYS_FACTOR;
  }

  /** Tag of the mappings of the current context. One object, refreshed. */
  protected currentTag(): MappingTag {
    const view = this.view;
    const tag = this.#tag;
    const { vpid, ept } = this.vcpu;
    const cr3Low = view.getUint32(fieldAddress.cr3, true);
    tag.vpid = vpid;
    tag.pcid = view.getUint32(fieldAddress.cr4, true) & CR4.PCIDE ? cr3Low & 0xfff : 0;
    tag.eptRoot = ept ? eptRootTag(ept) : NO_EPT;
    return tag;
  }

  /** The paging-structure caches, where there are any, for walks of the current context. */
  protected structures(): StructureCacheOfContext | undefined {
    const { structures } = this.vcpu.tlb;
    return structures && { caches: structures, tag: this.currentTag() };
  }

  protected cache() {
    const { ept, tlb } = this.vcpu;
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
    const { ept, pdptes } = this.vcpu;
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
      pdptes: this.vcpu.pdptes,
      pageSizeExtensions: (cr4 & CR4.PSE) !== 0,
      globalPages: (cr4 & CR4.PGE) !== 0,
      executeDisable: (efer & EFER.NXE) !== 0,
      ept,
    };
  }
}

/** What the mappings that EPT or nested paging had a part in are tagged with. */
export const eptRootTag = ({ root, nested }: EptContext): number => (nested ? NESTED_PAGING : root);

function nonCanonical(privilege: Privilege): GuestFault {
  return privilege & STACK_PRIVILEGE ? SS_(0) : GP(0);
}
