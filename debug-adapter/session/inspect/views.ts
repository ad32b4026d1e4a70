import type { PagingTable } from '../../engine-target.ts';
import { UserError } from '../../errors.ts';
import { findVmcsField } from '../../expression/names.ts';
import { hex } from '../../program/byte-reader.ts';
import { announceEdit } from '../edits.ts';
import { evaluateText } from '../evaluate-text.ts';
import type { Handlers } from '../handlers.ts';
import { formatReference } from '../memory-reference.ts';
import { toWire } from './to-wire.ts';

/** The custom requests of the editor's views. */
export const views: Handlers = {
  'ringside/cpuMode'({ vcpu } = {}, session) {
    const wanted = vcpu === undefined ? session.debuggee.control.vcpus : [session.vcpu(vcpu)];
    return { vcpus: wanted.map((one) => toWire(one.mode())), current: session.vcpu().index };
  },

  'ringside/vmcs'({ vcpu } = {}, session) {
    const target = session.vcpu(vcpu);
    const view = target.vmcs();
    if (view === undefined) {
      return { changed: [] };
    }
    const changed = session.debuggee.vmcsHistory.changed(target.index, view.address, view.fields);
    return { vmcs: toWire(view), changed };
  },

  'ringside/setVmcsField'({ vcpu, field, value }, session) {
    const target = session.vcpu(vcpu);
    const name = findVmcsField(field, target);
    const { result } = evaluateText(value, session, undefined);
    const problem = target.writeVmcs(name, result.value);
    if (problem !== undefined) {
      throw new UserError(`${name} cannot be set to ${hex(result.value)}`, { found: problem });
    }
    announceEdit(session, { kind: 'register' });
    return { value: hex(target.readVmcs(name) ?? 0n) };
  },

  'ringside/pageTables'({ vcpu, kind, table }, session) {
    const target = session.vcpu(vcpu);
    // A table's properties are numbers and strings, which travel as they are.
    const read = (table as PagingTable | undefined) ?? target.pagingRoots()[kind];
    if (read === undefined) {
      return { nodes: [], reason: kind === 'ept' ? 'EPT is not in use' : 'Paging is off (CR0.PG = 0)' };
    }
    return { table: toWire(read), nodes: target.pagingChildren(read).map((node) => toWire(node)) };
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
