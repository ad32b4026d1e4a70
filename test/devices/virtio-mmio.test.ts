import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryBlockBackend } from '../../engine/devices/virtio/block-backend.ts';
import { REGISTER, STATUS } from '../../engine/devices/virtio/mmio-registers.ts';
import { VirtioBlock } from '../../engine/devices/virtio/virtio-block.ts';
import { VirtioMmio } from '../../engine/devices/virtio/virtio-mmio.ts';
import { enableQueue, F, initialize, notify, RAM_BASE, TestClock, TestMemory, TestQueue, Wire } from './support.ts';

let memory: TestMemory;
let irq: Wire;
let mistakes: string[];
let notifications: string[];
let transport: VirtioMmio;
let queue: TestQueue;
const read = (offset: number) => transport.read(offset, 4);
const write = (offset: number, value: number) => transport.write(offset, 4, value);
const DATA = RAM_BASE + 0x2_0000;
const NEGOTIATED = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK;

/** A FLUSH request: header, status. */
function offerFlush(statusGpa = DATA + 0x100) {
  memory.view(DATA).setUint32(0, 4, true);
  return queue.offerBuffers({ gpa: DATA, length: 16 }, { gpa: statusGpa, length: 1, writable: true });
}

beforeEach(() => {
  memory = new TestMemory();
  irq = new Wire();
  mistakes = [];
  notifications = [];
  transport = new VirtioMmio('virtio-block@0', new VirtioBlock(new MemoryBlockBackend(new Uint8Array(4096))), {
    clock: new TestClock().now,
    memory,
    irq,
    onNotify: ({ device, queue: index }) => notifications.push(`${device} ${index}`),
    onDriverMistake: ({ message }) => mistakes.push(message),
  });
  queue = new TestQueue(memory, 0);
});

describe('virtio-mmio: identification', () => {
  it('MagicValue "virt", Version 2, DeviceID, VendorID', () => {
    expect([REGISTER.MagicValue, REGISTER.Version, REGISTER.DeviceID].map(read)).toEqual([0x74726976, 2, 2]);
    expect(read(REGISTER.VendorID)).not.toBe(0);
  });

  it('DeviceFeatures by DeviceFeaturesSel; words beyond 1 are 0', () => {
    const words = [0, 1, 2].map((word) => {
      write(REGISTER.DeviceFeaturesSel, word);
      return read(REGISTER.DeviceFeatures);
    });
    // SIZE_MAX, SEG_MAX, BLK_SIZE, FLUSH, DISCARD, WRITE_ZEROES, INDIRECT_DESC, EVENT_IDX; VERSION_1, RING_RESET
    expect(words).toEqual([0x3000_6246, 0x0000_0101, 0]);
  });

  it('QueueNumMax is 0 for a queue that is not there; shared memory regions have length -1', () => {
    expect(read(REGISTER.QueueNumMax)).toBe(128);
    write(REGISTER.QueueSel, 1);
    expect([read(REGISTER.QueueNumMax), read(REGISTER.SHMLenLow)]).toEqual([0, 0xffff_ffff]);
  });
});

