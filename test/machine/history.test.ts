/** Going back in time: the machine is afterwards as it was, to the hash, and goes on as it went on. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Position } from '../../engine/machine/machine-api.ts';
import { architecturalState } from '../../engine/machine/platform.ts';
import { startTimer, TIMER_INTERRUPTS } from '../support/interrupt-controller.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { random } from '../support/random.ts';
import { type GuestRun, guestFromFile, guestFromSource, MIB } from '../vmm/run-guest.ts';

const SMP = new URL('guests/smp.asm', import.meta.url).pathname;
const sample = (name: string): string => new URL(`../../samples/${name}`, import.meta.url).pathname;

/** Counts in memory on ticks of the timer, and writes a dot for each tick that was seen. */
const TICKING = `
bits 64
org 0x100000
  mov esp, 0x90000
  lidt [idtr]
${TIMER_INTERRUPTS}
${startTimer('periodic', 16)}
  sti
.next:
  mov ecx, 50
.work:
  add [counter], ecx
  mov edx, [counter]
  shr edx, 20
  mov eax, [counter]
  mov [0x200000 + rdx * 4], eax
  loop .work
  hlt
  cpuid
  mov al, '.'
  mov dx, 0x3f8
  out dx, al
  mov dx, 0x3fd
  in al, dx
  test al, 1
  jz .next
  mov dx, 0x3f8
  in al, dx
  add [counter], al
  jmp .next
  times 0x400 - ($ - $$) db 0
tick:
  push rax
  mov al, 0x20
  out 0x20, al
  inc qword [ticks]
  pop rax
  iretq
align 8
counter: dq 0
ticks: dq 0
${interruptTable({ 32: 'tick' })}
`;

const TICK = 0x10_0400n;

/** Everything that the guest could ever tell apart, and what the TLB holds. */
function digestOf({ machine }: GuestRun): string {
  const { host, platform } = machine;
  const digest = createHash('sha1').update(host.physical.bytes);
  for (const state of host.states()) digest.update(architecturalState(state));
  digest.update(JSON.stringify([platform.saveState(), host.mmu.tlb.linear.entries(), host.clock.nowNs]));
  return `${machine.instructionCount} ${digest.digest('hex')}`;
}

function started(guest: GuestRun): GuestRun {
  guest.machine.history.checkpoint();
  return guest;
}

const ticking = (virtualization: 'none' | 'hardware') =>
  guestFromSource(TICKING, { virtualization, memoryBytes: 2.5 * MIB });

describe.each(['none', 'hardware'] as const)('virtualization %s', (virtualization) => {
  test('step by step back is step by step forth', async () => {
    const guest = started(await ticking(virtualization));
    const { machine } = guest;
    machine.run({ instructions: 1990 });
    const seen = [];
    for (let step = 0; step < 12; step++) {
      seen.push(`${digestOf(guest)} ${machine.vcpus[0]?.handlerFrames().length}`);
      machine.step();
    }
    for (const [index, expected] of [...seen.entries()].reverse()) {
      expect(machine.history.stepBack()).toBe(true);
      expect(`${digestOf(guest)} ${machine.vcpus[0]?.handlerFrames().length}`, `step ${index}`).toBe(expected);
    }
  });

  test('from random places back to random places, with input and edits on the way', async () => {
    const guest = started(await ticking(virtualization));
    const { machine } = guest;
    const next = random(42);
    const places: { readonly position: Position; readonly digest: string }[] = [];
    for (let round = 0; round < 20; round++) {
      machine.run({ instructions: 1 + next(6000) });
      if (next(3) === 0) machine.history.checkpoint();
      if (next(4) === 0) machine.input('serial', Uint8Array.of(next(256)));
      if (next(6) === 0) machine.vcpus[0]?.poke('guest-physical', 0x20_0000n, Uint8Array.of(next(256)));
      if (next(8) === 0) machine.vcpus[0]?.writeRegister('r15', BigInt(next(1000)));
      for (let steps = next(4); steps > 0; steps--) machine.step();
      places.push({ position: machine.history.position, digest: digestOf(guest) });
      machine.run({ instructions: 1 });
    }
    const output = guest.output();
    const { units: end } = machine.history.position;
    for (let round = 0; round < 12; round++) {
      const place = places[next(places.length)] as (typeof places)[number];
      expect(machine.history.goTo(place.position)).toBe(true);
      expect(digestOf(guest), `round ${round}, ${JSON.stringify(place.position)}`).toBe(place.digest);
      if (place.position.units < end - 8000) machine.run({ instructions: next(4000) });
    }
    expect(guest.output(), 'nothing comes out twice').toBe(output);
  });
});

