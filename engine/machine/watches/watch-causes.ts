/** Who accesses watched data: the instruction, walk, exit, entry or event under way. */

import { type GuestFault, VmExit } from '../../cpu/events.ts';
import { hex } from '../../cpu/hexadecimal.ts';
import { linearOfRip } from '../../cpu/modes.ts';
import { linearAt } from '../../exec/block.ts';
import { peekVmcsField } from '../../inspect/vmcs.ts';
import { exitCodeName } from '../../svm/exit-codes.ts';
import { svmExitInfo } from '../../svm/exit-info.ts';
import { exitReason } from '../../vmx/exit-reasons.ts';
import { fieldByName } from '../../vmx/vmcs.ts';
import { exceptionName } from '../event-descriptions.ts';
import type { Host } from '../host.ts';

export interface Cause {
  readonly by: string;
  /** Linear address of the instruction under way. */
  readonly instruction: bigint | undefined;
}

/** A stretch in which the processor does more than execute ordinary instructions; what it was is known at its end. */
interface Interval {
  by: string;
  readonly instruction: bigint | undefined;
  readonly nonRoot: number;
}

const EXIT_REASON = fieldByName('Exit reason');

const describeExit = (reason: number): string =>
  `VM exit ${reason & 0xffff} (${exitReason(reason)?.name ?? 'unknown reason'})`;

const describeVmexit = (code: number): string => `#VMEXIT ${exitCodeName(code)}`;

export class WatchCauses {
  readonly #host: Host;
  #interval: Interval | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  /** A stretch begins; `end` takes the one around it, if any. */
  begin(by: string): Interval | undefined {
    const outer = this.#interval;
    this.#interval = { by, instruction: this.#instruction(), nonRoot: this.#host.state.nonRoot };
    return outer;
  }

  /** The stretch ends. Whoever it led into or out of the guest is told by that. */
  end(outer?: Interval): Cause {
    const interval = this.#interval as Interval;
    const { nonRoot } = this.#host.state;
    if (interval.nonRoot && !nonRoot) interval.by = this.#lastExit() ?? interval.by;
    else if (!interval.nonRoot && nonRoot) interval.by = `VM entry (${interval.by})`;
    this.#interval = outer;
    return interval;
  }

  /** The cause of an access that happens now. */
  get current(): Cause {
    const linear = this.#host.mmu.settingFlagsFor;
    if (linear !== undefined) {
      const by = `the page walk for linear address ${hex(linear)}, which sets accessed or dirty flags`;
      return { by, instruction: this.#instruction() };
    }
    if (this.#interval) return this.#interval;
    const { currentRecord } = this.#host.runtime;
    if (currentRecord === 0) return { by: 'the processor or a device', instruction: undefined };
    const by = this.#host.codeCache.instructionOf(currentRecord).mnemonic.toUpperCase();
    return { by, instruction: this.#instruction() };
  }

  describeEvent(event: unknown): string {
    if (event instanceof VmExit) {
      return this.#host.hasSvm ? describeVmexit(event.reason) : describeExit(event.reason);
    }
    const { vector } = event as GuestFault;
    return `delivery of ${exceptionName(vector)}`;
  }

  #lastExit(): string | undefined {
    const { state, physical, svm, hasSvm } = this.#host;
    if (hasSvm) return describeVmexit(svmExitInfo(svm.parts).code);
    if (!state.currentVmcsValid || !EXIT_REASON) return undefined;
    return describeExit(Number(peekVmcsField(physical, state.currentVmcs, EXIT_REASON)));
  }

  /** RIP is that of the instruction only where system instructions and events are concerned; else its record tells. */
  #instruction(): bigint {
    const { runtime, codeCache, state } = this.#host;
    const { currentRecord } = runtime;
    if (currentRecord === 0) return BigInt.asUintN(64, BigInt(linearOfRip(state)));
    const { location } = codeCache.placeOf(currentRecord).block;
    return BigInt.asUintN(64, BigInt(linearAt(location, codeCache.instructionOf(currentRecord).ip)));
  }
}
