import { beforeEach, describe, expect, it } from 'vitest';
import { describeVirtioDevice } from '../../engine/devices/virtio/describe.ts';
import { VirtioConsole } from '../../engine/devices/virtio/virtio-console.ts';
import { VirtioMmio } from '../../engine/devices/virtio/virtio-mmio.ts';
import { F, initialize, notify, RAM_BASE, sameBytes, TestClock, TestMemory, TestQueue, Wire } from './support.ts';

const DATA = RAM_BASE + 0x2_0000;
let memory: TestMemory;
let transport: VirtioMmio;
let receiveq: TestQueue;

beforeEach(() => {
  memory = new TestMemory();
  const console = new VirtioConsole(() => undefined);
  transport = new VirtioMmio('virtio-console@0', console, { clock: new TestClock().now, memory, irq: new Wire() });
  receiveq = new TestQueue(memory, 0, 4);
});

const start = () => initialize(transport, [receiveq], F.VERSION_1 | F.INDIRECT | F.EVENT_IDX);
const firstQueue = () => {
  const [queue] = describeVirtioDevice(transport).queues;
  if (!queue) throw new Error('expected a queue');
  return queue;
};

describe('describeVirtioDevice', () => {
  it('names status and features', () => {
    start();
    const view = describeVirtioDevice(transport);
    expect(view.status).toBe('ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK');
    expect(view.driverFeatures).toEqual({
      value: '0x0000000130000000',
      names: ['VIRTIO_F_INDIRECT_DESC', 'VIRTIO_F_EVENT_IDX', 'VIRTIO_F_VERSION_1'],
    });
    expect(view.deviceFeatures.names).toContain('VIRTIO_CONSOLE_F_SIZE');
    expect(view.registers.find(({ name }) => name === 'DeviceID')).toMatchObject({
      value: 3,
      meaning: 'virtio-console',
    });
  });

  it('shows tables and rings and the chains in flight, indirect tables opened', () => {
    start();
    const table = DATA + 0x1000;
    receiveq.offerBuffers({ gpa: DATA, length: 64, writable: true });
    receiveq.descriptor(2, table, 32, 4);
    receiveq.descriptor(0, DATA + 0x100, 8, 3, 1, table);
    receiveq.descriptor(1, DATA + 0x200, 8, 2, 0, table);
    receiveq.offer(2);
    receiveq.setUsedEvent(5);
    notify(transport, 0);
    const view = firstQueue();
    expect(view.descriptorTable?.[0]).toEqual({
      index: 0,
      addr: DATA,
      len: 64,
      flags: 2,
      next: 0,
      flagNames: 'VIRTQ_DESC_F_WRITE',
    });
    expect(view.availableRing).toMatchObject({ idx: 2, ring: [0, 2, 0, 0], usedEvent: 5 });
    expect(view.usedRing).toMatchObject({ idx: 0, availEvent: 0 });
    expect(
      view.chainsInFlight.map(({ head, state, error, descriptors }) => ({ head, state, error, n: descriptors.length })),
    ).toEqual([
      { head: 0, state: 'available', error: undefined, n: 1 },
      { head: 2, state: 'available', error: undefined, n: 2 },
    ]);
  });

  it('says which rule a chain breaks, and shows it as far as it goes', () => {
    start();
    receiveq.descriptor(0, DATA, 8, 1, 1);
    receiveq.descriptor(1, DATA, 8, 1, 0);
    receiveq.offer(0);
    const [chain] = firstQueue().chainsInFlight;
    expect(chain?.error).toMatch(/is a loop/);
    expect(chain?.descriptors.length).toBe(4);
  });

  it('holds up against rings that are no longer sane', () => {
    start();
    memory.view(receiveq.avail).setUint16(2, 0xffff, true);
    memory.bytes.fill(0xff, receiveq.table - RAM_BASE, receiveq.table - RAM_BASE + 64);
    const view = firstQueue();
    expect(view.chainsInFlight).toHaveLength(4);
    expect(view.chainsInFlight.every(({ error }) => error !== undefined)).toBe(true);
  });

  it('shows a queue that is not ready without tables', () => {
    expect(firstQueue()).toMatchObject({ ready: false, chainsInFlight: [], maxSize: 64 });
  });

  it('uses peeks alone', () => {
    start();
    receiveq.offerBuffers({ gpa: DATA, length: 64, writable: true });
    const [accesses, state, bytes] = [memory.accesses, transport.saveState(), memory.bytes.slice()];
    describeVirtioDevice(transport);
    expect([memory.accesses, transport.saveState()]).toEqual([accesses, state]);
    expect(sameBytes(memory.bytes, bytes)).toBe(true);
  });
});
