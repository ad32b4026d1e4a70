/**
 * Watches on control registers and MSRs, and on VMREAD and VMWRITE of VMCS fields. Explicit accesses are told by the
 * functions that make them; what VM exits, entries, task switches and the like load is found by comparing.
 */
import { bindInstruction } from '../../cpu/bind-instruction.ts';
import { GuestFault } from '../../cpu/events.ts';
import { readStatusFlags } from '../../cpu/flags.ts';
import type { DecodedInstruction as SystemSite } from '../../cpu/instruction.ts';
import { WATCHED } from '../../cpu/memory-map.ts';
import { RFLAGS } from '../../cpu/register-bits.ts';
import { readRegister } from '../../inspect/registers.ts';
import { peekVmcsField } from '../../inspect/vmcs.ts';
import type { DecodedInstruction } from '../../isa/decode.ts';
import type { VmcsField } from '../../vmx/fields.ts';
import { accessedVmcs } from '../../vmx/instructions.ts';
import { fieldByName } from '../../vmx/vmcs.ts';
import type { Host } from '../host.ts';
import type { Watch, WatchTarget } from '../machine-api.ts';
import type { WatchCauses } from './watch-causes.ts';
import type { WatchNotes } from './watch-notes.ts';

interface RegisterWatch {
  readonly watch: Watch;
  /** As of the beginning of the interval under way. */
  before: bigint | undefined;
  readonly peek: () => bigint | undefined;
  /** It changes by itself, so that comparing says nothing. */
  readonly runs: boolean;
}

/** An access that the instruction under way makes if it completes. */
interface Intended {
  readonly watch: Watch;
  readonly access: 'read' | 'write';
  readonly before: bigint | undefined;
  readonly after: () => bigint | undefined;
}

type RegisterTarget = WatchTarget & { readonly kind: 'control-register' | 'msr' };

/** IA32_TIME_STAMP_COUNTER, IA32_TSC_DEADLINE, and the registers of the local APIC. */
const runsByItself = (index: number): boolean => index === 0x10 || index === 0x6e0 || (index >= 0x800 && index < 0x900);
const isRegister = (target: WatchTarget): target is RegisterTarget =>
  target.kind === 'control-register' || target.kind === 'msr';
/** The encoding of the upper half of a field names the field too. */
const FULL = ~1;
const RCX = 1;

export class RegisterWatches {
  readonly #host: Host;
  readonly #notes: WatchNotes;
  readonly #causes: WatchCauses;
  #registers: readonly RegisterWatch[] = [];
  #fields: readonly { readonly watch: Watch; readonly field: VmcsField }[] = [];
  #intended: readonly Intended[] = [];
  #isOpen = false;

  constructor(host: Host, notes: WatchNotes, causes: WatchCauses) {
    this.#host = host;
    this.#notes = notes;
    this.#causes = causes;
  }

