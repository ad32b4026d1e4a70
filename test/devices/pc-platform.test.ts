import { beforeEach, describe, expect, it } from 'vitest';
import type { UnclaimedAccess } from '../../engine/devices/bus.ts';
import { PcPlatform, type PcPlatformConfig } from '../../engine/devices/pc-platform.ts';
import { MemoryBlockBackend } from '../../engine/devices/virtio/block-backend.ts';
import { ascii, initialize, notify, RAM_BASE, TestClock, TestMemory, TestQueue, Wire } from './support.ts';

const MIB = 2 ** 20;

let clock: TestClock;
let memory: TestMemory;
let intr: Wire;
let log: string[];
let unclaimed: UnclaimedAccess[];
let pc: PcPlatform;

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function build(config: Partial<PcPlatformConfig> = {}) {
  pc = new PcPlatform(
    { memoryBytes: 64 * MIB, ...config },
    {
      clock: clock.now,
      memory,
      intr,
      serialOutput: (port, bytes) => log.push(`COM${port + 1} ${text(bytes)}`),
      consoleOutput: (slot, bytes) => log.push(`console ${slot} ${text(bytes)}`),
      debugConsoleOutput: (bytes) => log.push(`debug ${text(bytes)}`),
      exit: (code) => log.push(`exit ${code}`),
      shutdown: (how) => log.push(`shutdown: ${how}`),
      reset: (how) => log.push(`reset: ${how}`),
      setA20: (enabled) => log.push(`A20 ${enabled ? 'open' : 'closed'}`),
      onPostCode: (code) => log.push(`POST ${code}`),
      onNotify: ({ device, queue }) => log.push(`notify ${device} ${queue}`),
      onDriverMistake: ({ device, message }) => log.push(`${device}: ${message}`),
      onUnclaimed: (access) => unclaimed.push(access),
    },
  );
  log.length = 0;
}

const out = (port: number, ...values: number[]) => {
  for (const value of values) pc.portBus.write(port, 1, value);
};

/** Vectors 0x20 and 0x28, nothing masked. */
function initializePic() {
  out(0x20, 0x11);
  out(0x21, 0x20, 0x04, 0x01, 0x00);
  out(0xa0, 0x11);
  out(0xa1, 0x28, 0x02, 0x01, 0x00);
}

/** Turns the clock to each deadline up to `ns`; returns the vectors acknowledged, each ended at once. */
function runTo(ns: number): number[] {
  const vectors: number[] = [];
  for (;;) {
    while (pc.interruptPending()) {
      vectors.push(pc.acknowledge());
      out(0xa0, 0x20);
      out(0x20, 0x20);
    }
    const due = pc.nextDeadlineNs();
    if (due === undefined || due > ns) break;
    clock.ns = Math.max(clock.ns, due);
    pc.service(clock.ns);
  }
  clock.ns = ns;
  return vectors;
}

beforeEach(() => {
  clock = new TestClock();
  memory = new TestMemory();
  intr = new Wire();
  log = [];
  unclaimed = [];
  build();
});

