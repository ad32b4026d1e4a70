/**
 * The handlers that exist, and the table that a machine calls them through.
 *
 * Handlers are made when an instruction form is first decoded. New ones come in small modules; as tail calls between
 * instances cost four times those within one, `settle` compiles all of them into one module again.
 */

import { REGION_KEYS } from '../cpu/memory-map.ts';
import type { DecodedInstruction } from '../isa/decode.ts';
import { ExitReason } from '../vmx/exit-reasons.ts';
import type { LeaveGuest } from '../vmx/planned-exit.ts';
import { emitFallThrough, emitHandler, emitMarkHandler, type HandlerForm, handlerKey } from './handler-emitter.ts';
import { DefinedFunctionList } from './module-parts.ts';
import { emitInt, emitIretq, emitSyscall, emitSysretq, emitSystemHandler } from './ring-transitions.ts';
import { SharedType } from './shared-functions.ts';
import { emitInvlpg, emitMovToCr3 } from './translation-changes.ts';
import { emitVmread, emitVmwrite } from './vmcs-handlers.ts';
import { emitExiting, emitVmresume } from './world-switch-handlers.ts';

/** Table slots of the handlers that belong to no form. */
export const FALL_THROUGH_HANDLER = 0;
export const SYSTEM_HANDLER = 1;
export const MARK_HANDLER = 2;

/** System instructions of 64-bit code with a handler of their own: its slot. */
const ownHandlers: Readonly<Record<string, number>> = {
  Syscall: 3,
  Sysretq: 4,
  Int: 5,
  Iretq: 6,
  Vmread: 7,
  Vmwrite: 8,
  Invlpg: 9,
  'Mov to CR3': 10,
  Vmresume: 11,
  Cpuid: 12,
  Vmcall: 13,
};

/** Slot of the handler of a system instruction. */
export function systemHandler(instruction: DecodedInstruction): number {
  const { codeSize, memory, addressSize, mnemonic } = instruction;
  // Of those that have a handler of their own, only INVLPG takes a memory operand there.
  const isOrdinary = memory ? mnemonic === 'Invlpg' && addressSize === 64 : true;
  return (codeSize === 64 && isOrdinary ? ownHandlers[nameOf(instruction)] : undefined) ?? SYSTEM_HANDLER;
}

function nameOf({ mnemonic, operands }: DecodedInstruction): string {
  const target = operands[0]?.register;
  return mnemonic === 'Mov' && target?.kind === 'control' && target.number === 3 ? 'Mov to CR3' : mnemonic;
}

/** Slots from here on are for compiled regions, of which there are far fewer. */
const FIRST_REGION_SLOT = 14336;
const TABLE_SLOTS = REGION_KEYS;
/** Whether a table index is that of a compiled region. */
export const isRegion = (slot: number): boolean => slot >= FIRST_REGION_SLOT;

/**
 * The handlers of the forms met so far, by slot. One set is shared by the machines of the process, as the code does not depend
 * on the machine, until it is full: whoever needs more goes over to a new one.
 */
class HandlerSet {
  readonly bodies: Uint8Array[] = [
    emitFallThrough(),
    emitSystemHandler(),
    emitMarkHandler(),
    emitSyscall(),
    emitSysretq(),
    emitInt(),
    emitIretq(),
    emitVmread(),
    emitVmwrite(),
    emitInvlpg(),
    emitMovToCr3(),
    emitVmresume(),
    emitExiting(ExitReason.CPUID),
    emitExiting(ExitReason.VMCALL),
  ];
  readonly #slots = new Map<string, number>();
  readonly #room: number;
  #settled: { readonly module: WebAssembly.Module; readonly count: number } | undefined;

  constructor(room = FIRST_REGION_SLOT) {
    this.#room = room;
  }

  hasRoomFor(forms: number): boolean {
    return this.bodies.length + forms <= this.#room;
  }

  /** Slot of a handler; its body is made if it is new. */
  slotOf(handler: HandlerForm): number {
    const key = handlerKey(handler);
    let slot = this.#slots.get(key);
    if (slot === undefined) {
      if (!this.hasRoomFor(1)) throw new Error('more handlers were asked for than there was room for');
      slot = this.bodies.length;
      this.bodies.push(emitHandler(handler));
      this.#slots.set(key, slot);
    }
    return slot;
  }