  set(watches: readonly Watch[]): void {
    this.#isOpen = false;
    this.#intended = [];
    this.#registers = watches.flatMap((watch) => {
      const { target } = watch;
      if (!isRegister(target)) return [];
      const runs = target.kind === 'msr' && runsByItself(target.index);
      return [{ watch, before: undefined, peek: () => this.#peek(target), runs }];
    });
    this.#fields = watches.flatMap((watch) => {
      const field = watch.target.kind === 'vmcs-field' ? fieldByName(watch.target.name) : undefined;
      return field ? [{ watch, field }] : [];
    });
  }

  /** WATCHED bits: what may access what is watched. */
  get watched(): number {
    if (this.#registers.length + this.#fields.length === 0) return 0;
    const targets = this.#registers.map(({ watch }) => watch.target);
    // Segments, whose bases are MSRs, are loaded by instructions that change the ring; page faults load CR2.
    const hasMsrs = targets.some(({ kind }) => kind === 'msr');
    const hasCr2 = targets.some((target) => target.kind === 'control-register' && target.name === 'cr2');
    return WATCHED.registers | (hasMsrs ? WATCHED.instructions : 0) | (hasCr2 ? WATCHED.exceptions : 0);
  }

  #peek(target: RegisterTarget): bigint | undefined {
    const { processor } = this.#host;
    if (target.kind === 'control-register') return readRegister(processor, target.name);
    try {
      return processor.model.msrs.get(target.index)?.read(processor);
    } catch (fault) {
      if (fault instanceof GuestFault) return undefined;
      throw fault;
    }
  }

  /** From here on changes are looked for. */
  begin(): void {
    for (const one of this.#registers) one.before = one.peek();
    this.#isOpen = true;
  }

  /** Notes what has changed since `begin`, and begins anew. */
  compare(): void {
    if (!this.#isOpen) return;
    const cause = this.#causes.current;
    for (const one of this.#registers) {
      const { watch, before, runs } = one;
      const after = one.peek();
      one.before = after;
      if (!watch.write || runs || before === after) continue;
      this.#notes.add({ watch, access: 'write', before, after: () => after, isExplicit: false, cause });
    }
  }
  end(): void {
    this.compare();
    this.#isOpen = false;
  }

  // ---- explicit accesses -------------------------------------------------------------------------------------------

  controlRegisterWritten(name: string, before: bigint, after: bigint): void {
    const register = name.toLowerCase();
    const isIt = (target: WatchTarget) => target.kind === 'control-register' && target.name === register;
    this.#accessed(isIt, 'write', before, after);
  }
  msrAccessed(index: number, access: 'read' | 'write', value: bigint): void {
    const isIt = (target: WatchTarget) => target.kind === 'msr' && target.index === index;
    this.#accessed(isIt, access, undefined, value);
  }

  #accessed(isIt: (target: WatchTarget) => boolean, access: 'read' | 'write', old: bigint | undefined, after: bigint) {
    for (const { watch, before: begun, peek } of this.#registers) {
      if (!watch[access] || !isIt(watch.target)) continue;
      const before = access === 'read' ? after : (old ?? begun);
      const value = access === 'read' ? () => after : peek;
      this.#notes.add({ watch, access, before, after: value, isExplicit: true, cause: this.#causes.current });
    }
  }

  /** A system instruction is about to be executed: what it accesses if it completes. */
  intend(instruction: DecodedInstruction): void {
    this.#intended = this.#intentionsOf(instruction);
  }
  /** It did not complete. */
  forget(): void {
    this.#intended = [];
  }
  /** It completed; VMREAD and VMWRITE that failed have accessed nothing. */
  completed(): void {
    const intended = this.#intended;
    this.#intended = [];
    const cause = this.#causes.current;
    for (const access of intended) {
      if (access.watch.target.kind === 'vmcs-field' && this.#hasFailed()) continue;
      this.#notes.add({ ...access, isExplicit: true, cause });
    }
  }
  #hasFailed(): boolean {
    return (readStatusFlags(this.#host.state) & (RFLAGS.CF | RFLAGS.ZF)) !== 0;
  }

  #intentionsOf(instruction: DecodedInstruction): Intended[] {
    switch (instruction.mnemonic) {
      case 'Mov': {
        const [to, from] = instruction.operands.map(({ register }) => register?.name.toLowerCase());
        // No function tells of MOV to CR2; it does of the others.
        return to === 'cr2' ? this.#registerAccess('cr2', 'write') : this.#registerAccess(from, 'read');
      }
      case 'Smsw':
        return this.#registerAccess('cr0', 'read');
      case 'Xgetbv':
        return this.#host.state.gpr32(RCX) === 0 ? this.#registerAccess('xcr0', 'read') : [];
      case 'Vmread':
      case 'Vmwrite':
        return this.#fields.length === 0 ? [] : this.#fieldAccess(instruction);
      default:
        return [];
    }
  }

  #registerAccess(name: string | undefined, access: 'read' | 'write'): Intended[] {
    return this.#registers.flatMap(({ watch, peek }) => {
      const { target } = watch;
      if (!watch[access] || target.kind !== 'control-register' || target.name !== name) return [];
      return [{ watch, access, before: peek(), after: peek }];
    });
  }

  #fieldAccess(instruction: DecodedInstruction): Intended[] {
    const { state, physical, vmx } = this.#host;
    const isWrite = instruction.mnemonic === 'Vmwrite';
    const access = isWrite ? 'write' : 'read';
    const site: SystemSite = bindInstruction(state, instruction, state.rip);
    const operand = site.operand(isWrite ? 0 : 1);
    const vmcs = accessedVmcs(vmx.parts);
    if (operand.kind !== 'register' || vmcs === undefined) return [];
    const encoding = state.gpr32(operand.index);
    return this.#fields.flatMap(({ watch, field }) => {
      if (!watch[access] || field.encoding !== (encoding & FULL)) return [];
      const peek = () => peekVmcsField(physical, vmcs, field);
      return [{ watch, access, before: peek(), after: peek }];
    });
  }
}
