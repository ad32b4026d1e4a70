import { describe, expect, it } from 'vitest';
import { PIN, PRIMARY } from '../../engine/vmx/controls.ts';
import { type BareHypervisor, bareHypervisor, encoding, exitsOf, write } from './bare-hypervisor.ts';

const MTF = 37;
const DIVIDE_ERROR = 0;
const HLT = 1;
const INJECT = 'VM-entry interruption-information field';
const primary = PRIMARY['Monitor trap flag'];
/** Goes on with the next instruction, three times in all; then without the flag. */
const handlers = {
  [MTF]: `inc dword [exits]\n cmp dword [exits], 3\n jb resume\n ${write('Primary processor-based VM-execution controls', '[plain]')}`,
};
const data = `exits: dd 0\nalign 8\nplain: dq 0`;
const setUp = `mov eax, ${encoding('Primary processor-based VM-execution controls')}\n vmread rcx, rax\n and ecx, ~${primary}\n mov [plain], rcx`;
const traps = (program: BareHypervisor) => exitsOf({ primary, handlers, data, setUp, ...program });
const ripsOf = (exits: readonly { reason: number; rip: number }[]) =>
  exits.map(({ reason, rip }) => (reason === MTF ? rip : `reason ${reason}`));

describe('monitor trap flag', () => {
  it('exits after each instruction, jumps among them', async () => {
    expect(ripsOf(await traps({ guest: 'nop\n jmp $ + 4\n nop\n nop\n inc eax\n nop' }))).toEqual([
      1,
      5,
      7,
      'reason 18',
    ]);
  });
  it('exits after one iteration of REP', async () => {
    const guest = 'mov ecx, 3\n mov edi, 0x300000\n rep stosb\n nop';
    expect(ripsOf(await traps({ guest })).slice(0, 3)).toEqual([5, 10, 10]);
  });
  it('exits before the handler of an exception', async () => {
    const guest = 'xor ecx, ecx\n div ecx\n nop';
    const run = await bareHypervisor({
      primary,
      handlers,
      data,
      vectors: [DIVIDE_ERROR],
      guest,
    });
    run.machine.run({ instructions: 2000 });
    const [first, second] = run.exits();
    expect(first?.rip).toBe(2);
    expect(second?.rip).toBeLessThan(0);
  });
  it('exits before the handler of INT n', async () => {
    const run = await bareHypervisor({ primary, handlers, data, setUp, guest: 'int 0x20\n nop\n nop' });
    run.machine.run({ instructions: 1_000_000 });
    const [first, second] = run.exits();
    expect(first?.rip).toBeLessThan(0);
    expect(second?.rip).toBeLessThan(0);
    expect(run.ticks()).toBe(1);
  });
  it('an exit of the first instruction comes in its place', async () => {
    expect(ripsOf(await traps({ guest: 'vmcall' }))).toEqual(['reason 18']);
  });
  it('HLT is over with its state saved', async () => {
    const exits = await traps({ guest: 'hlt', handlers: {} });
    expect(exits).toMatchObject([{ reason: MTF, rip: 1, activity: HLT }]);
  });
  it('takes priority over the trap of TF, which is saved as pending', async () => {
    const exits = await traps({ guest: 'nop\n nop', fields: { 'Guest RFLAGS': 0x102 }, handlers: {} });
    expect(exits).toMatchObject([{ reason: MTF, rip: 1 }]);
  });
  it('takes priority over the preemption timer', async () => {
    const pin = PIN['Activate VMX-preemption timer'];
    const exits = await traps({ guest: 'nop\n nop', pin, fields: { [INJECT]: 0x8000_0700 }, handlers: {} });
    expect(exits).toMatchObject([{ reason: MTF, rip: 0 }]);
  });
  it('injected as type 7 exits before the first instruction, also without the control', async () => {
    const program = { fields: { [INJECT]: 0x8000_0700 }, guest: 'nop', handlers: {} };
    expect(await exitsOf(program)).toMatchObject([{ reason: MTF, rip: 0 }]);
  });
  it('injected as type 7 wakes a guest that enters HLT state', async () => {
    const fields = { [INJECT]: 0x8000_0700, 'Guest activity state': HLT };
    expect(await exitsOf({ fields, guest: 'nop' })).toMatchObject([{ reason: MTF, rip: 0, activity: HLT }]);
  });
  it('with an injected interrupt exits before the first instruction of its handler', async () => {
    const exits = await exitsOf({ primary, fields: { [INJECT]: 0x8000_0020, 'Guest RFLAGS': 0x202 }, guest: 'nop' });
    expect(exits).toMatchObject([{ reason: MTF }]);
    expect(exits[0]?.rip).toBeLessThan(0);
  });
  it('an exit in the delivery of the injected event comes in its place', async () => {
    const fields = { [INJECT]: 0x8000_0020, 'Guest RFLAGS': 0x202, 'Guest IDTR limit': 0, 'Exception bitmap': 1 << 13 };
    expect(await exitsOf({ primary, fields, guest: 'nop' })).toMatchObject([{ reason: 0 }]);
  });
  it('is the same however the run is cut', async () => {
    const guest = 'mov ecx, 3\n mov edi, 0x300000\n rep stosb\n int 0x20\n nop';
    expect(await exitsOf({ primary, handlers, data, setUp, guest }, 1)).toEqual(await traps({ guest }));
  });
});