describe('virtio-mmio: status', () => {
  it('goes through the initialization of 3.1.1', () => {
    initialize(transport, [queue]);
    expect([read(REGISTER.Status), read(REGISTER.QueueReady), mistakes]).toEqual([0x0f, 1, []]);
  });

  it('keeps FEATURES_OK clear without VIRTIO_F_VERSION_1, or with a feature that is not offered', () => {
    initialize(transport, [], 0n);
    expect(read(REGISTER.Status) & STATUS.FEATURES_OK).toBe(0);
    initialize(transport, [], F.VERSION_1 | (1n << 34n));
    expect(read(REGISTER.Status) & (STATUS.FEATURES_OK | STATUS.DRIVER_OK)).toBe(0);
    expect(mistakes).toContain('FEATURES_OK refused: the driver does not accept VIRTIO_F_VERSION_1');
    expect(mistakes).toContain('FEATURES_OK refused: the driver accepts features that the device does not offer');
  });

  it('bits are only added; FAILED is kept', () => {
    write(REGISTER.Status, STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    write(REGISTER.Status, STATUS.ACKNOWLEDGE | STATUS.FAILED);
    expect(read(REGISTER.Status)).toBe(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FAILED);
    expect(mistakes).toEqual(['Status bits may only be added; cleared: DRIVER; kept']);
  });

  it('features cannot be changed after FEATURES_OK', () => {
    initialize(transport, [queue]);
    write(REGISTER.DriverFeaturesSel, 0);
    write(REGISTER.DriverFeatures, 0xffff_ffff);
    expect(transport.negotiation.driverFeatures[0]).toBe(0);
    expect(mistakes).toHaveLength(1);
  });

  it('writing 0 resets: queues, features, interrupt', () => {
    initialize(transport, [queue]);
    offerFlush();
    notify(transport, 0);
    expect(irq.level).toBe(true);
    write(REGISTER.Status, 0);
    expect([read(REGISTER.Status), read(REGISTER.QueueReady), read(REGISTER.InterruptStatus), irq.level]).toEqual([
      0,
      0,
      0,
      false,
    ]);
  });
});

describe('virtio-mmio: queues', () => {
  it('refuses queue registers before FEATURES_OK, while ready, and a bad QueueNum', () => {
    write(REGISTER.QueueNum, 8);
    write(REGISTER.Status, STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    initialize(transport, [queue]);
    write(REGISTER.QueueNum, 4);
    write(REGISTER.QueueReady, 0);
    write(REGISTER.QueueNum, 6);
    write(REGISTER.QueueNum, 256);
    expect(mistakes).toEqual([
      'QueueNum written before FEATURES_OK',
      'QueueNum written while QueueReady is 1; write 0 to QueueReady or reset first',
      'QueueNum: expected a power of 2 up to QueueNumMax, 128, found 6',
      'QueueNum: expected a power of 2 up to QueueNumMax, 128, found 256',
    ]);
    expect(transport.queues[0]?.state.size).toBe(8);
  });

  it('takes 64-bit addresses in halves, in either order', () => {
    initialize(transport, []);
    write(REGISTER.QueueDescHigh, 0x12);
    write(REGISTER.QueueDescLow, 0x89ab_cdef);
    expect(transport.queues[0]?.state.descriptorArea).toBe(0x12_89ab_cdef);
    write(REGISTER.QueueDescHigh, 0x01);
    expect(transport.queues[0]?.state.descriptorArea).toBe(0x01_89ab_cdef);
  });

  it('notification, interrupt, InterruptStatus, InterruptACK', () => {
    initialize(transport, [queue]);
    const head = offerFlush();
    notify(transport, 0);
    expect(notifications).toEqual(['virtio-block@0 0']);
    expect([queue.usedIdx, queue.usedEntry(0)]).toEqual([1, { id: head, len: 1 }]);
    expect([irq.level, read(REGISTER.InterruptStatus)]).toEqual([true, 1]);
    write(REGISTER.InterruptACK, 1);
    expect([irq.level, read(REGISTER.InterruptStatus)]).toEqual([false, 0]);
  });

  it('completes chains offered before DRIVER_OK without another notification', () => {
    offerFlush();
    initialize(transport, [queue]);
    expect(queue.usedIdx).toBe(1);
  });

  it('tells of notifications before DRIVER_OK, of queues that are not there or not ready', () => {
    notify(transport, 0);
    initialize(transport, []);
    notify(transport, 0);
    notify(transport, 7);
    expect(mistakes).toEqual([
      'QueueNotify of queue 0 before DRIVER_OK',
      'QueueNotify of queue 0 while its QueueReady is 0',
      'QueueNotify of queue 7; the device has 1 queues',
    ]);
  });

  it('QueueReset returns a queue to its initial state if VIRTIO_F_RING_RESET was negotiated', () => {
    initialize(transport, [queue]);
    write(REGISTER.QueueReset, 1);
    expect(read(REGISTER.QueueReady)).toBe(1);
    initialize(transport, [queue], F.VERSION_1 | F.RING_RESET);
    write(REGISTER.QueueReset, 1);
    expect([read(REGISTER.QueueReady), read(REGISTER.QueueReset)]).toEqual([0, 0]);
    enableQueue(transport, new TestQueue(memory, 0, 16));
    expect(transport.queues[0]?.state.size).toBe(16);
  });
});

describe('virtio-mmio: DEVICE_NEEDS_RESET', () => {
  it('is set with a reason and a configuration change interrupt, and the device stands still until reset', () => {
    initialize(transport, [queue]);
    queue.offer(99);
    notify(transport, 0);
    expect(read(REGISTER.Status)).toBe(NEGOTIATED | STATUS.DRIVER_OK | STATUS.DEVICE_NEEDS_RESET);
    expect([irq.level, read(REGISTER.InterruptStatus)]).toEqual([true, 2]);
    expect(transport.negotiation.needsResetReason).toBe(
      'queue 0 (requestq): available ring entry 0 is 99, expected a descriptor index below 8',
    );
    offerFlush();
    notify(transport, 0);
    expect(queue.usedIdx).toBe(0);

    queue = new TestQueue(memory, 0, 8);
    memory.bytes.fill(0);
    initialize(transport, [queue]);
    offerFlush();
    notify(transport, 0);
    expect([queue.usedIdx, transport.negotiation.needsResetReason]).toEqual([1, '']);
  });

  it('is set for rings outside RAM when the queue is enabled', () => {
    initialize(transport, []);
    write(REGISTER.QueueReady, 1);
    expect(read(REGISTER.Status) & STATUS.DEVICE_NEEDS_RESET).toBe(STATUS.DEVICE_NEEDS_RESET);
    expect(transport.negotiation.needsResetReason).toMatch(/descriptor area .* is outside RAM/);
  });
});

describe('virtio-mmio: accesses', () => {
  it('registers take aligned accesses of four bytes, others read 0 and write nothing', () => {
    expect([transport.read(REGISTER.MagicValue, 1), transport.read(0x002, 4)]).toEqual([0, 0]);
    transport.write(REGISTER.Status, 1, 1);
    expect(read(REGISTER.Status)).toBe(0);
    expect(mistakes).toHaveLength(3);
  });

  it('the configuration space takes any width', () => {
    expect([transport.read(0x100, 1), transport.read(0x100, 2), read(0x100), read(0x104), read(0x1fc)]).toEqual([
      8, 8, 8, 0, 0,
    ]);
  });

  it('tells of reads of write-only and writes of read-only registers', () => {
    expect(read(REGISTER.QueueNotify)).toBe(0);
    write(REGISTER.MagicValue, 1);
    write(0x1c, 1);
    write(0x100, 1);
    expect(mistakes).toEqual([
      'read of the write-only register QueueNotify; it reads as 0',
      'write of 0x1 to MagicValue, which is read-only',
      'write of 0x1 to the reserved offset 0x01c, which is read-only',
      'write of 0x1 to offset 0x00 of the configuration space, which is read-only',
    ]);
  });

  it('peeks give what reads give and tell nothing', () => {
    initialize(transport, [queue]);
    const offsets = Array.from({ length: 0x80 }, (_, i) => 4 * i);
    const peeked = offsets.map((offset) => transport.peek(offset, 4));
    expect(mistakes).toEqual([]);
    expect(offsets.map(read)).toEqual(peeked);
  });
});
