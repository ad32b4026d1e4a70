/** The VMCSs: all that are known, one with its fields, one beside itself at an earlier VM exit. */

import type { Vcpu, VmcsView } from '../../engine-target.ts';
import { UserError } from '../../errors.ts';
import { findVmcsField } from '../../expression/names.ts';
import { hex } from '../../hexadecimal.ts';
import type { VmcsDifference } from '../../protocol/requests.ts';
import { announceEdit } from '../edits.ts';
import { evaluateText } from '../evaluate-text.ts';
import { requireHistory, requireStanding } from '../execution.ts';
import type { Handlers } from '../handlers.ts';
import { toWire } from './to-wire.ts';

export const vmcs: Handlers = {
  'ringside/vmcsList'(_, session) {
    return { vmcss: session.debuggee.control.vmcss().map((one) => toWire(one)) };
  },

  'ringside/vmcs'({ vcpu, address } = {}, session) {
    const target = session.vcpu(vcpu);
    const view = vmcsOf(target, address);
    if (view === undefined) {
      return { changed: [] };
    }
    const changed = session.debuggee.vmcsHistory.changed(target.index, view.address, view.fields);
    return { vmcs: toWire(view), changed };
  },

  'ringside/checkVmEntry'({ vcpu } = {}, session) {
    return toWire(session.vcpu(vcpu).checkVmEntry());
  },

  'ringside/compareVmcs'({ vcpu, address, exit }, session) {
    requireStanding(session);
    requireHistory(session);
    const { control } = session.debuggee;
    const target = session.vcpu(vcpu);
    const now = vmcsOf(target, address);
    if (now === undefined) {
      throw new UserError('There is no VMCS to compare', { expected: 'a current VMCS, or the address of one' });
    }
    const before = control.history.lookAtExit(exit, () => target.vmcs(now.address));
    if (before === undefined) {
      throw new UserError(`There is no way back to VM exit ${exit}`, {
        expected: 'an exit that the log still has, behind the beginning of the history',
      });
    }
    return { address: hex(now.address), differences: differences(before, now) };
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
};

function vmcsOf(vcpu: Vcpu, address: string | undefined): VmcsView | undefined {
  return vcpu.vmcs(address === undefined ? undefined : BigInt(address));
}

function differences(before: VmcsView, now: VmcsView): VmcsDifference[] {
  const old = new Map(before.fields.map(({ name, value }) => [name, value]));
  return now.fields
    .filter(({ name, value }) => old.get(name) !== value)
    .map(({ name, group, widthBits, value }) => ({
      ...{ field: name, group, widthBits },
      ...{ before: hex(old.get(name) ?? 0n), now: hex(value) },
    }));
}