describe('PC platform', () => {
  it('has the devices of a PC on their ports', () => {
    const at = (port: number) => pc.portBus.deviceAt(port);
    expect(
      [0x20, 0xa1, 0x4d0, 0x43, 0x61, 0x60, 0x64, 0x71, 0x80, 0x92, 0xf0, 0x3ff, 0xe9, 0xf4, 0x604, 0x2f8].map(at),
    ).toEqual([
      'pic-8259',
      'pic-8259',
      'pic-8259',
      'pit-8254',
      'port-61',
      'keyboard-8042',
      'keyboard-8042',
      'cmos-rtc',
      'post-port',
      'port-92',
      'fpu-error',
      'uart-16550 COM1',
      'debug-console',
      'debug-exit',
      'shutdown-ports',
      undefined,
    ]);
  });

  it('leads outputs outside', () => {
    out(0x3f8, 0x41);
    out(0xe9, 0x42);
    out(0x80, 3);
    out(0xf4, 7);
    out(0x64, 0xfe);
    pc.portBus.write(0x604, 2, 0x2000);
    out(0x1234, 1);
    expect(log).toEqual([
      'COM1 A',
      'debug B',
      'POST 3',
      'exit 7',
      'reset: the keyboard controller',
      'shutdown: ACPI soft off through PM1a_CNT',
    ]);
    expect(unclaimed.map(({ address }) => address)).toEqual([0x1234]);
  });

  it('gives the timer interrupt 1000 times a second', () => {
    initializePic();
    runTo(0);
    out(0x43, 0x34);
    out(0x40, 1193 & 0xff, 1193 >> 8);
    const vectors = runTo(1e9);
    expect(vectors.length).toBe(Math.floor(1_193_182 / 1193));
    expect(new Set(vectors)).toEqual(new Set([0x20]));
    expect(intr.level).toBe(false);
  });

  it('gives each device its interrupt', () => {
    build({ serial: 4 });
    initializePic();
    out(0x21, 0x01);
    pc.keyboard.receive(Uint8Array.of(0x1c));
    for (const base of [0x3f8, 0x2f8, 0x3e8, 0x2e8]) out(base + 1, 0x01);
    pc.uarts[0]?.receive(ascii('a'));
    pc.uarts[3]?.receive(ascii('b'));
    out(0x70, 0x0b);
    out(0x71, 0x12);
    expect(runTo(1e9)).toEqual([0x21, 0x23, 0x24, 0x28]);
  });

  it('COM1 and COM3 share IRQ 4: the line falls when both are served', () => {
    build({ serial: 3 });
    initializePic();
    out(0x20, 0x0a); // read IRR
    out(0x21, 0xff);
    const irr4 = () => (pc.portBus.read(0x20, 1) >> 4) & 1;
    for (const base of [0x3f8, 0x3e8]) out(base + 1, 0x01);
    pc.uarts[0]?.receive(ascii('a'));
    pc.uarts[2]?.receive(ascii('b'));
    const seen = [0x3f8, 0x3e8].map((base) => {
      pc.portBus.read(base, 1);
      return irr4();
    });
    expect(seen).toEqual([1, 0]);
  });

  it('opens A20 by either of its two sources', () => {
    out(0x92, 0x00);
    expect(log.at(-1)).toBe('A20 closed');
    out(0x64, 0xd1);
    out(0x60, 0xdf);
    expect(log.at(-1)).toBe('A20 open');
    out(0x92, 0x02);
    out(0x64, 0xdd);
    expect(log.at(-1)).toBe('A20 open');
  });

  it('resets to power-on state', () => {
    initializePic();
    out(0x92, 0x00);
    out(0x43, 0x34);
    out(0x40, 10, 0);
    pc.keyboard.receive(Uint8Array.of(0x1c));
    pc.reset();
    expect([pc.interruptPending(), pc.nextDeadlineNs(), pc.portBus.read(0x64, 1) & 1, log.at(-1)]).toEqual([
      false,
      undefined,
      0,
      'A20 open',
    ]);
  });

  it('can be built without the ports of emulators, and refuses what no PC has', () => {
    build({ debugExit: false, debugConsole: false, shutdownPorts: false, serial: 0 });
    out(0xf4, 1);
    expect(log).toEqual([]);
    expect(() => build({ serial: 5 })).toThrow('serial: expected 0 to 4 ports, found 5');
    expect(() => build({ debugExit: 0x40 })).toThrow(/port 0x40 is already claimed by pit-8254/);
    const consoles = Array.from({ length: 9 }, () => ({ kind: 'console' as const }));
    expect(() => build({ virtio: consoles })).toThrow('virtio: expected at most 8 devices, found one for slot 8');
  });
});

describe('PC platform: virtio slots', () => {
  const backend = () => new MemoryBlockBackend(new Uint8Array(8192).fill(0x5a));

  it('lie at 0xFEB00000 + n * 0x200 with IRQ 5, 6, 7, 10, 11 …, as Linux is told', () => {
    build({ virtio: Array.from({ length: 5 }, () => ({ kind: 'console' as const })) });
    expect(pc.virtio.map(({ base, irq }) => [base, irq])).toEqual([
      [0xfeb00000, 5],
      [0xfeb00200, 6],
      [0xfeb00400, 7],
      [0xfeb00600, 10],
      [0xfeb00800, 11],
    ]);
    expect(pc.virtioKernelParameters()[1]).toBe('virtio_mmio.device=512@0xfeb00200:6');
    expect(pc.mmioBus.read(0xfeb00200, 4)).toBe(0x74726976);
  });

  it('a request raises the interrupt of its slot', () => {
    build({ virtio: [{ kind: 'console' }, { kind: 'block', backend: backend() }] });
    initializePic();
    const transport = pc.virtio[1]?.transport;
    if (!transport) throw new Error('expected a transport');
    const queue = new TestQueue(memory, 0);
    initialize(transport, [queue]);
    const [header, data, status] = [RAM_BASE + 0x20000, RAM_BASE + 0x21000, RAM_BASE + 0x22000];
    queue.offerBuffers(
      { gpa: header, length: 16 },
      { gpa: data, length: 512, writable: true },
      { gpa: status, length: 1, writable: true },
    );
    notify(transport, 0);
    expect(pc.acknowledge()).toBe(0x26);
    expect([memory.view(data).getUint8(0), log]).toEqual([0x5a, ['notify virtio-block@1 0']]);
  });

  it('describes everything as plain data', () => {
    build({ virtio: [{ kind: 'block', backend: backend() }] });
    const view = pc.describe();
    expect(structuredClone(view)).toEqual(view);
    expect(view.devices.map(({ device }) => device)).toContain('uart-16550 COM1');
    expect(view.virtio).toMatchObject([{ device: 'virtio-block@0', base: 0xfeb00000, irq: 5 }]);
    expect(view.mmio).toEqual([{ name: 'virtio-block@0', first: 0xfeb00000, last: 0xfeb001ff }]);
  });
});
