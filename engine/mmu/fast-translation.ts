/**
 * What compiled code may translate by itself for the loaded vCPU: the fast TLB, with the set that it is to use now, and what
 * leaves it when registers change.
 */

import {
  AUDITED_ADDRESS,
  EMPTY_FAST_TLB_ADDRESS,
  FAST_TLB_SETS_OF_WORLD,
  LINEAR_TLB_ADDRESS,
  ORDINARY_TRANSLATION_ADDRESS,
  PLANNED_VMCS_ADDRESS,
} from '../cpu/memory-map.ts';
import { CR0, CR4, RFLAGS } from '../cpu/register-bits.ts';
import type { CpuState } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { MappingFlag, PRIVILEGE_MASK, Privilege } from './access.ts';
import { FastSet, FastTlb, fastSetAddress, type World } from './fast-tlb.ts';
import { keyRights } from './key-rights.ts';
import { TranslationContext } from './translation-context.ts';
import { EptOption } from './walk.ts';
import { WorldRegisters } from './world-registers.ts';

export class FastTranslation {
  readonly state: CpuState;
  readonly fast: FastTlb;
  /**
   * Called when instruction fetches may translate differently from now on: for the `lengthBytes` from a linear address,
   * or for all addresses (undefined); of a world, or of both (undefined).
   */
  onCodeMappingsChanged: (linear: number | undefined, lengthBytes: number, world: World | undefined) => void = () => {};
  protected readonly view: DataView;

  #vcpu = new TranslationContext();
  /** What the fast translations of the two worlds were made for. */
  readonly #worlds = [new WorldRegisters(0), new WorldRegisters(1)] as const;
  #mayRefill = true;
  #isAudited = false;

  constructor(state: CpuState) {
    this.state = state;
    this.view = state.view;
    this.fast = new FastTlb(state.view.buffer as ArrayBuffer);
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
    this.view.setUint32(PLANNED_VMCS_ADDRESS, 0, true);
  }

  /** Whether compiled code may translate by itself at all, and whether what it found would have to be audited. */
  protected letRefill(may: boolean, isAudited: boolean): void {
    this.#mayRefill = may;
    this.#isAudited = isAudited;
    this.#publishMappings();
  }

  #publishMappings(): void {
    // Compiled code takes it that pages with key 0 are open, and leaves all others; it knows EPT as it mostly is.
    const { ept } = this.#vcpu;
    const { pkru, pkrs } = keyRights(this.view);
    const isOrdinaryEpt = !ept || ((ept.options & ~EptOption.ApicAccesses) === 0 && ept.levels === 4 && !ept.nested);
    const cachesStructures = this.#vcpu.tlb.structures !== undefined;
    const isOrdinary = !cachesStructures && isOrdinaryEpt && ((pkru | pkrs) & 3) === 0;
    const mayRefill = isOrdinary && this.#mayRefill;
    this.view.setUint32(ORDINARY_TRANSLATION_ADDRESS, isOrdinary ? 1 : 0, true);
    this.view.setUint32(AUDITED_ADDRESS, this.#isAudited ? 1 : 0, true);
    this.view.setUint32(LINEAR_TLB_ADDRESS, mayRefill ? this.#vcpu.tlb.linear.address : 0, true);
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
    this.#worlds[this.#world()].remember(this.view, this.#vcpu);
    this.privilegeChanged();
    this.onCodeMappingsChanged(undefined, 0, undefined);
  }

  /** Paging structures were written, and somebody wants to know who translates by what they said before. */
  tablesChanged(): void {
    this.fast.dropAll();
    this.onCodeMappingsChanged(undefined, 0, undefined);
  }

  /** The same, of structures that translate one page, which has code or has not. */
  tablesOfPageChanged(page: number, hasCode: boolean): void {
    this.#mappingDropped(page, 12, hasCode ? MappingFlag.Executed : 0, false);
  }

  /** CR3 was written: nothing fast of the world in which that happened survives. */
  protected spaceChanged(): void {
    const world = this.#world();
    this.fast.dropWorld(world);
    this.#worlds[world].remember(this.view, this.#vcpu);
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
    if (!registers.areCurrent(this.view, this.#vcpu)) {
      this.fast.dropWorld(world);
      registers.remember(this.view, this.#vcpu);
      this.onCodeMappingsChanged(undefined, 0, world);
    }
    this.privilegeChanged();
  }

  #world(): World {
    return this.view.getUint32(fieldAddress.nonRoot, true) ? 1 : 0;
  }

  /** Whether explicit accesses raise #AC where they are not aligned: ring 3, CR0.AM and EFLAGS.AC. */
  #checksAlignment(): boolean {
    const view = this.view;
    if ((view.getUint32(fieldAddress.flagsOther, true) & RFLAGS.AC) === 0) return false;
    return view.getUint32(fieldAddress.cpl, true) === 3 && (view.getUint32(fieldAddress.cr0, true) & CR0.AM) !== 0;
  }

  /** The same, as the set of the fast TLB says, which compiled code chooses too. */
  protected get isAlignmentChecked(): boolean {
    return this.view.getUint32(fieldAddress.tlbBase, true) === EMPTY_FAST_TLB_ADDRESS;
  }

  /** To be called when CPL, EFLAGS.AC, CR0.AM or CR4.SMAP changed: chooses the set of the fast TLB. */
  privilegeChanged(): void {
    const base = this.#checksAlignment() ? EMPTY_FAST_TLB_ADDRESS : fastSetAddress(this.fastSet());
    this.view.setUint32(fieldAddress.tlbBase, base, true);
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
    const view = this.view;
    const first = this.#world() * FAST_TLB_SETS_OF_WORLD;
    if (view.getUint32(fieldAddress.cpl, true) === 3) return first + FastSet.User;
    const smap = (view.getUint32(fieldAddress.cr4, true) & CR4.SMAP) !== 0;
    const exempt = smap && (view.getUint32(fieldAddress.flagsOther, true) & RFLAGS.AC) !== 0;
    return first + (exempt ? FastSet.SupervisorAc : FastSet.Supervisor);
  }
}
