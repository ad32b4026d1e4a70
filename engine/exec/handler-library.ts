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
import { DefinedFunctionList, HANDLER_TABLE_NAME } from './module-parts.ts';
import { emitInt, emitIretq, emitSyscall, emitSysretq, emitSystemHandler } from './ring-transitions.ts';
import { RUNTIME_TABLE_NAME } from './runtime-functions.ts';
import { SharedType } from './shared-functions.ts';
import { emitInvlpg, emitMovToCr3 } from './translation-changes.ts';
import { emitVmread, emitVmwrite } from './vmcs-handlers.ts';
import { emitExiting, emitVmresume } from './world-switch-handlers.ts';

/** The table's first slots are for compiled regions; handlers follow, for whom it grows. */
const FIRST_HANDLER = REGION_KEYS;
/** Whether a slot of the table is that of a compiled region. */
const isRegion = (slot: number): boolean => slot < FIRST_HANDLER;
/** Handlers that there may be, and those that there is room for at first. */
const MAX_HANDLERS = 14336;
const FIRST_ROOM = 512;

/** Slots of the handlers that belong to no form. */
export const FALL_THROUGH_HANDLER = FIRST_HANDLER;
export const SYSTEM_HANDLER = FIRST_HANDLER + 1;
export const MARK_HANDLER = FIRST_HANDLER + 2;

/** System instructions of 64-bit code with a handler of their own: its place among the handlers. */
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
  const own = codeSize === 64 && isOrdinary ? ownHandlers[nameOf(instruction)] : undefined;
  return own === undefined ? SYSTEM_HANDLER : FIRST_HANDLER + own;
}

function nameOf({ mnemonic, operands }: DecodedInstruction): string {
  const target = operands[0]?.register;
  return mnemonic === 'Mov' && target?.kind === 'control' && target.number === 3 ? 'Mov to CR3' : mnemonic;
}

/**
 * The handlers of the forms met so far, in the order of their slots. One set is shared by the machines of the process, as the code does not depend
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

  constructor(room = MAX_HANDLERS) {
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
      slot = FIRST_HANDLER + this.bodies.length;
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
    for (let index = from; index < to; index++) {
      parts.add({ type: SharedType.handler, body: this.bodies[index] as Uint8Array, export: `h${index}` });
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
  readonly table = new WebAssembly.Table({ element: 'anyfunc', initial: FIRST_HANDLER + FIRST_ROOM });
  readonly #imports: Readonly<Record<string, Record<string, unknown>>>;
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
  /** Handlers have been added: some lie outside the one module now. */
  onScattered: () => void = () => {};
  /** Handlers below this are installed. */
  #installed = 0;
  #settled = 0;
  /** No region has slot 0: an empty entry of the jump cache leads to a record without a handler. */
  #nextRegionSlot = 1;
  readonly #freeSlots: number[] = [];

  /** `runtime` is the table of runtime-functions.ts; `room`, if not as is usual, is how many handlers there may be. */
  constructor(memory: WebAssembly.Memory, runtime: WebAssembly.Table, room?: number) {
    this.#room = room;
    this.#set = room === undefined ? newestSet : new HandlerSet(room);
    this.#imports = { env: { memory, [RUNTIME_TABLE_NAME]: runtime, [HANDLER_TABLE_NAME]: this.table } };
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
    this.onScattered();
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
    if (!isRegion(slot)) throw new Error('the table of compiled regions is full');
    return slot;
  }
  /** What a module of compiled regions exports. */
  linkRegions(module: WebAssembly.Module): Record<string, unknown> {
    return new WebAssembly.Instance(module, this.#imports).exports;
  }
  /** Puts a compiled region into its slot. */
  installRegion(slot: number, run: unknown): void {
    this.table.set(slot, run);
  }
  /** Forgets a compiled region; nothing may refer to its slot any more. */
  freeRegion(slot: number): void {
    this.table.set(slot, null);
    this.#freeSlots.push(slot);
  }

  /** By half as much again at least, as every instance has its copy of the table. */
  #growTo(slots: number): void {
    const { length } = this.table;
    if (slots > length)
      this.table.grow(Math.max(slots, FIRST_HANDLER + Math.ceil(1.5 * (length - FIRST_HANDLER))) - length);
  }

  #link(module: WebAssembly.Module, from: number, to: number): void {
    const { exports } = new WebAssembly.Instance(module, this.#imports);
    this.#growTo(FIRST_HANDLER + to);
    for (let index = from; index < to; index++) this.table.set(FIRST_HANDLER + index, exports[`h${index}`]);
    if (from === 0) {
      this.enter = exports.enter as Handler;
      this.deliverEvent = exports.deliverEvent as HandlerLibrary['deliverEvent'];
      this.leaveGuest = exports.leaveGuest as LeaveGuest;
    }
    this.#installed = to;
  }
}
