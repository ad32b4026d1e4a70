/** Task switches by instructions: far JMP and CALL to a TSS or task gate, and IRET from a nested task. */

import { type LinearAddress, low32 } from '../isa/linear-address.ts';
import type { Descriptor } from './descriptors.ts';
import { readFlags } from './flags.ts';
import { raiseFault } from './interrupts.ts';
import type { Processor } from './processor.ts';
import { readPreviousTaskDescriptor, switchTask, type TaskSwitchSource } from './task-switch.ts';

/** Switches to the task of a checked descriptor; what faults in the new task is delivered there. */
export function transferToTask(
  processor: Processor,
  d: Descriptor,
  source: Exclude<TaskSwitchSource, 'idt'>,
  returnIp: LinearAddress,
): void {
  processor.intercepts?.onTaskSwitch?.(d.selector, source);
  const fault = switchTask(processor, d, {
    source,
    returnIp: low32(returnIp),
    flags: readFlags(processor.state),
    ext: 0,
  });
  if (fault) raiseFault(processor, fault);
}

/** IRET with NT = 1. */
export function returnToPreviousTask(processor: Processor, returnIp: LinearAddress): void {
  transferToTask(processor, readPreviousTaskDescriptor(processor), 'iret', returnIp);
}