  /** All handlers there are as one module. */
  settled(): { readonly module: WebAssembly.Module; readonly count: number } {
    const count = this.bodies.length;
    if (this.#settled?.count !== count) this.#settled = { module: this.moduleOf(0, count), count };
    return this.#settled;
  }

  moduleOf(from: number, to: number): WebAssembly.Module {
    const parts = new DefinedFunctionList({ withDispatcher: true, withTransitions: from === 0 });
    for (let slot = from; slot < to; slot++) {
      parts.add({ type: SharedType.handler, body: this.bodies[slot] as Uint8Array, export: `h${slot}` });
    }
    return new WebAssembly.Module(parts.encode());
  }
}

let newestSet = new HandlerSet();

export type Handler = (record: number) => number;

const notInstalled = (): never => {
  throw new Error('no handlers are installed');
};

export class HandlerLibrary {
  readonly table = new WebAssembly.Table({ element: 'anyfunc', initial: TABLE_SLOTS });
  readonly #imports: Record<string, Record<string, unknown>>;
  readonly #room: number | undefined;
  #set: HandlerSet;
  /** Enters a block: takes its budget and runs until something needs the run loop. Returns an Exit. */
  enter: Handler = notInstalled;
  /**
   * Delivers an event of the instruction at `state.rip`, given its vector, error code and EventKind, if nothing about it
   * is out of the ordinary: returns 0 and changes nothing otherwise.
   */
  deliverEvent: (vector: number, errorCode: number, kind: number) => number = notInstalled;
  /** Makes a VM exit if nothing about it is out of the ordinary: world-exit-emitter.ts. Returns 0 and changes nothing otherwise. */
  leaveGuest: LeaveGuest = notInstalled;
  /** Handlers below this are installed. */
  #installed = 0;
  #settled = 0;
  #nextRegionSlot = FIRST_REGION_SLOT;
  readonly #freeSlots: number[] = [];

  /** `runtime` holds the functions of sharedImports; `room`, if not as is usual, is how many handlers there may be. */
  constructor(memory: WebAssembly.Memory, runtime: Record<string, unknown>, room?: number) {
    this.#room = room;
    this.#set = room === undefined ? newestSet : new HandlerSet(room);
    this.#imports = { runtime, env: { memory, table: this.table } };
    this.settle();
  }

  /** Slot of a handler; there has to be room for it if it is new. */
  slotOf(handler: HandlerForm): number {
    return this.#set.slotOf(handler);
  }
  /** Whether so many handlers more can be asked for. */
  hasRoomFor(forms: number): boolean {
    return this.#set.hasRoomFor(forms);
  }
  /** Forgets all handlers, so that there is room again; no record may refer to one any more. */
  startOver(): void {
    if (this.#set === newestSet) newestSet = new HandlerSet();
    this.#set = this.#room === undefined ? newestSet : new HandlerSet(this.#room);
    this.settle();
  }

  /** Installs what has been asked for since; call before running new records. */
  install(): void {
    const { length } = this.#set.bodies;
    if (this.#installed === length) return;
    this.#link(this.#set.moduleOf(this.#installed, length), this.#installed, length);
  }

  /** True while some handlers lie outside the one module. */
  get isScattered(): boolean {
    return this.#settled !== this.#installed;
  }

  /** Puts all handlers into one instance. */
  settle(): void {
    const { module, count } = this.#set.settled();
    this.#link(module, 0, count);
    this.#settled = count;
  }

  /** A slot for a compiled region. */
  reserveSlot(): number {
    const slot = this.#freeSlots.pop() ?? this.#nextRegionSlot++;
    if (slot >= TABLE_SLOTS) throw new Error('the table of compiled regions is full');
    return slot;
  }
  /** Puts a compiled region, a module that exports `run`, into its slot. */
  installRegion(slot: number, bytes: Uint8Array): void {
    const { runtime, env } = this.#imports;
    const imports = { runtime: runtime ?? {}, env: { memory: env?.memory } };
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
    this.table.set(slot, instance.exports.run);
  }
  /** Forgets a compiled region; nothing may refer to its slot any more. */
  freeRegion(slot: number): void {
    this.table.set(slot, null);
    this.#freeSlots.push(slot);
  }

  #link(module: WebAssembly.Module, from: number, to: number): void {
    const { exports } = new WebAssembly.Instance(module, this.#imports);
    for (let slot = from; slot < to; slot++) this.table.set(slot, exports[`h${slot}`]);
    if (from === 0) {
      this.enter = exports.enter as Handler;
      this.deliverEvent = exports.deliverEvent as HandlerLibrary['deliverEvent'];
      this.leaveGuest = exports.leaveGuest as LeaveGuest;
    }
    this.#installed = to;
  }
}
