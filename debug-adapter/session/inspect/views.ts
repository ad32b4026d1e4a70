import type { PagingTable, Vcpu } from '../../engine-target.ts';
import { hex } from '../../hexadecimal.ts';
import { evaluateText } from '../evaluate-text.ts';
import type { Handlers } from '../handlers.ts';
import { formatReference } from '../memory-reference.ts';
import { toWire } from './to-wire.ts';

const ACTIVATE_SECONDARY_CONTROLS = 31n;
const ENABLE_EPT = 1n;
const TABLE_ADDRESS = 0xf_ffff_ffff_f000n;

/** In root operation no EPT is in use; a hypervisor's handler works on the guest's, which the current VMCS names. */
function eptOfGuest(vcpu: Vcpu): PagingTable | undefined {
  if (vcpu.mode().virtualization === 'AMD-V') return undefined;
  const bit = (field: string, index: bigint) => (((vcpu.readVmcs(field) ?? 0n) >> index) & 1n) === 1n;
  const isEnabled =
    bit('Primary processor-based VM-execution controls', ACTIVATE_SECONDARY_CONTROLS) &&
    bit('Secondary processor-based VM-execution controls', ENABLE_EPT);
  const pointer = vcpu.readVmcs('EPT pointer');
  return !isEnabled || pointer === undefined
    ? undefined
    : { structure: 'EPT', level: 'PML4E', depth: 0, address: Number(pointer & TABLE_ADDRESS), first: 0 };
}

const tablesOfGuest = (vcpu: Vcpu): PagingTable | undefined => vcpu.pagingRoots().nestedOfGuest ?? eptOfGuest(vcpu);

/** The custom requests of the editor's views. */
export const views: Handlers = {
  'ringside/cpuMode'({ vcpu } = {}, session) {
    const wanted = vcpu === undefined ? session.debuggee.control.vcpus : [session.vcpu(vcpu)];
    return { vcpus: wanted.map((one) => toWire(one.mode())), current: session.vcpu().index };
  },

  'ringside/pageTables'({ vcpu, kind, table }, session) {
    const target = session.vcpu(vcpu);
    // A table's properties are numbers and strings, which travel as they are.
    const inUse = (table as PagingTable | undefined) ?? target.pagingRoots()[kind];
    const read = inUse ?? (kind === 'ept' ? tablesOfGuest(target) : undefined);
    const isSvm = target.mode().virtualization === 'AMD-V';
    const tree = kind === 'guest' ? 'Guest paging' : isSvm ? 'Nested paging' : 'EPT';
    if (read === undefined) {
      return { tree, nodes: [], reason: kind === 'ept' ? `${tree} is not in use` : 'Paging is off (CR0.PG = 0)' };
    }
    return {
      tree,
      table: toWire(read),
      nodes: target.pagingChildren(read).map((node) => toWire(node)),
      ...(inUse === undefined ? { reason: `of the guest, by the ${isSvm ? 'VMCB' : 'current VMCS'}` } : {}),
    };
  },

  'ringside/tlb'({ vcpu } = {}, session) {
    return {
      entries: session
        .vcpu(vcpu)
        .tlb()
        .map((entry) => toWire(entry)),
    };
  },

  'ringside/virtqueues'(_, session) {
    return { devices: session.debuggee.control.virtqueues().map((device) => toWire(device)) };
  },

  'ringside/translate'({ vcpu, expression, access = 'read', frameId }, session) {
    const target = session.vcpu(vcpu ?? session.frame(frameId)?.vcpu);
    const address = evaluateText(expression, session, frameId).result.value;
    const translation = target.translate(address, access);
    const symbol = session.debuggee.program.symbols.describe(address);
    const { guestPhysical, result } = translation;
    const physical = result.kind === 'mapped' ? result.physical : undefined;
    const reference = (space: 'guest-physical' | 'host-physical', at: number) =>
      formatReference({ space, address: BigInt(at), vcpu: target.index });
    return {
      address: hex(address),
      ...(symbol === undefined ? {} : { symbol }),
      translation: toWire(translation),
      memoryReferences: {
        linear: formatReference({ space: 'linear', address, vcpu: target.index }),
        ...(guestPhysical === undefined ? {} : { guestPhysical: reference('guest-physical', guestPhysical) }),
        ...(physical === undefined ? {} : { hostPhysical: reference('host-physical', physical) }),
      },
    };
  },

  'ringside/input'({ source = 'serial', text }, session) {
    session.debuggee.control.input(source, new TextEncoder().encode(text));
    return {};
  },

  'ringside/statistics'(_, session) {
    return session.debuggee.control.statistics();
  },
};
