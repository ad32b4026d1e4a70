import { beforeEach, describe, expect, it } from 'vitest';
import { REGISTER } from '../../engine/devices/virtio/mmio-registers.ts';
import { VirtioConsole } from '../../engine/devices/virtio/virtio-console.ts';
import { VirtioMmio } from '../../engine/devices/virtio/virtio-mmio.ts';
import { ascii, F, initialize, notify, RAM_BASE, TestClock, TestMemory, TestQueue, Wire } from './support.ts';

const [RECEIVE, TRANSMIT] = [0, 1];
const DATA = RAM_BASE + 0x2_0000;
const F_SIZE = 1n;

let memory: TestMemory;
let irq: Wire;
let output: string;
let device: VirtioConsole;
let transport: VirtioMmio;
let receiveq: TestQueue;
let transmitq: TestQueue;
const start = (features = F.VERSION_1) => initialize(transport, [receiveq, transmitq], features);

beforeEach(() => {
  memory = new TestMemory();
  irq = new Wire();
  output = '';
  device = new VirtioConsole((bytes) => {
    output += new TextDecoder().decode(bytes);
  });
  transport = new VirtioMmio('virtio-console@1', device, { clock: new TestClock().now, memory, irq });
  receiveq = new TestQueue(memory, RECEIVE);
  transmitq = new TestQueue(memory, TRANSMIT);
});

describe('virtio-console', () => {
  it('sends what the transmit queue holds, across descriptors', () => {
    start();
    memory.write(DATA, ascii('hello, world'));
    transmitq.offerBuffers({ gpa: DATA, length: 5 }, { gpa: DATA + 5, length: 7 });
    notify(transport, TRANSMIT);
    expect([output, transmitq.usedEntry(0), irq.level]).toEqual(['hello, world', { id: 0, len: 0 }, true]);
  });

  it('puts input into the buffers of the receive queue as they come', () => {
    start();
    receiveq.offerBuffers({ gpa: DATA, length: 4, writable: true });
    notify(transport, RECEIVE);
    expect([receiveq.usedIdx, irq.level]).toEqual([0, false]);
    device.receive(ascii('abcdefg'));
    expect([receiveq.usedEntry(0), memory.text(DATA, 4), irq.level]).toEqual([{ id: 0, len: 4 }, 'abcd', true]);
    receiveq.offerBuffers({ gpa: DATA + 8, length: 1, writable: true }, { gpa: DATA + 16, length: 8, writable: true });
    notify(transport, RECEIVE);
    expect([receiveq.usedEntry(1).len, memory.text(DATA + 8, 1), memory.text(DATA + 16, 2)]).toEqual([3, 'e', 'fg']);
  });

  it('keeps input that comes before the driver', () => {
    device.receive(ascii('early'));
    receiveq.offerBuffers({ gpa: DATA, length: 16, writable: true });
    start();
    expect([receiveq.usedEntry(0).len, memory.text(DATA, 5)]).toEqual([5, 'early']);
  });

  it('tells its size, and with VIRTIO_CONSOLE_F_SIZE every change by generation and interrupt', () => {
    start(F.VERSION_1 | F_SIZE);
    expect([transport.read(0x100, 2), transport.read(0x102, 2), transport.read(0x104, 4)]).toEqual([80, 25, 1]);
    const generation = transport.read(REGISTER.ConfigGeneration, 4);
    device.resize(132, 43);
    expect([transport.read(0x100, 2), transport.read(0x102, 2)]).toEqual([132, 43]);
    expect(transport.read(REGISTER.ConfigGeneration, 4)).toBe(generation + 1);
    expect(transport.read(REGISTER.InterruptStatus, 4)).toBe(2);
  });

  it('without it, no interrupt', () => {
    start();
    device.resize(132, 43);
    expect(irq.level).toBe(false);
  });

  it('emerg_wr writes a character before initialization', () => {
    transport.write(0x108, 4, 'X'.charCodeAt(0));
    expect(output).toBe('X');
  });

  it('a transmit buffer outside RAM needs a reset and sends nothing', () => {
    start();
    transmitq.offerBuffers({ gpa: 0, length: 4096 });
    notify(transport, TRANSMIT);
    expect(transport.negotiation.needsResetReason).toMatch(/outside RAM/);
    expect(output).toBe('');
  });
});
