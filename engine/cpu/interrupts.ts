/**
 * Delivery of interrupts and exceptions through the IVT and the IDT, and what becomes of faults during delivery
 * (SDM volume 3, "Interrupt and Exception Handling").
 */

import { low32, plus } from '../isa/linear-address.ts';
import { type DebugFault, isDebugFault } from './debug-exceptions.ts';
import { GP, GuestFault, Vector } from './events.ts';
import { readFlags } from './flags.ts';
import { deliverThroughGate } from './interrupt-gate.ts';
import { isRealMode, refreshMode } from './modes.ts';
import { monitorTrapDue } from './monitor-trap.ts';
import { endMonitoring } from './monitoring.ts';
import { type CpuEvent, EventType, Privilege, type Processor } from './processor.ts';
import { BLOCKING, DEBUGCTL, DR6, DR7, RFLAGS } from './register-bits.ts';
import { loadRealSegment } from './segmentation.ts';
import { describeShutdown } from './shutdown-cause.ts';
import { commitToCurrentStack, currentStack } from './stack.ts';
import { CS } from './state.ts';

/**
 * Delivers a fault that an instruction (or fetch) raised: VMX is asked first, then CR2 or DR6 are set and the handler
 * entered. `state.rip` must be the address to return to. Throws `VmExit` or `Unimplemented` only.
 */
export function raiseFault(processor: Processor, fault: GuestFault): void {
  processor.intercepts?.onException?.(fault);
  deliverEvent(processor, faultEvent(processor, fault));
}

/** Delivers an external interrupt; the caller has decided that it is not blocked. Clears the STI and MOV SS shadow. */
export function deliverExternalInterrupt(processor: Processor, vector: number): void {
  deliverEvent(processor, betweenInstructions(processor, EventType.externalInterrupt, vector));
}

/** Delivers an NMI and blocks further ones until IRET. */
export function deliverNmi(processor: Processor): void {
  processor.state.interruptibility |= BLOCKING.NMI;
  deliverEvent(processor, betweenInstructions(processor, EventType.nmi, Vector.NMI));
}

/** Between two iterations RF is saved as 1 (SDM volume 3, "Instruction-Breakpoint Exception Condition"). */
function betweenInstructions({ state }: Processor, type: EventType, vector: number): CpuEvent {
  return { type, vector, returnIp: state.rip, resume: state.repeating !== 0 };
}

/**
 * Delivers an event and, as long as its delivery faults, what follows: the fault, a double fault, shutdown. VM entry
 * uses it to inject. When a VM exit is thrown, `processor.delivering` is the event whose delivery it interrupted.
 */
export function deliverEvent(processor: Processor, event: CpuEvent): void {
  const fault = tryDelivery(processor, event);
  if (fault !== undefined) deliverFaults(processor, event, fault);
  processor.delivering = undefined;
}

/** What follows a fault in the delivery of an event, until a delivery succeeds or the processor shuts down. */
function deliverFaults(processor: Processor, event: CpuEvent, first: GuestFault): void {
  const faults: GuestFault[] = [];
  let current = event;
  for (let fault: GuestFault | undefined = first; fault !== undefined; fault = tryDelivery(processor, current)) {
    faults.push(fault);
    const next = escalate(processor, current, fault);
    if (next === undefined) return shutDown(processor, describeShutdown(processor, event, faults));
    current = next;
  }
}

function tryDelivery(processor: Processor, event: CpuEvent): GuestFault | undefined {
  processor.delivering = event;
  try {
    if (isRealMode(processor.state)) deliverThroughIvt(processor, event);
    else deliverThroughGate(processor, event);
  } catch (thrown) {
    if (thrown instanceof GuestFault) return thrown;
    throw thrown;
  }
  processor.state.interruptibility &= ~(BLOCKING.STI | BLOCKING.MOV_SS);
  if (event.type === EventType.externalInterrupt || event.type === EventType.nmi) endMonitoring(processor.state);
  processor.state.repeating = 0;
  monitorTrapDue(processor.state);
  processor.hooks.eventDelivered(event);
  return undefined;
}

