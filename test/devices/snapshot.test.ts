/**
 * Every device, after any history, goes on from a restored state as it would have gone on itself: same reads, same
 * interrupt lines, same outputs, same state. The operations are those that its guest and its outside can do.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CmosRtc } from '../../engine/devices/cmos-rtc.ts';
import { DebugConsole } from '../../engine/devices/debug-console.ts';
import { DebugExit } from '../../engine/devices/debug-exit.ts';
import type { Device, PortDevice, TimedDevice } from '../../engine/devices/device.ts';
import { FpuError } from '../../engine/devices/fpu-error.ts';
import { Keyboard8042 } from '../../engine/devices/keyboard-8042.ts';
import { PcPlatform } from '../../engine/devices/pc-platform.ts';
import { Pic8259 } from '../../engine/devices/pic-8259.ts';
import { Pit8254 } from '../../engine/devices/pit-8254.ts';
import { Port61 } from '../../engine/devices/port-61.ts';
import { Port92 } from '../../engine/devices/port-92.ts';
import { PostPort } from '../../engine/devices/post-port.ts';
import { ShutdownPorts } from '../../engine/devices/shutdown-ports.ts';
import { Uart16550 } from '../../engine/devices/uart-16550.ts';
import { MemoryBlockBackend } from '../../engine/devices/virtio/block-backend.ts';
import { REGISTER } from '../../engine/devices/virtio/mmio-registers.ts';
import { F, initialize, notify, RAM_BASE, sameBytes, TestClock, TestMemory, TestQueue } from './support.ts';

interface Operation {
  readonly kind: 'write' | 'read' | 'wait' | 'outside';
  readonly port: number;
  readonly value: number;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom('write', 'write', 'read', 'wait', 'outside'),
  port: fc.nat(31),
  value: fc.integer({ min: 0, max: 255 }),
});

/** A device with a clock of its own and a log of all that it does to the outside. */
class World {
  readonly clock = new TestClock();
  readonly log: string[] = [];
  readonly levels = new Map<string, boolean>();

  line(name: string) {
    return {
      set: (level: boolean) => {
        if ((this.levels.get(name) ?? false) !== level) this.log.push(`${name} ${level}`);
        this.levels.set(name, level);
      },
    };
  }

  readonly tell =
    (what: string) =>
    (value: unknown = '') =>
      this.log.push(`${what} ${String(value)}`);
}

type AnyDevice = Device & PortDevice & Partial<TimedDevice>;

interface Subject {
  readonly device: AnyDevice;
  /** Something from outside: input, an interrupt line. */
  readonly outside?: (value: number) => void;
}

const subjects: Record<string, (world: World) => Subject> = {
  'pic-8259': (world) => {
    const device = new Pic8259(world.line('INTR'));
    return {
      device,
      outside: (value) => {
        if (value >= 0xf0) world.log.push(`vector ${device.acknowledge()}`);
        else if ((value & 15) !== 2) device.line(value & 15).set((value & 16) !== 0);
      },
    };
  },
  'pit-8254': (world) => {
    const device = new Pit8254({ clock: world.clock.now, irq0: world.line('IRQ0') });
    return { device, outside: (value) => device.setGate2((value & 1) !== 0) };
  },
  'uart-16550': (world) => {
    const ports = { clock: world.clock.now, irq: world.line('IRQ4'), output: world.tell('output') };
    const device = new Uart16550('COM1', 0x3f8, ports);
    return { device, outside: (value) => device.receive(new Uint8Array(value & 31).fill(value)) };
  },
  'cmos-rtc': (world) => ({
    device: new CmosRtc(
      { clock: world.clock.now, irq8: world.line('IRQ8') },
      { epochSeconds: 1_600_000_000, memoryBytes: 2 ** 27 },
    ),
  }),
  'keyboard-8042': (world) => {
    const ports = { irq1: world.line('IRQ1'), setA20: world.line('A20').set, reset: world.tell('reset') };
    const device = new Keyboard8042(ports);
    return { device, outside: (value) => device.receive(Uint8Array.of(value)) };
  },
  'port-61': (world) => ({
    device: new Port61({
      clock: world.clock.now,
      setGate2: world.line('gate').set,
      output2: () => Math.floor(world.clock.ns / 5000) % 2 === 1,
    }),
  }),
  'port-92': (world) => ({
    device: new Port92({ setA20: world.line('A20').set, reset: world.tell('reset') }, true),
  }),
  'fpu-error': (world) => ({ device: new FpuError(world.line('IRQ 13')) }),
  'post-port': (world) => ({ device: new PostPort(world.tell('POST')) }),
  'debug-console': (world) => ({ device: new DebugConsole(world.tell('output')) }),
  'debug-exit': (world) => ({ device: new DebugExit(world.tell('exit')) }),
  'shutdown-ports': (world) => ({ device: new ShutdownPorts(world.tell('shutdown')) }),
};

