import { beforeEach, describe, expect, it } from 'vitest';
import { describeVirtioDevice } from '../../engine/devices/virtio/describe.ts';
import { VirtioConsole } from '../../engine/devices/virtio/virtio-console.ts';
import { VirtioMmio } from '../../engine/devices/virtio/virtio-mmio.ts';
import { virtqueuesView } from '../../extension/views/virtqueues.ts';
import { F, initialize, RAM_BASE, TestClock, TestMemory, TestQueue, Wire } from '../devices/support.ts';
import { allIds, asking, childrenOf, rowAt, wire } from './support.ts';

const DATA = RAM_BASE + 0x2_0000;
const NAME = 'virtio-console@0';
const QUEUE = `${NAME}/queue0`;
let memory: TestMemory;
let transport: VirtioMmio;
let receiveq: TestQueue;

beforeEach(() => {
  memory = new TestMemory();
  const device = new VirtioConsole(() => undefined);
  transport = new VirtioMmio(NAME, device, { clock: new TestClock().now, memory, irq: new Wire() });
  receiveq = new TestQueue(memory, 0, 4);
});

const start = () => initialize(transport, [receiveq], F.VERSION_1 | F.INDIRECT | F.EVENT_IDX);
const view = () =>
  virtqueuesView(asking({ 'ringside/virtqueues': () => ({ devices: wire([describeVirtioDevice(transport)]) }) }));

describe('the virtqueues view', () => {
  it('shows status and features by name', async () => {
    start();
    const content = await view();
    expect(await rowAt(content, NAME)).toMatchObject({
      label: NAME,
      description: 'virtio-console · ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK',
    });
    expect(await childrenOf(await rowAt(content, NAME, `${NAME}/driver-features`))).toEqual([
      'VIRTIO_F_INDIRECT_DESC: ',
      'VIRTIO_F_EVENT_IDX: ',
      'VIRTIO_F_VERSION_1: ',
    ]);
  });

  it('shows descriptors, rings and chains in flight', async () => {
    start();
    receiveq.offerBuffers({ gpa: DATA, length: 16 }, { gpa: DATA + 0x100, length: 64, writable: true });
    const content = await view();
    expect(await rowAt(content, NAME, QUEUE)).toMatchObject({ description: 'size 4, 1 chain in flight' });
    const chains = `${QUEUE}/chains`;
    const chain = await rowAt(content, NAME, QUEUE, chains, `${chains}/0`);
    expect(chain).toMatchObject({
      label: 'Chain at 0',
      description: 'waits for the device · 2 descriptors, 80 bytes',
    });
    expect(await childrenOf(chain)).toEqual([
      'device reads: 0x120000, 16 bytes · NEXT · next 1',
      'device writes: 0x120100, 64 bytes · WRITE',
    ]);
    const table = await rowAt(content, NAME, QUEUE, `${QUEUE}/descriptors`);
    expect(table.memory).toBe(`gpa:0x${receiveq.table.toString(16)}`);
    expect((await childrenOf(table))[0]).toBe('0: 0x120000, 16 bytes · NEXT · next 1');
    expect(await rowAt(content, NAME, QUEUE, `${QUEUE}/available`)).toMatchObject({
      description: 'idx 1, flags 0, device is at 0, used_event 0',
    });
    const used = await rowAt(content, NAME, QUEUE, `${QUEUE}/used`);
    expect((await childrenOf(used))[0]).toBe('→ 0: chain at 0, 0 bytes written');
  });

  it('marks a chain that breaks a rule, and its queue', async () => {
    start();
    receiveq.descriptor(0, DATA, 8, 1, 1);
    receiveq.descriptor(1, DATA, 8, 1, 0);
    receiveq.offer(0);
    const content = await view();
    expect(await rowAt(content, NAME, QUEUE)).toMatchObject({ icon: 'warning' });
    const chain = await rowAt(content, NAME, QUEUE, `${QUEUE}/chains`, `${QUEUE}/chains/0`);
    expect(chain.description).toMatch(/is a loop.* · waits for the device/);
  });

  it('has rows that differ by id whatever the guest writes', async () => {
    start();
    memory.view(receiveq.avail).setUint16(2, 0xffff, true);
    memory.bytes.fill(0xff, receiveq.table - RAM_BASE, receiveq.table - RAM_BASE + 64);
    const ids = await allIds((await view()).rows, 6);
    expect(ids.length).toBeGreaterThan(20);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('says that a queue is not ready, and that there is no device', async () => {
    expect(await rowAt(await view(), NAME, QUEUE)).toMatchObject({ description: 'not ready' });
    const none = await virtqueuesView(asking({ 'ringside/virtqueues': () => ({ devices: [] }) }));
    expect(none.message).toMatch(/^This machine has no virtio device/);
  });
});