test('vCPUs that were run one by one are run so again', async () => {
  const guest = started(await guestFromFile(SMP, { virtualization: 'none', memoryBytes: 2.5 * MIB, cpus: 4 }));
  const { machine } = guest;
  const next = random(7);
  const places = new Map<string, { readonly position: Position; readonly digest: string }>();
  for (let round = 0; round < 30; round++) {
    if (next(3)) machine.run({ instructions: 1 + next(6000) });
    else machine.step(next(4));
    if (next(5) === 0) machine.history.checkpoint();
    const { position } = machine.history;
    // A step of a vCPU that waits leads nowhere: what is there afterwards counts.
    places.set(JSON.stringify(position), { position, digest: digestOf(guest) });
  }
  for (const { position, digest } of [...places.values()].reverse()) {
    machine.history.goTo(position);
    expect(digestOf(guest), JSON.stringify(position)).toBe(digest);
  }
});

describe('reverse', () => {
  test('goes back from stop to stop, as the run went forth', async () => {
    const guest = started(await ticking('none'));
    const { machine } = guest;
    machine.setBreakpoints([TICK]);
    const target = { kind: 'memory', address: 0x20_0000n, lengthBytes: 4 } as const;
    machine.setWatches([{ target, read: false, write: true }]);
    const forth = [];
    for (let stop = 0; stop < 120; stop++) {
      const { kind } = machine.run();
      forth.push(`${kind} ${digestOf(guest)}`);
      if (stop % 30 === 0) machine.history.checkpoint();
    }
    const backwards = [];
    for (let stop = 0; stop < 40; stop++) {
      const reverse = machine.history.reverse(() => true);
      let result = reverse.next();
      while (!result.done) result = reverse.next();
      backwards.push(`${result.value?.kind} ${digestOf(guest)}`);
    }
    expect(backwards).toEqual(forth.slice(-41, -1).reverse());
    // And forth again.
    for (const expected of forth.slice(-40)) expect(`${machine.run().kind} ${digestOf(guest)}`).toBe(expected);
  });

  test('ends at the beginning where there is no stop', async () => {
    const guest = started(await ticking('none'));
    const beginning = digestOf(guest);
    guest.machine.run({ instructions: 100_000 });
    const reverse = guest.machine.history.reverse(() => true);
    let result = reverse.next();
    while (!result.done) result = reverse.next();
    expect([result.value, digestOf(guest)]).toEqual([undefined, beginning]);
    expect(guest.machine.history.stepBack()).toBe(false);
  });
});

test('what is changed in the past leads to another future', async () => {
  const guest = started(await ticking('none'));
  const { machine } = guest;
  machine.run({ instructions: 20_000 });
  const old = digestOf(guest);
  for (let step = 0; step < 50; step++) machine.history.stepBack();
  expect(machine.history.isInPast).toBe(true);
  machine.vcpus[0]?.poke('guest-physical', 0x27_0000n, Uint8Array.of(7));
  expect(machine.history.isInPast).toBe(false);
  machine.run({ instructions: 20_000 - machine.instructionCount });
  expect(digestOf(guest)).not.toBe(old);
  expect(machine.vcpus[0]?.peek('guest-physical', 0x27_0000n, 1)[0]).toBe(7);
});

test.each([
  'rings/rings.asm',
  'tiny-hypervisor/tiny-hypervisor.asm',
  'paging/paging.asm',
  'c-hypervisor/c-hypervisor.elf',
])('the sample %s runs to the same end again', async (program) => {
  const guest = started(await guestFromFile(sample(program)));
  const { machine } = guest;
  expect(machine.run().kind).toBe('exited');
  const [end, output] = [digestOf(guest), guest.output()];
  for (let step = 0; step < 5; step++) expect(machine.history.stepBack()).toBe(true);
  const reverse = machine.history.reverse(() => true);
  while (!reverse.next().done);
  expect(machine.run().kind).toBe('exited');
  expect([digestOf(guest), guest.output()]).toEqual([end, output]);
});