function serviceUntil(world: World, device: AnyDevice, ns: number): void {
  for (let due = device.deadlineNs?.(); due !== undefined && due <= ns; due = device.deadlineNs?.()) {
    world.clock.ns = Math.max(world.clock.ns, due);
    device.service?.(world.clock.ns);
  }
  world.clock.ns = ns;
}

function apply(world: World, { device, outside }: Subject, { kind, port, value }: Operation): void {
  const ports = device.ports.flatMap(({ first, count }) => Array.from({ length: count }, (_, i) => first + i));
  const address = ports[port % ports.length] ?? 0;
  if (kind === 'write') device.writePort(address, 1, value);
  else if (kind === 'read') world.log.push(`read ${device.peekPort(address, 1)} ${device.readPort(address, 1)}`);
  else if (kind === 'outside') outside?.(value);
  else serviceUntil(world, device, world.clock.ns + value * value * 100);
}

describe('save and restore', () => {
  for (const [name, make] of Object.entries(subjects)) {
    it(`${name} goes on from a restored state as it would itself (property)`, () => {
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 40 }), fc.array(operation, { maxLength: 40 }), (before, after) => {
          const first = new World();
          const original = make(first);
          for (const step of before) apply(first, original, step);
          const saved = structuredClone(original.device.saveState());

          const second = new World();
          second.clock.ns = first.clock.ns;
          const restored = make(second);
          restored.device.restoreState(saved);
          if (name !== 'port-61') expect(second.levels).toEqual(withLow(first.levels, second.levels));
          first.log.length = second.log.length = 0;
          for (const [line, level] of first.levels) second.levels.set(line, level);
          for (const step of after) {
            apply(first, original, step);
            apply(second, restored, step);
          }
          expect(second.log).toEqual(first.log);
          expect(restored.device.saveState()).toEqual(original.device.saveState());
        }),
      );
    });
  }

  /** A line that was never driven is low. */
  function withLow(levels: ReadonlyMap<string, boolean>, keys: ReadonlyMap<string, boolean>): Map<string, boolean> {
    return new Map([...keys.keys()].map((key) => [key, levels.get(key) ?? false]));
  }

  for (const [name, make] of Object.entries(subjects)) {
    it(`${name} does not change by being looked at (property)`, () => {
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 40 }), (before) => {
          const world = new World();
          const subject = make(world);
          for (const step of before) apply(world, subject, step);
          world.clock.ns += 12_345_678; // a deadline may have passed: looking must not serve it
          const { device } = subject;
          const [saved, told] = [device.saveState(), world.log.length];
          for (const { first, count } of device.ports) {
            for (let port = first; port < first + count; port++) device.peekPort(port, 1);
          }
          device.describe();
          device.deadlineNs?.();
          expect(device.saveState()).toEqual(saved);
          expect(world.log.length).toBe(told);
        }),
      );
    });
  }
});

/** A whole platform with a console and a disk under a driver that is now sane, now hostile. */
class Machine {
  readonly clock = new TestClock();
  readonly memory = new TestMemory();
  readonly log: string[] = [];
  readonly pc: PcPlatform;

  constructor() {
    const tell =
      (what: string) =>
      (...values: unknown[]) =>
        this.log.push(`${what} ${JSON.stringify(values)}`);
    this.pc = new PcPlatform(
      {
        memoryBytes: 2 ** 24,
        virtio: [{ kind: 'console' }, { kind: 'block', backend: new MemoryBlockBackend(new Uint8Array(16_384)) }],
      },
      {
        clock: this.clock.now,
        memory: this.memory,
        intr: { set: tell('INTR') },
        serialOutput: tell('serial'),
        consoleOutput: tell('console'),
        debugConsoleOutput: tell('debug'),
        exit: tell('exit'),
        shutdown: tell('shutdown'),
        reset: tell('reset'),
        setA20: tell('A20'),
        onNotify: tell('notify'),
        onDriverMistake: tell('mistake'),
      },
    );
  }

  transport(slot: number) {
    const found = this.pc.virtio[slot];
    if (!found) throw new Error(`expected slot ${slot}`);
    return found.transport;
  }
}

type MachineStep =
  | { readonly kind: 'initialize' | 'input' | 'reset queue'; readonly slot: number; readonly value: number }
  | {
      readonly kind: 'offer';
      readonly slot: number;
      readonly value: number;
      readonly gpa: number;
      readonly length: number;
    }
  | { readonly kind: 'register'; readonly slot: number; readonly offset: number; readonly value: number }
  | { readonly kind: 'port'; readonly port: number; readonly value: number }
  | { readonly kind: 'acknowledge' };