/** The event of an exception; stores what the exception leaves in CR2 or the debug registers. */
function faultEvent(processor: Processor, fault: GuestFault): CpuEvent {
  const { state } = processor;
  if (fault.linear !== undefined) state.cr2 = BigInt.asUintN(64, BigInt(fault.linear));
  if (isDebugFault(fault)) recordDebugStatus(processor, fault);
  const { vector, errorCode } = fault;
  // An instruction breakpoint (B0 to B3) leaves RF to its handler, a trap too unless it comes between two iterations.
  const saves = (debug: DebugFault) => (debug.trap ? state.repeating !== 0 : (debug.dr6 & DR6.B) === 0);
  const resume = isDebugFault(fault) ? saves(fault) : true;
  return { type: EventType.hardwareException, vector, errorCode, returnIp: state.rip, resume };
}

function recordDebugStatus({ state }: Processor, fault: DebugFault): void {
  state.dr6 = (state.dr6 & ~DR6.B) | fault.dr6;
  state.dr7 &= ~DR7.GD;
  state.debugctl &= ~(DEBUGCTL.LBR | DEBUGCTL.BTF);
}

const CONTRIBUTORY: readonly number[] = [Vector.DE, Vector.TS, Vector.NP, Vector.SS, Vector.GP, Vector.CP];

/** Virtualization exceptions count as page faults here. */
const isPageFaultLike = (vector: number): boolean => vector === Vector.PF || vector === Vector.VE;

/** The event that follows a fault during delivery, by "Conditions for Generating a Double Fault"; undefined: shutdown. */
function escalate(processor: Processor, during: CpuEvent, fault: GuestFault): CpuEvent | undefined {
  processor.intercepts?.onException?.(fault);
  const first = during.type === EventType.hardwareException ? during.vector : undefined;
  if (first === Vector.DF) return undefined;
  const contributory = CONTRIBUTORY.includes(fault.vector);
  const second = contributory || isPageFaultLike(fault.vector);
  const double =
    first !== undefined && ((CONTRIBUTORY.includes(first) && contributory) || (isPageFaultLike(first) && second));
  if (!double) return faultEvent(processor, fault);
  if (fault.linear !== undefined) processor.state.cr2 = BigInt.asUintN(64, BigInt(fault.linear));
  processor.delivering = undefined;
  const doubleFault = new GuestFault(Vector.DF, 0);
  processor.intercepts?.onException?.(doubleFault);
  return faultEvent(processor, doubleFault);
}

function shutDown(processor: Processor, cause: string): void {
  processor.delivering = undefined;
  processor.shutdownCause = cause;
  processor.intercepts?.onTripleFault?.();
  processor.tripleFault();
}

/** Real-address mode: 4-byte vectors at the base of the IDTR, three words on the stack, no error code. */
function deliverThroughIvt(processor: Processor, event: CpuEvent): void {
  const { memory, state } = processor;
  const entry = event.vector * 4;
  if (entry + 3 > state.idtrLimit) throw GP(entry * 2 + 2);
  const at = low32(plus(state.idtrBase, entry));
  const offset = memory.readU16(at, Privilege.Supervisor);
  const selector = memory.readU16(at + 2, Privilege.Supervisor);
  const frame = currentStack(processor);
  const flags = readFlags(state);
  frame.push(flags & 0xffff, 2);
  frame.push(state.segment(CS).selector, 2);
  frame.push(event.returnIp, 2);
  commitToCurrentStack(processor, frame);
  processor.writeFlags(flags & ~(RFLAGS.IF | RFLAGS.TF | RFLAGS.AC | RFLAGS.RF));
  loadRealSegment(state, CS, selector);
  refreshMode(processor);
  state.rip = offset;
}
