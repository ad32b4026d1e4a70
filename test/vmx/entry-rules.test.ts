import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { controlRules, entryRules, guestRules, hostRules } from '../../engine/vmx/entry-checks/rules.ts';
import { sel } from '../cpu/machine.ts';
import { type Violation, validVariants, violations } from './entry-rule-violations.ts';
import { entryRulesPage } from './entry-rules-page.ts';
import { insn, VmxMachine } from './machine.ts';
import { nearestState, violate } from './nearest-states.ts';

const INVALID_GUEST_STATE = 0x8000_0021;

describe('a valid VMCS breaks no rule', () => {
  it.each(Object.entries(validVariants))('%s', (_, values) => {
    const machine = new VmxMachine().ready(values);
    expect(machine.vmx.violatedRules().map(({ id }) => id)).toEqual([]);
    for (const vector of [13, 0x20, 0x80]) machine.gate(vector, sel.code64, 0x6000);
    machine.step(insn.vmlaunch);
    expect(machine.state.nonRoot).toBe(1);
  });
});

describe('a rule that is broken is reported, and no other', () => {
  it.each(entryRules.map(({ id, text }) => [id, text]))('%s: %s', (id) => {
    const violation = violations[id];
    if (!violation) throw new Error(`no violation of ${id} in entry-rule-violations.ts`);
    const found = violate(violation).vmx.violatedRules();
    expect(found.map((rule) => rule.id).sort()).toEqual([id, ...(violation.also ?? [])].sort());
  });

  it('names are unique, and every violation is of a rule that exists', () => {
    const ids = entryRules.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Object.keys(violations).filter((id) => !ids.includes(id))).toEqual([]);
  });
});

describe('the nearest state that breaks no rule is entered', () => {
  it.each(entryRules.map(({ id }) => id))('%s', (id) => {
    const machine = violate(violations[id] as Violation);
    const { values = {}, prepare } = nearestState(id);
    machine.write(values);
    prepare?.(machine);
    expect(machine.vmx.violatedRules().map((rule) => rule.id)).toEqual([]);
    machine.step(insn.vmlaunch);
    // The guest may not get far, as from there on the fields are used.
    if (machine.state.nonRoot === 0) expect(machine.exitReason).not.toBe(INVALID_GUEST_STATE);
  });
});

describe('what VMLAUNCH does about a broken rule', () => {
  it.each(controlRules.map(({ id }) => id))('%s: VM-instruction error 7', (id) => {
    const machine = violate(violations[id] as Violation);
    machine.step(insn.vmlaunch);
    expect(machine.status()).toBe(7);
  });

  it.each(hostRules.map(({ id }) => id).filter((id) => !violations[id]?.prepare))('%s: error 8', (id) => {
    const machine = violate(violations[id] as Violation);
    machine.step(insn.vmlaunch);
    expect(machine.status()).toBe(8);
  });

  it.each(guestRules.map((rule) => [rule.id, rule.qualification ?? 0] as const))(
    '%s: exit reason 33 with bit 31, qualification %i',
    (id, qualification) => {
      const machine = violate(violations[id] as Violation);
      machine.step(insn.vmlaunch);
      expect(machine.exitReason).toBe(INVALID_GUEST_STATE);
      expect(machine.read('Exit qualification')).toBe(BigInt(qualification));
      expect(machine.state.rip).toBe(0x7000);
      expect(machine.physical.readU32(0x1_1008), 'launch state').toBe(0);
    },
  );
});

it('the page of rules is that of the tables', async () => {
  const page = fileURLToPath(new URL('../../docs/vm-entry-rules.md', import.meta.url));
  await expect(entryRulesPage()).toMatchFileSnapshot(page);
});
