/**
 * What compiled code calls back: slow memory accesses, segment checks, exceptions, system instructions. Nothing thrown
 * crosses wasm frames: it is kept as the pending event and a status is returned.
 */

import { checkSegment } from '../cpu/access.ts';
import { bindInstruction } from '../cpu/bind-instruction.ts';
import { GP, GuestFault, PF, SS_, UD, Unimplemented, Vector } from '../cpu/events.ts';
import { extensionFault } from '../cpu/extensions.ts';
import type { SystemInstruction, DecodedInstruction as SystemSite } from '../cpu/instruction.ts';
import { PAGE_BYTES, PAGE_FAULT_ADDRESS, pageFaultField, SCRATCH_ADDRESS } from '../cpu/memory-map.ts';
import { linearOfRip } from '../cpu/modes.ts';
import type { Processor } from '../cpu/processor.ts';
import { SS } from '../cpu/state.ts';
import { SEGMENT_BYTES, segmentAddress } from '../cpu/state-layout.ts';
import { systemInstructionKey } from '../cpu/system-table.ts';
import { type DecodedInstruction, UNAVAILABLE } from '../isa/decode.ts';
import { type LinearAddress, linearAddressOf, offsetInPage, plus, readLinearAddress } from '../isa/linear-address.ts';
import { isOverlong } from '../isa/prefixes.ts';
import { Access } from '../mmu/access.ts';
import type { Mmu } from '../mmu/mmu.ts';
import { FillResult } from '../mmu/page-access.ts';
import { worldSwitchPlace } from '../vmx/world-switch-layout.ts';
import type { CodeCache } from './code-cache.ts';
import { Exit, FIRST_HALF, FOR_WRITE, ON_STACK, PROBE, SIZE_MASK, SlowStatus, WITHOUT_RETRY } from './exits.ts';
import { NO_FETCH } from './fetch-translation.ts';
import { callFunction } from './pure-functions.ts';
import { record } from './record.ts';
import type { RuntimeFunctions } from './runtime-functions.ts';

export interface RuntimeParts {
  readonly processor: Processor;
  readonly mmu: Mmu;
  readonly systemInstructions: Readonly<Record<string, SystemInstruction | undefined>>;
  /** Limit and type check of a legacy segment access, with all its faults. */
}

interface Bound {
  readonly instruction: DecodedInstruction;
  readonly site: SystemSite;
  readonly execute: SystemInstruction | undefined;
}

