import type { AddressSpaceName, Stop, Vcpu } from '../../engine-target.ts';
import type { SymbolTable } from '../../program/symbols.ts';
import { BreakpointAction, type BreakpointOptions } from './breakpoint.ts';

/** Guest memory that a data breakpoint is about. */
export interface DataRange {
  readonly space: AddressSpaceName;
  readonly address: bigint;
  readonly lengthBytes: number;
  /** The vCPU whose tables translate it. */
  readonly vcpu: number;
}

export interface PhysicalRange {
  /** Host-physical. */
  readonly address: bigint;
  readonly lengthBytes: number;
}

export interface DataBreakpoint {
  readonly id: number;
  readonly description: string;
  readonly read: boolean;
  readonly write: boolean;
  /** Where the data is now; a later change of the tables does not move it. */
  readonly ranges: readonly PhysicalRange[];
  readonly action: BreakpointAction;
}

/** Ids of data breakpoints as the client keeps them: `linear:0x1000/4@0`. */
export function formatDataId({ space, address, lengthBytes, vcpu }: DataRange): string {
  return `${space}:0x${address.toString(16)}/${lengthBytes}@${vcpu}`;
}

export function parseDataId(text: string): DataRange | undefined {
  const match = /^(linear|guest-physical|host-physical):(0x[0-9a-f]+)\/([0-9]+)@([0-9]+)$/.exec(text);
  if (match === null) {
    return undefined;
  }
  const [, space, address, length, vcpu] = match;
  return {
    space: space as AddressSpaceName,
    address: BigInt(address ?? '0'),
    lengthBytes: Number(length),
    vcpu: Number(vcpu),
  };
}

export function makeAction(options: BreakpointOptions): BreakpointAction {
  return new BreakpointAction(options, undefined);
}

/** The data breakpoints that the client has set. */
export class DataBreakpointTable {
  private list: readonly DataBreakpoint[] = [];

  set(list: readonly DataBreakpoint[]): void {
    this.list = list;
  }

  watches() {
    return this.list.flatMap(({ ranges, read, write }) => ranges.map((range) => ({ ...range, read, write })));
  }

  /** Those that an access hits and whose conditions hold. */
  hit(stop: Stop & { kind: 'watch' }, vcpu: Vcpu, symbols: SymbolTable): DataBreakpoint[] {
    return this.at(stop).filter(({ action }) => action.hit(vcpu, symbols).stops);
  }
  /** Those that stop a run backwards. */
  stopping(stop: Stop & { kind: 'watch' }, vcpu: Vcpu, symbols: SymbolTable): DataBreakpoint[] {
    return this.at(stop).filter(({ action }) => action.stops(vcpu, symbols));
  }

  private at(stop: Stop & { kind: 'watch' }): DataBreakpoint[] {
    return this.list.filter(
      ({ ranges, read, write }) =>
        (stop.access === 'read' ? read : write) &&
        ranges.some(
          ({ address, lengthBytes }) => stop.address >= address && stop.address < address + BigInt(lengthBytes),
        ),
    );
  }
}