const slot = fc.nat(1);
const value = fc.nat(255);
const machineStep: fc.Arbitrary<MachineStep> = fc.oneof(
  fc.record({ kind: fc.constantFrom('initialize' as const, 'input' as const, 'reset queue' as const), slot, value }),
  fc.record({
    kind: fc.constant('offer' as const),
    slot,
    value: fc.constantFrom(0, 1, 4, 8, 13, 99),
    gpa: fc.constantFrom(RAM_BASE + 0x2_1000, RAM_BASE + 0x2_1003, RAM_BASE + 0x3_fff0, 0x1000),
    length: fc.constantFrom(1, 20, 512, 1024, 4096, 0),
  }),
  fc.record({
    kind: fc.constant('register' as const),
    slot,
    offset: fc.constantFrom(...Object.values(REGISTER)),
    value: fc.oneof(value, fc.constantFrom(0, 1, 0xf, 0xffff_ffff)),
  }),
  fc.record({
    kind: fc.constant('port' as const),
    port: fc.constantFrom(0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x43, 0x40),
    value,
  }),
  fc.record({ kind: fc.constant('acknowledge' as const) }),
);

function offer(
  machine: Machine,
  { slot: at, value: type, gpa, length }: Extract<MachineStep, { kind: 'offer' }>,
): void {
  const { memory } = machine;
  if (at === 0) {
    const queue = new TestQueue(memory, type & 1);
    queue.offerBuffers({ gpa, length, writable: (type & 1) === 0 });
    notify(machine.transport(0), type & 1);
    return;
  }
  const queue = new TestQueue(memory, 0);
  const header = RAM_BASE + 0x2_0000;
  memory.view(header).setUint32(0, type, true);
  const writable = type !== 1 && type !== 13;
  const status = { gpa: header + 32, length: 1, writable: true };
  queue.offerBuffers({ gpa: header, length: 16 }, { gpa, length, writable }, status);
  notify(machine.transport(1), 0);
}

function step(machine: Machine, action: MachineStep): void {
  const { pc, memory } = machine;
  switch (action.kind) {
    case 'initialize': {
      memory.bytes.fill(0, 0, 0x2_0000);
      const queues =
        action.slot === 0 ? [new TestQueue(memory, 0), new TestQueue(memory, 1)] : [new TestQueue(memory, 0)];
      const features = F.VERSION_1 | (action.value & 1 ? F.EVENT_IDX : 0n) | (action.value & 2 ? F.INDIRECT : 0n);
      initialize(machine.transport(action.slot), queues, features);
      break;
    }
    case 'input': {
      const { device } = machine.transport(0);
      if ('receive' in device && typeof device.receive === 'function') device.receive(new Uint8Array(action.value));
      break;
    }
    case 'reset queue':
      machine.transport(action.slot).write(REGISTER.QueueReset, 4, 1);
      break;
    case 'offer':
      offer(machine, action);
      break;
    case 'register': {
      const transport = machine.transport(action.slot);
      machine.log.push(`read ${transport.read(action.offset, 4)}`);
      transport.write(action.offset, 4, action.value);
      break;
    }
    case 'port':
      pc.portBus.write(action.port, 1, action.value);
      break;
    case 'acknowledge':
      if (pc.interruptPending()) machine.log.push(`vector ${pc.acknowledge()}`);
      break;
  }
  machine.clock.ns += 1000;
  pc.service(machine.clock.ns);
}

describe('PC platform under any driver', () => {
  const steps = fc.array(machineStep, { maxLength: 40 });

  it('goes on from a restored state as it would itself (property)', () => {
    fc.assert(
      fc.property(steps, steps, (before, after) => {
        const original = new Machine();
        for (const action of before) step(original, action);
        const restored = new Machine();
        restored.clock.ns = original.clock.ns;
        restored.memory.bytes.set(original.memory.bytes);
        restored.pc.restoreState(structuredClone(original.pc.saveState()));
        original.log.length = restored.log.length = 0;
        for (const action of after) {
          step(original, action);
          step(restored, action);
        }
        expect(restored.log).toEqual(original.log);
        expect(sameBytes(restored.memory.bytes, original.memory.bytes)).toBe(true);
        expect(restored.pc.describe()).toEqual(original.pc.describe());
      }),
    );
  });

  it('is not changed by describe (property)', () => {
    fc.assert(
      fc.property(steps, (before) => {
        const machine = new Machine();
        for (const action of before) step(machine, action);
        const [accesses, told, saved] = [machine.memory.accesses, machine.log.length, machine.pc.saveState()];
        machine.pc.describe();
        expect([machine.memory.accesses, machine.log.length]).toEqual([accesses, told]);
        expect(machine.pc.saveState()).toEqual(saved);
      }),
    );
  });

  it('refuses a snapshot of another configuration', () => {
    expect(() => new Machine().pc.restoreState({})).toThrow(/expected a state of the device pit-8254/);
  });
});
