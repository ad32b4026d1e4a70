/** "Check VM entry now" with AMD-V: what VMRUN would find, without carrying it out. */
import { expect, test } from 'vitest';
import { vmrunCheckView } from '../../engine/inspect/vmrun-check.ts';
import { ExitCode } from '../../engine/svm/exit-codes.ts';
import { vmcbFields } from '../../engine/svm/vmcb-fields.ts';
import { random } from '../support/random.ts';
import { CODE, insn, SvmMachine, VMCB } from './machine.ts';

/** In front of VMRUN with the VMCB in RAX. */
function before(machine = new SvmMachine()): SvmMachine {
  const { state } = machine;
  state.setGpr(0, BigInt(VMCB));
  state.rip = CODE;
  machine.physical.poke(
    CODE,
    Uint8Array.from(insn.vmrun.split(' '), (byte) => Number.parseInt(byte, 16)),
  );
  return machine;
}
const check = (machine: SvmMachine) => vmrunCheckView(machine.svm);

test('in front of the first VMRUN, the VMCB in RAX', () => {
  const passes = { instruction: 'VMRUN', vmcs: BigInt(VMCB), isPossible: true, violated: [] };
  expect(check(before())).toMatchObject(passes);
});

test('every rule that is broken, with the values of its fields and the manual’s section', () => {
  const { isPossible, outcome, violated } = check(
    before(new SvmMachine().set({ 'Guest ASID': 0, EVENTINJ: 0x8000_0132 })),
  );
  expect([isPossible, outcome]).toEqual([false, expect.stringContaining('#VMEXIT(INVALID)')]);
  expect(violated.map(({ id }) => id)).toEqual(['asid-zero', 'event-injection']);
  expect(violated[1]).toMatchObject({
    manual: 'AMD64 APM volume 2',
    section: 'Event Injection',
    fields: [{ name: 'EVENTINJ', group: 'Event injection', widthBits: 64, value: 0x8000_0132n }],
  });
});

test('elsewhere, the VMCB of the last VMRUN', () => {
  const machine = new SvmMachine();
  expect(check(machine)).toMatchObject({ isPossible: false, outcome: expect.stringContaining('no VMCB yet') });
  machine.enter();
  expect(check(machine)).toMatchObject({ isPossible: false, outcome: expect.stringContaining('The guest runs') });
  machine.step(insn.vmmcall);
  expect(check(machine)).toMatchObject({ isPossible: true, vmcs: BigInt(VMCB) });
});

test.each<[string, (machine: SvmMachine) => void, string]>([
  [
    'EFER.SVME',
    ({ state }) => {
      state.efer &= ~0x1000;
    },
    '#UD',
  ],
  ['the address in RAX', ({ state }) => state.setGpr(0, BigInt(VMCB + 8)), 'not the address of a page of RAM'],
  [
    'VM_HSAVE_PA',
    ({ state }) => {
      state.vmHsavePa = 2 ** 39;
    },
    'VM_HSAVE_PA',
  ],
  [
    'the ring',
    ({ state }) => {
      state.cpl = 3;
    },
    '#GP(0) outside of ring 0',
  ],
])('tells that %s stands in the way', (_name, change, words) => {
  const machine = before();
  change(machine);
  expect(check(machine)).toMatchObject({ isPossible: false, outcome: expect.stringContaining(words) });
});

/** Bits of these ask for exits, or for what there is not. */
const untouched = ['Intercepts', 'Exit information'];
const stopping = ['LBR_VIRTUALIZATION_ENABLE', 'TLB_CONTROL'];
const drawn = vmcbFields.filter(({ group, name }) => !untouched.includes(group) && !stopping.includes(name));

test('says what VMRUN then does, whatever bit is flipped in the VMCB', () => {
  const draw = random(7);
  const seen = new Set<boolean>();
  for (let round = 0; round < 600; round++) {
    const machine = before();
    const { name, bytes } = drawn[draw(drawn.length)] as (typeof drawn)[number];
    machine.state.vmcb = VMCB;
    machine.set({ [name]: machine.get(name) ^ (1n << BigInt(draw(8 * bytes))) });
    const { isPossible } = check(machine);
    machine.step(insn.vmrun);
    expect(machine.exitOf().code !== ExitCode.INVALID, `round ${round}: ${name}`).toBe(isPossible);
    seen.add(isPossible);
  }
  expect(seen.size).toBe(2);
});
