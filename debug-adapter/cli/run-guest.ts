import type { MachineControl, MachineEvent, OutputSource, Stop } from '../engine-target.ts';
import { hex } from '../hexadecimal.ts';
import type { LoadedProgram } from '../program/loaded-program.ts';
import type { RunCommand } from './arguments.ts';
import { Tracer } from './trace.ts';

export interface GuestStreams {
  /** What the guest prints. */
  readonly output: (bytes: Uint8Array) => void;
  /** What Ringside says: lines without their end. */
  readonly report: (line: string) => void;
}

/** Between two slices the streams can drain and a signal can come. */
const SLICE_INSTRUCTIONS = 5_000_000;
const TRACED_SLICE = 2_000;

/**
 * Runs a guest to its end.
 *
 * @returns the exit status: the guest's, or 1 if it stopped in another way
 */
export async function runGuest(
  command: RunCommand,
  program: LoadedProgram,
  control: MachineControl,
  streams: GuestStreams,
  nextTurn: () => Promise<void>,
): Promise<number> {
  control.onOutput = (_source: OutputSource, bytes) => streams.output(bytes);
  if (command.exits) {
    control.onEvent = (event) => logExit(event, streams);
  }
  const advance = command.trace ? tracing(control, program, streams) : running(control);
  const limit = command.maxInstructions ?? Number.POSITIVE_INFINITY;
  for (;;) {
    const left = limit - control.instructionCount;
    const stop: Stop = left > 0 ? advance(left) : { kind: 'limit' };
    if (stop.kind !== 'limit' || left <= 0) {
      return finish(stop, control, streams);
    }
    await nextTurn();
  }
}

function running(control: MachineControl): (left: number) => Stop {
  return (left) => control.run({ instructions: Math.min(left, SLICE_INSTRUCTIONS) });
}

function tracing(control: MachineControl, program: LoadedProgram, { report }: GuestStreams): (left: number) => Stop {
  const tracer = new Tracer(control, program, report);
  return (left) => {
    let stop: Stop = { kind: 'limit' };
    for (let count = 0; count < Math.min(left, TRACED_SLICE) && stop.kind === 'limit'; count += 1) {
      stop = tracer.step();
    }
    return stop;
  };
}

function logExit({ filter, title, vcpu, values }: MachineEvent, { report }: GuestStreams): void {
  if (filter === 'vm-exit') {
    const { rip } = values;
    const where = typeof rip === 'bigint' ? ` at ${hex(rip)}` : '';
    report(`exit: vCPU ${vcpu}${where}: ${title}`);
  }
}

function finish(stop: Stop, control: MachineControl, { report }: GuestStreams): number {
  if (stop.kind === 'exited') {
    return stop.code & 0xff;
  }
  const rip = hex(control.vcpus[vcpuOf(stop, control)]?.rip ?? 0n);
  report(`ringside: ${reasonOf(stop).replace(/\.$/, '')} at RIP ${rip} after ${control.instructionCount} instructions`);
  return 1;
}

function vcpuOf(stop: Stop, control: MachineControl): number {
  return 'vcpu' in stop ? stop.vcpu : control.currentVcpu;
}

function reasonOf(stop: Exclude<Stop, { kind: 'exited' }>): string {
  switch (stop.kind) {
    case 'limit':
      return 'stopped by --max-instructions';
    case 'halted':
      return `the guest halted: ${stop.explanation}`;
    case 'shutdown':
      return `the guest shut down: ${stop.explanation}`;
    case 'unimplemented':
      return `not implemented: ${stop.what}`;
    case 'event':
      return stop.event.title;
    default:
      return `stopped (${stop.kind})`;
  }
}