export class Runtime {
  /** What ended the instruction: GuestFault, VmExit, Unimplemented. Undefined if a refill found a page fault. */
  pendingEvent: unknown;
  /** Set to leave compiled code after the instruction that runs. */
  stopRequested = false;
  /** Whether something was noted, of a fetch, say, that the boundary after the instruction has to judge. */
  isUnsettled: () => boolean = () => false;
  /** The record whose system instruction or slow access is under way, else 0. */
  currentRecord = 0;
  /** Set by the run loop once the cache exists. */
  codeCache: CodeCache | undefined;
  /** Whether the region that a record enters may run. Set by the run loop. */
  mayEnterRegion: (recordAddress: number) => boolean = () => false;
  /** Called after each system instruction: control state may have changed. Returns true to leave. */
  afterSystem: () => boolean = () => false;
  /** Whether an interrupt is to be taken before the next instruction, after a VM entry. */
  interruptWanted: () => boolean = () => false;
  /** Compiled code has entered or left a guest, once or more. */
  onSwitched: () => void = () => {};
  /**
   * Deals with the event that ended the instruction of a record without leaving compiled code. Says how to go on;
   * Exit.Event if that needs the run loop.
   */
  eventInPlace: (recordAddress: number) => Exit = () => Exit.Event;
  /** Told before each system instruction, with the instruction; may request a stop by throwing. */
  beforeSystem: ((instruction: DecodedInstruction) => void) | undefined;
  readonly #parts: RuntimeParts;

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
  }

  /** What compiled code calls. */
  functions(): RuntimeFunctions {
    return {
      slowRead: (linear: LinearAddress, size: number, at: number) => {
        this.followSwitch();
        return this.#access(linear, size, at, false);
      },
      slowWrite: (linear: LinearAddress, size: number, at: number) => {
        this.followSwitch();
        return this.#access(linear, size, at, true);
      },
      segmentCheck: (at: number, offset: number, segment: number, size: number) =>
        this.#checkedSegment(at, offset, segment, size),
      raise: (_record: number, vector: number, errorCode: number) => {
        this.pendingEvent = new GuestFault(vector, errorCode < 0 ? undefined : errorCode);
      },
      system: (recordAddress: number) => {
        this.followSwitch();
        return this.#system(recordAddress);
      },
      event: (recordAddress: number) => {
        this.followSwitch();
        return this.eventInPlace(recordAddress);
      },
      enterRegion: (at: number) => {
        this.followSwitch();
        return this.mayEnterRegion(at) ? 1 : 0;
      },
      interruptWanted: () => {
        this.followSwitch();
        return this.interruptWanted() ? 1 : 0;
      },
      translateFetch: (linear: bigint) => {
        this.followSwitch();
        return this.#translateFetch(linearAddressOf(linear));
      },
      call: (index: number) => callFunction(this.#parts.processor.state.view, index),
    };
  }

  /** Of a guest. What ends a fetch is found again by the run loop, which counts it. */
  #translateFetch(linear: LinearAddress): number {
    const { mmu } = this.#parts;
    const { misses } = mmu.statistics;
    const physical = mmu.tryTranslate(linear, Access.Execute);
    if (physical >= 0 && mmu.physical.isRam(physical)) return physical;
    mmu.statistics.misses = misses;
    return NO_FETCH;
  }

  /** To be called wherever compiled code has come back: it may have entered or left a guest. */
  followSwitch(): void {
    if (this.#parts.processor.state.view.getUint32(worldSwitchPlace.switched, true) !== 0) this.onSwitched();
  }

  /** What ended the instruction that left compiled code with Exit.Event. Anything but the above is an internal bug. */
  takeEvent(): unknown {
    const event = this.pendingEvent ?? this.#refillFault();
    this.pendingEvent = undefined;
    return event;
  }

  #refillFault(): GuestFault {
    const { view } = this.#parts.processor.state;
    if (view.getUint32(PAGE_FAULT_ADDRESS + pageFaultField.isPending, true) === 0)
      throw new Error('no event is pending');
    view.setUint32(PAGE_FAULT_ADDRESS + pageFaultField.isPending, 0, true);
    const errorCode = view.getUint32(PAGE_FAULT_ADDRESS + pageFaultField.errorCode, true);
    return PF(errorCode, readLinearAddress(view, PAGE_FAULT_ADDRESS + pageFaultField.linear));
  }

  #checkedSegment(recordAddress: number, offset: number, segment: number, size: number): number {
    try {
      this.#checkSegment(offset, segment, size);
      return 0;
    } catch (event) {
      this.#fail(event, recordAddress, size);
      return 1;
    }
  }

  #fail(event: unknown, recordAddress: number, size: number): void {
    this.pendingEvent = this.#isStackFault(event, recordAddress, size) ? SS_(0) : event;
  }

  /** The instruction joined with the state, and its function; kept, as it is asked for at each execution. */
  #bind(recordAddress: number, ip: LinearAddress): Bound {
    const { block, ordinal } = (this.codeCache as CodeCache).placeOf(recordAddress);
    const known = block.bound[ordinal] as Bound | undefined;
    if (known?.site.ip === ip) return known;
    const instruction = block.instructions[ordinal] as DecodedInstruction;
    const site = bindInstruction(this.#parts.processor.state, instruction, ip);
    const bound = { instruction, site, execute: this.#parts.systemInstructions[systemInstructionKey(site)] };
    block.bound[ordinal] = bound;
    return bound;
  }

  #checkExtensions({ extensions }: DecodedInstruction): void {
    const fault = extensions === 0 ? undefined : extensionFault(this.#parts.processor.state, extensions);
    if (fault) throw fault;
  }

  #notExecutable(decoded: DecodedInstruction): GuestFault | Unimplemented {
    if (decoded.mnemonic === UNAVAILABLE) return UD();
    this.#checkExtensions(decoded);
    if (decoded.mnemonic !== 'INVALID')
      return new Unimplemented(`instruction ${decoded.mnemonic.toUpperCase()} (${decoded.codeName})`);
    const { state } = this.#parts.processor;
    const linear = linearOfRip(state);
    return isOverlong(this.#parts.mmu.peek(linear, 30), decoded.codeSize) ? GP(0) : UD();
  }

  /** A RAM page enters the fast TLB and the access is made there; what cannot be there is carried out here. */
  #access(linear: LinearAddress, size: number, recordAddress: number, store: boolean): number {
    const bytes = size & SIZE_MASK;
    if (size & FIRST_HALF && !this.#parts.mmu.isCanonical(plus(linear, 2 * bytes - 1))) {
      this.#fail(GP(0), recordAddress, size);
      return SlowStatus.Event;
    }
    if ((size & WITHOUT_RETRY) === 0 && offsetInPage(linear) + bytes <= PAGE_BYTES) {
      const { mmu } = this.#parts;
      this.currentRecord = recordAddress;
      const filled = mmu.fillFor(linear, store || size & FOR_WRITE ? Access.Write : Access.Read);
      this.currentRecord = 0;
      if (filled === FillResult.Filled && !this.stopRequested) return SlowStatus.Retry;
      if (filled === FillResult.Failed) {
        this.#fail(mmu.takeFailure(), recordAddress, size);
        return SlowStatus.Event;
      }
    }
    return this.#carryOut(linear, size, recordAddress, store);
  }

  #carryOut(linear: LinearAddress, size: number, recordAddress: number, store: boolean): number {
    this.currentRecord = recordAddress;
    try {
      if (store) this.#write(linear, size);
      else this.#read(linear, size);
    } catch (event) {
      this.#fail(event, recordAddress, size);
      return SlowStatus.Event;
    } finally {
      this.currentRecord = 0;
    }
    return this.stopRequested ? SlowStatus.DoneStopAfter : SlowStatus.Done;
  }

  /** The MMU reports non-canonical addresses as #GP(0); those of stack accesses are #SS(0). */
  #isStackFault(event: unknown, recordAddress: number, size: number): boolean {
    if (!(event instanceof GuestFault) || event.vector !== Vector.GP) return false;
    const { codeSize, memory } = (this.codeCache as CodeCache).instructionOf(recordAddress);
    return codeSize === 64 && ((size & ON_STACK) !== 0 || memory?.segment === SS);
  }

  #read(linear: LinearAddress, size: number): void {
    const { mmu, processor } = this.#parts;
    const { view } = processor.state;
    const bytes = size & SIZE_MASK;
    if (size & FOR_WRITE) mmu.probeModification(linear, bytes);
    if (bytes === 16) mmu.slowRead128(linear, view, SCRATCH_ADDRESS);
    else if (bytes === 8) view.setBigUint64(SCRATCH_ADDRESS, mmu.slowRead64(linear), true);
    else view.setUint32(SCRATCH_ADDRESS, mmu.slowRead(linear, bytes), true);
  }

  #write(linear: LinearAddress, size: number): void {
    const { mmu, processor } = this.#parts;
    const { view } = processor.state;
    const bytes = size & SIZE_MASK;
    if (size & PROBE) mmu.probeWrite(linear, bytes);
    else if (bytes === 16) mmu.slowWrite128(linear, view, SCRATCH_ADDRESS);
    else if (bytes === 8) mmu.slowWrite64(linear, view.getBigUint64(SCRATCH_ADDRESS, true));
    else mmu.slowWrite(linear, bytes, view.getUint32(SCRATCH_ADDRESS, true));
  }

  #checkSegment(offset: number, address: number, size: number): void {
    const index = (address - segmentAddress(0)) / SEGMENT_BYTES;
    // The zero field stands for a segment of 64-bit code, which has no limit.
    if (!Number.isInteger(index) || index < 0 || index > 7) return;
    const access = size & FOR_WRITE ? 'write' : 'read';
    checkSegment(this.#parts.processor, index, offset, size & SIZE_MASK, access);
  }

  #system(recordAddress: number): number {
    const { processor } = this.#parts;
    const { state } = processor;
    const { view } = state;
    const nextOffset = view.getUint32(recordAddress + record.nextOffset, true);
    const length = view.getUint16(recordAddress + record.length, true);
    const ip = plus(state.pageBase, nextOffset - length);
    state.rip = ip;
    processor.transferred = false;
    this.currentRecord = recordAddress;
    try {
      const { instruction, site, execute } = this.#bind(recordAddress, ip);
      this.beforeSystem?.(instruction);
      if (!execute) throw this.#notExecutable(instruction);
      this.#checkExtensions(instruction);
      execute(processor, site);
      const { vmExit } = processor;
      processor.vmExit = undefined;
      if (vmExit) return this.#systemEvent(recordAddress, vmExit);
      if (!processor.transferred) state.rip = site.nextIp;
    } catch (event) {
      return this.#systemEvent(recordAddress, event);
    } finally {
      this.currentRecord = 0;
    }
    const leave = this.afterSystem();
    return leave || this.stopRequested ? Exit.StopAtTarget + 1 : 0;
  }

  #systemEvent(recordAddress: number, event: unknown): number {
    this.pendingEvent = event;
    this.#parts.processor.state.exitRecord = recordAddress;
    return Exit.Event + 1;
  }
}
