/** The public interface of the engine, used as the README shows it. */
import { describe, expect, test } from 'vitest';
import { createMachine, type MachineConfig } from '../../engine/index.ts';

/** 64-bit code at 1 MiB: RAX = 6 * 7, store it, print 'x', end with the value. */
const CODE = Uint8Array.from([
  ...[0xb8, 6, 0, 0, 0], // mov eax, 6
  ...[0x6b, 0xc0, 7], // imul eax, eax, 7
  ...[0x48, 0x89, 0x04, 0x25, 0, 0, 0x20, 0], // mov [0x200000], rax
  ...[0xb0, 0x78, 0xe6, 0xe9], // mov al, 'x'; out 0xe9, al
  ...[0x8a, 0x04, 0x25, 0, 0, 0x20, 0], // mov al, [0x200000]
  ...[0xe6, 0xf4], // out 0xf4, al
]);
const START = 0x10_0000;

function config(): MachineConfig {
  return {
    program: { segments: [{ address: START, bytes: CODE }], entry: { mode: 'long', address: START } },
    memoryBytes: 16 * 1024 * 1024,
    cpus: 1,
    virtualization: 'none',
  };
}

function boot() {
  const machine = createMachine(config());
  const [cpu] = machine.vcpus;
  if (!cpu) throw new Error('a machine has at least one vCPU');
  return { machine, cpu };
}

describe('the engine from code', () => {
  test('runs to the end, with output and exit code', () => {
    const { machine } = boot();
    const printed: number[] = [];
    machine.onOutput = (_source, bytes) => printed.push(...bytes);
    expect(machine.run()).toEqual({ kind: 'exited', code: 42, how: 'debug exit' });
    expect(String.fromCharCode(...printed)).toBe('x');
  });

  test('steps, reads and sets registers and memory', () => {
    const { machine, cpu } = boot();
    expect(cpu.mode()).toMatchObject({ ring: 0, operatingMode: '64-bit mode', vmxOperation: 'off' });
    machine.step();
    expect(cpu.readRegister('rax')).toBe(6n);
    expect(cpu.writeRegister('rax', 5n)).toBeUndefined();
    machine.step();
    expect(cpu.readRegister('eax')).toBe(35n);
    expect(cpu.writeRegister('al', 300n)).toContain('does not fit');
    expect(cpu.readRegister('nonsense')).toBeUndefined();
    cpu.poke('linear', 0x20_0000n, Uint8Array.of(1, 2, 3));
    expect([...cpu.peek('guest-physical', 0x20_0000n, 3)]).toEqual([1, 2, 3]);
  });

  test('stops at a breakpoint, and goes on from it', () => {
    const { machine, cpu } = boot();
    machine.setBreakpoints([BigInt(START + 8)]);
    expect(machine.run()).toEqual({ kind: 'breakpoint', vcpu: 0, address: BigInt(START + 8) });
    expect(cpu.readRegister('rax')).toBe(42n);
    expect(machine.run()).toMatchObject({ kind: 'exited', code: 42 });
  });

  test('stops at a watched write, after it', () => {
    const { machine, cpu } = boot();
    const watch = {
      target: { kind: 'memory', address: 0x20_0000n, lengthBytes: 8 },
      read: false,
      write: true,
    } as const;
    machine.setWatches([watch]);
    const hit = { watch, access: 'write', address: 0x20_0000n, before: 0n, after: 42n, by: 'MOV' };
    expect(machine.run()).toEqual({ kind: 'watch', vcpu: 0, hits: [{ ...hit, instruction: BigInt(START + 8) }] });
    expect(cpu.rip).toBe(BigInt(START + 16));
    expect(machine.run()).toMatchObject({ kind: 'exited', code: 42 });
  });

  test('stops before a privileged instruction whose condition holds, once', () => {
    const { machine, cpu } = boot();
    machine.setFilter('privileged-instruction', true, (event) => event.values.instruction === 'OUT');
    const stop = machine.run();
    expect(stop).toMatchObject({ kind: 'event', event: { filter: 'privileged-instruction' } });
    expect(cpu.rip).toBe(BigInt(START + 18));
    expect(machine.run()).toMatchObject({ kind: 'event' });
    expect(machine.run()).toMatchObject({ kind: 'exited', code: 42 });
  });

  test('stops exactly at an instruction count, and counts from power-on', () => {
    const { machine, cpu } = boot();
    expect(machine.run({ instructions: 3 })).toEqual({ kind: 'limit' });
    expect(machine.instructionCount).toBe(3);
    expect(cpu.rip).toBe(BigInt(START + 16));
  });

  test('looking does not disturb: views leave the state hash alone', () => {
    const { machine, cpu } = boot();
    machine.run({ instructions: 2 });
    const before = machine.stateHash();
    cpu.registers();
    cpu.translate(0x20_0000n, 'write');
    cpu.tlb();
    const { guest } = cpu.pagingRoots();
    if (guest) cpu.pagingChildren(guest);
    cpu.peek('linear', 0x20_0000n, 64);
    machine.virtqueues();
    expect(machine.stateHash()).toBe(before);
  });
});
