import type { AddressSpaceName, WatchTarget } from '../../engine-target.ts';
import { UserError } from '../../errors.ts';
import { hex } from '../../hexadecimal.ts';
import type { Session } from '../session.ts';
import { hostPhysicalRanges } from './host-physical.ts';

/** Guest memory that a data breakpoint is about. */
export interface DataRange {
  readonly space: AddressSpaceName;
  readonly address: bigint;
  readonly lengthBytes: number;
  /** The vCPU whose tables translate it. */
  readonly vcpu: number;
}

/** What a data breakpoint is about, as the user means it. */
export type DataTarget =
  | ({ readonly kind: 'range' } & DataRange)
  /** The entry that maps a linear address, or that says that none does. */
  | { readonly kind: 'page-table-entry'; readonly linear: bigint; readonly vcpu: number }
  | Exclude<WatchTarget, { readonly kind: 'memory' }>;

/** Ids of data breakpoints as the client keeps them: `linear:0x1000/4@0`, `msr:0xc0000080`, `vmcs:Guest RIP`. */
export function formatDataId(target: DataTarget): string {
  switch (target.kind) {
    case 'range':
      return `${target.space}:${hex(target.address)}/${target.lengthBytes}@${target.vcpu}`;
    case 'page-table-entry':
      return `pte:${hex(target.linear)}@${target.vcpu}`;
    case 'control-register':
      return `register:${target.name}`;
    case 'msr':
      return `msr:${hex(BigInt(target.index))}`;
    case 'vmcs-field':
      return `vmcs:${target.name}`;
    case 'port':
      return `port:${hex(BigInt(target.port))}/${target.lengthBytes}`;
  }
}

const ID = /^([a-z-]+):(?:(0x[0-9a-f]+)(?:\/([0-9]+))?(?:@([0-9]+))?|([A-Za-z].*))$/;

export function parseDataId(text: string): DataTarget | undefined {
  const [, kind, number, length = '1', cpu = '0', name] = ID.exec(text) ?? [];
  const [value, lengthBytes, vcpu] = [BigInt(number ?? 0), Number(length), Number(cpu)];
  switch (kind) {
    case 'linear':
    case 'guest-physical':
    case 'host-physical':
      return { kind: 'range', space: kind, address: value, lengthBytes, vcpu };
    case 'pte':
      return { kind: 'page-table-entry', linear: value, vcpu };
    case 'msr':
      return { kind, index: Number(value) };
    case 'port':
      return { kind, port: Number(value), lengthBytes };
    case 'register':
      return name === undefined ? undefined : { kind: 'control-register', name };
    case 'vmcs':
      return name === undefined ? undefined : { kind: 'vmcs-field', name };
    default:
      return undefined;
  }
}

/** What the processor keeps of its guests. */
export const structureOf = (session: Session): 'VMCS' | 'VMCB' =>
  session.vcpu().mode().virtualization === 'AMD-V' ? 'VMCB' : 'VMCS';

export function describeTarget(target: DataTarget, session: Session): string {
  switch (target.kind) {
    case 'range':
      return describeRange(target, session);
    case 'page-table-entry': {
      const { level, address } = entryOf(target, session);
      return `the ${level} entry at ${hex(address)}, of linear ${hex(target.linear)}`;
    }
    case 'control-register':
      return target.name.toUpperCase();
    case 'msr':
      return session.vcpu().findMsr(target.index)?.name ?? `MSR ${hex(BigInt(target.index))}`;
    case 'vmcs-field':
      return `${target.name} of the ${structureOf(session)}`;
    case 'port':
      return `port ${hex(BigInt(target.port))}${target.lengthBytes > 1 ? ` (${target.lengthBytes} ports)` : ''}`;
  }
}

function describeRange({ space, address, lengthBytes }: DataRange, session: Session): string {
  const symbol = space === 'linear' ? session.debuggee.program.symbols.describe(address) : undefined;
  const where = symbol ?? `${space} ${hex(address)}`;
  return `${where} (${lengthBytes} ${lengthBytes === 1 ? 'byte' : 'bytes'})`;
}

/**
 * What the engine has to watch. Memory is watched where it is now; a later change of the tables does not move it.
 *
 * @throws UserError if it is not mapped
 */
export function watchTargets(target: DataTarget, session: Session): WatchTarget[] {
  switch (target.kind) {
    case 'range': {
      const ranges = hostPhysicalRanges(target, session.vcpu(target.vcpu));
      if (ranges === undefined) {
        throw new UserError(`${describeRange(target, session)} is not mapped now`, {
          whatToDo: 'set it again once it is',
        });
      }
      const isRam = ranges.every(
        ({ address }) => session.vcpu(target.vcpu).peek('host-physical', address, 1).length > 0,
      );
      // Devices of a bare machine answer at physical addresses; a guest of the built-in hypervisor exits there.
      if (!isRam && session.debuggee.configuration.virtualization !== 'none') {
        throw new UserError(`${describeRange(target, session)} cannot be watched`, {
          expected: 'RAM, or port:NUMBER for an I/O port',
          found: 'an address without RAM behind it',
        });
      }
      return ranges.map((range) => ({ kind: 'memory', ...range }));
    }
    case 'page-table-entry': {
      const { address, lengthBytes } = entryOf(target, session);
      return [{ kind: 'memory', address, lengthBytes }];
    }
    default:
      return [target];
  }
}

/** Bytes of an entry by the paging mode's name. */
const entryBytes = (pagingMode: string): number => (/^32/.test(pagingMode) ? 4 : 8);

/** The last paging-structure entry that a walk reads: where it lies in host-physical memory. */
function entryOf(target: DataTarget & { kind: 'page-table-entry' }, session: Session) {
  const { steps, pagingMode } = session.vcpu(target.vcpu).translate(target.linear);
  const step = steps.filter(({ entryAddress }) => entryAddress.hostPhysical !== undefined).at(-1);
  if (step?.entryAddress.hostPhysical === undefined) {
    throw new UserError(`No paging-structure entry translates ${hex(target.linear)} now`, {
      whatToDo: 'set it again once paging is on',
    });
  }
  return {
    level: step.level,
    address: BigInt(step.entryAddress.hostPhysical),
    lengthBytes: entryBytes(pagingMode),
  };
}
