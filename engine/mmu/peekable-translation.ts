/** Translations without side effects, for views and for checks that come before an access. */
import { CR0 } from '../cpu/register-bits.ts';
import { type LinearAddress, numberPart, restOf } from '../isa/linear-address.ts';
import { Access, MappingFlag, mappingServes, Privilege } from './access.ts';
import { type PeekedTranslation, type PeekOptions, peeked } from './peeked-translation.ts';
import type { MappingTag } from './tlb.ts';
import { Translation } from './translation.ts';
import { type AddressSpace, Outcome, Walk } from './walk.ts';

export class PeekableTranslation extends Translation {
  /** Whether `translate` would answer without a walk, and so surely not throw. No side effects. */
  protected isServed(linear: LinearAddress, access: Access, privilege: Privilege): boolean {
    if (!this.isCanonical(linear)) return false;
    const { ept, tlb } = this.vcpu;
    if (!(this.state.cr0 & CR0.PG)) return !ept;
    const slot = tlb.linear.find(numberPart(linear), this.currentTag());
    return slot >= 0 && mappingServes(tlb.linear.flagsAt(slot), access, this.policyOf(privilege, access));
  }

  /**
   * Host-physical address of an instruction fetch that needs no walk, and whose going would be told of
   * (`onCodeMappingsChanged`); else -1. No side effects.
   */
  servedFetch(linear: LinearAddress): number {
    if (!this.isServed(linear, Access.Execute, Privilege.Current)) return -1;
    if (!(this.state.cr0 & CR0.PG)) return numberPart(linear);
    const { linear: store } = this.vcpu.tlb;
    const slot = store.find(numberPart(linear), this.currentTag());
    if (!(store.flagsAt(slot) & MappingFlag.Executed)) return -1;
    const physical = store.physicalOf(slot, numberPart(linear)) + restOf(linear);
    return this.audit && !this.#isConfirmed(linear, physical) ? -1 : physical;
  }

  /** Whether a fresh walk for a fetch leads to the same place. */
  #isConfirmed(linear: LinearAddress, physical: number): boolean {
    const walk = new Walk(false);
    const space = this.currentSpace();
    return this.walkPeek(linear, Access.Execute, Privilege.Current, walk, space) && walk.physical === physical;
  }

  /** Whether the mapping tags are those of the current context: VPID, EPTRTA, and PCID unless global. */
  isCurrentTag(tag: Readonly<MappingTag>, isGlobal: boolean): boolean {
    const current = this.currentTag();
    if (tag.vpid !== current.vpid || tag.eptRoot !== current.eptRoot) return false;
    return isGlobal || tag.pcid === current.pcid;
  }

  /** What the TLB holds for a linear address in the current context; undefined if nothing, or without paging. */
  cachedMapping(linear: LinearAddress) {
    const store = this.vcpu.tlb.linear;
    const slot = this.state.cr0 & CR0.PG ? store.find(numberPart(linear), this.currentTag()) : -1;
    return slot >= 0 ? store.at(slot) : undefined;
  }

  /** Translates without side effects: no flag is set, nothing cached, nothing thrown. */
  peekTranslate(
    linear: LinearAddress,
    access: Access,
    privilege: Privilege = Privilege.Current,
    options: PeekOptions = {},
  ): PeekedTranslation {
    const walk = new Walk(false);
    if (!this.isCanonical(linear)) {
      walk.outcome = Outcome.NonCanonical;
      return peeked(walk, false);
    }
    const policy = this.policyOf(privilege, access);
    const useTlb = options.mode !== 'walk' && options.space === undefined;
    const mapping = useTlb ? this.cachedMapping(linear) : undefined;
    if (mapping && mappingServes(mapping.flags, access, policy)) {
      walk.physical = mapping.physical + (numberPart(linear) - mapping.page) + restOf(linear);
      walk.guestPhysical = Number.NaN;
      walk.pageShift = mapping.pageShift;
      walk.flags = mapping.flags;
      return peeked(walk, true);
    }
    this.walkPeek(linear, access, privilege, walk, options.space ?? this.currentSpace(), useTlb);
    return peeked(walk, false);
  }

  /** A walk without side effects into `walk`, whose `effects` must be off; cached guest-physical mappings optional. */
  walkPeek(
    linear: LinearAddress,
    access: Access,
    privilege: Privilege,
    walk: Walk,
    space: AddressSpace,
    useCache = false,
  ): boolean {
    if (walk.effects) throw new Error('a peek must not have effects');
    const cache = useCache ? this.cache() : undefined;
    const structures = useCache ? this.structures() : undefined;
    return this.walker.walk(space, linear, access, this.policyOf(privilege, access), walk, cache, structures);
  }
}
