import { Disassembler } from '../disassembly/disassembler.ts';
import type { MachineControl, OutputSource, Vcpu } from '../engine-target.ts';
import type { LoadedProgram } from '../program/loaded-program.ts';
import type { LaunchConfiguration } from './configuration.ts';
import { GuestOutput } from './guest-output.ts';
import { VmcsHistory } from './inspect/vmcs-history.ts';
import type { LoadedTarget } from './load-target.ts';
import { HistoryKeeper } from './run/history-keeper.ts';
import { Pace } from './run/pace.ts';
import { Runner, type RunnerListener } from './run/runner.ts';
import { StopPoints } from './run/stop-points.ts';

/** A launched program: its machine, what its addresses mean, and what runs it. A restart makes a new one. */
export class Debuggee {
  readonly configuration: LaunchConfiguration;
  readonly program: LoadedProgram;
  readonly control: MachineControl;
  readonly disassembler = new Disassembler();
  readonly pace = new Pace();
  readonly stopPoints: StopPoints;
  readonly runner: Runner;
  readonly output: GuestOutput;
  readonly historyKeeper: HistoryKeeper;
  readonly vmcsHistory = new VmcsHistory();
  /** Addresses that gotoTargets has named, by their id less one. */
  readonly gotoTargets: bigint[] = [];
  /** The last breakpoint that stopped, to tell a new hit from the same one. */
  lastBreakpoint: { vcpu: number; address: bigint; count: number } | undefined;

  constructor(
    configuration: LaunchConfiguration,
    { program, control }: LoadedTarget,
    listener: RunnerListener,
    show: (source: OutputSource, text: string) => void,
  ) {
    this.configuration = configuration;
    this.program = program;
    this.control = control;
    this.stopPoints = new StopPoints(control);
    this.output = new GuestOutput(show);
    this.control.onOutput = (source, bytes) => this.output.add(source, bytes);
    this.historyKeeper = new HistoryKeeper(control.history, configuration.history && !configuration.noDebug);
    this.runner = new Runner(this.pace, listener);
  }

  vcpu(index: number): Vcpu {
    const vcpu = this.control.vcpus[index];
    if (vcpu === undefined) {
      throw new Error(`no vCPU ${index}`);
    }
    return vcpu;
  }

  dispose(): void {
    this.runner.dispose();
    this.control.onOutput = () => {};
    this.control.onEvent = undefined;
    this.disassembler.dispose();
  }
}
