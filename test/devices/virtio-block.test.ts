import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { type BlockBackend, MemoryBlockBackend } from '../../engine/devices/virtio/block-backend.ts';
import { VirtioBlock } from '../../engine/devices/virtio/virtio-block.ts';
import { VirtioMmio } from '../../engine/devices/virtio/virtio-mmio.ts';
import {
  F,
  type GuestBuffer,
  initialize,
  notify,
  RAM_BASE,
  sameBytes,
  TestClock,
  TestMemory,
  TestQueue,
  Wire,
} from './support.ts';

const [IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES] = [0, 1, 4, 8, 11, 13] as const;
const [OK, IOERR, UNSUPP] = [0, 1, 2] as const;
const HEADER = RAM_BASE + 0x2_0000;
const STATUS_BYTE = HEADER + 0x100;
const DATA = HEADER + 0x1000;
const SECTORS = 16;

let memory: TestMemory;
let irq: Wire;
let backend: BlockBackend;
let transport: VirtioMmio;
let queue: TestQueue;

function start(disk: BlockBackend, features = F.VERSION_1) {
  backend = disk;
  transport = new VirtioMmio('virtio-block@0', new VirtioBlock(backend, 'disk-0'), {
    clock: new TestClock().now,
    memory,
    irq,
  });
  initialize(transport, [queue], features);
}

function header(type: number, sector: number) {
  memory.view(HEADER).setUint32(0, type, true);
  memory.view(HEADER).setBigUint64(8, BigInt(sector), true);
}

/** Sends a request and returns its status and the length in the used ring. */
function request(type: number, sector: number, ...data: GuestBuffer[]) {
  header(type, sector);
  memory.view(STATUS_BYTE).setUint8(0, 0xee);
  const slot = queue.usedIdx % queue.size;
  queue.offerBuffers({ gpa: HEADER, length: 16 }, ...data, { gpa: STATUS_BYTE, length: 1, writable: true });
  notify(transport, 0);
  return { status: memory.view(STATUS_BYTE).getUint8(0), used: queue.usedEntry(slot).len };
}

const image = () => Uint8Array.from({ length: SECTORS * 512 }, (_, i) => Math.floor(i / 512) + 1);
const needsReset = () => transport.negotiation.needsResetReason;

beforeEach(() => {
  memory = new TestMemory();
  irq = new Wire();
  queue = new TestQueue(memory, 0);
  start(new MemoryBlockBackend(image()));
});

describe('virtio-block: requests', () => {
  it('IN reads sectors into the buffers of the driver', () => {
    const answer = request(
      IN,
      2,
      { gpa: DATA, length: 512, writable: true },
      { gpa: DATA + 0x800, length: 1024, writable: true },
    );
    expect(answer).toEqual({ status: OK, used: 1537 });
    expect([DATA, DATA + 0x800, DATA + 0xa00].map((gpa) => memory.view(gpa).getUint8(511))).toEqual([3, 4, 5]);
    expect(irq.level).toBe(true);
  });

  it('OUT writes sectors, FLUSH is done', () => {
    memory.write(DATA, new Uint8Array(1024).fill(0x77));
    expect(request(OUT, 15 - 1, { gpa: DATA, length: 1024 })).toEqual({ status: OK, used: 1 });
    expect(backend.read(14, 2)).toEqual(new Uint8Array(1024).fill(0x77));
    expect(request(FLUSH, 0)).toEqual({ status: OK, used: 1 });
  });

  it('GET_ID gives 20 bytes', () => {
    expect(request(GET_ID, 0, { gpa: DATA, length: 20, writable: true })).toEqual({ status: OK, used: 21 });
    expect(memory.text(DATA, 20)).toBe(`disk-0${'\0'.repeat(14)}`);
  });

  const range = (at: number, sector: number, sectors: number, flags: number) => {
    const view = memory.view(DATA + 16 * at);
    view.setBigUint64(0, BigInt(sector), true);
    view.setUint32(8, sectors, true);
    view.setUint32(12, flags, true);
  };

  it('DISCARD and WRITE_ZEROES make ranges read as zeros', () => {
    range(0, 0, 2, 0);
    range(1, 5, 1, 0);
    expect(request(DISCARD, 0, { gpa: DATA, length: 32 }).status).toBe(OK);
    range(0, 9, 1, 1);
    expect(request(WRITE_ZEROES, 0, { gpa: DATA, length: 16 }).status).toBe(OK);
    const zero = Array.from({ length: SECTORS }, (_, sector) => backend.read(sector, 1)[0] === 0);
    expect(zero.flatMap((is, sector) => (is ? [sector] : []))).toEqual([0, 1, 5, 9]);
  });

  it('DISCARD with unmap and unknown flags are unsupported; ranges beyond the disk or of odd length fail', () => {
    range(0, 0, 1, 1);
    expect(request(DISCARD, 0, { gpa: DATA, length: 16 }).status).toBe(UNSUPP);
    range(0, 0, 1, 2);
    expect(request(WRITE_ZEROES, 0, { gpa: DATA, length: 16 }).status).toBe(UNSUPP);
    range(0, 15, 2, 0);
    expect(request(WRITE_ZEROES, 0, { gpa: DATA, length: 16 }).status).toBe(IOERR);
    expect(request(WRITE_ZEROES, 0, { gpa: DATA, length: 15 }).status).toBe(IOERR);
  });

  it('an unknown type is unsupported', () => {
    expect(request(99, 0)).toEqual({ status: UNSUPP, used: 1 });
  });

  it('takes header, data and status in whatever pieces the driver cuts them', () => {
    header(IN, 1);
    queue.offerBuffers(
      { gpa: HEADER, length: 5 },
      { gpa: HEADER + 5, length: 11 },
      { gpa: DATA, length: 100, writable: true },
      { gpa: DATA + 100, length: 413, writable: true },
    );
    notify(transport, 0);
    expect(memory.peek(DATA, 513)).toEqual(Uint8Array.from([...new Uint8Array(512).fill(2), OK]));
    expect(queue.usedEntry(0).len).toBe(513);
  });

  it('takes a request in an indirect table', () => {
    start(new MemoryBlockBackend(image()), F.VERSION_1 | F.INDIRECT);
    header(IN, 3);
    const table = HEADER + 0x200;
    queue.descriptor(0, HEADER, 16, 1, 1, table);
    queue.descriptor(1, DATA, 512, 3, 2, table);
    queue.descriptor(2, STATUS_BYTE, 1, 2, 0, table);
    queue.descriptor(5, table, 48, 4);
    queue.offer(5);
    notify(transport, 0);
    expect([memory.view(DATA).getUint8(0), queue.usedEntry(0)]).toEqual([4, { id: 5, len: 513 }]);
  });
});

describe('virtio-block: what fails', () => {
  it('IN and OUT beyond the capacity, or of a part of a sector', () => {
    expect(request(IN, 16, { gpa: DATA, length: 512, writable: true })).toEqual({ status: IOERR, used: 1 });
    expect(request(IN, 2 ** 52, { gpa: DATA, length: 512, writable: true }).status).toBe(IOERR);
    expect(request(OUT, 15, { gpa: DATA, length: 1024 }).status).toBe(IOERR);
    expect(request(IN, 0, { gpa: DATA, length: 511, writable: true }).status).toBe(IOERR);
    expect(backend.read(15, 1)[0]).toBe(16);
  });

  it('writing to a read-only disk, which says so by VIRTIO_BLK_F_RO', () => {
    start(new MemoryBlockBackend(image(), { readOnly: true }));
    expect(request(OUT, 0, { gpa: DATA, length: 512 }).status).toBe(IOERR);
    expect(transport.negotiation.deviceFeatures[0] & (1 << 5)).not.toBe(0);
    expect(backend.read(0, 1)[0]).toBe(1);
  });

  it('a header that is too short', () => {
    queue.offerBuffers({ gpa: HEADER, length: 15 }, { gpa: STATUS_BYTE, length: 1, writable: true });
    notify(transport, 0);
    expect(needsReset()).toMatch(/expected a device-readable header of 16 bytes, found 15/);
  });

  it('no byte for the status', () => {
    queue.offerBuffers({ gpa: HEADER, length: 16 });
    notify(transport, 0);
    expect(needsReset()).toMatch(/no device-writable byte for its status/);
  });
});

describe('virtio-block: configuration', () => {
  it('capacity in sectors, seg_max, blk_size', () => {
    expect([0x100, 0x104, 0x10c, 0x114].map((offset) => transport.read(offset, 4))).toEqual([SECTORS, 0, 126, 512]);
  });
});

describe('virtio-block: work is bounded', () => {
  it('a notification of more than 32 MiB is finished by later services', () => {
    const disk: BlockBackend = {
      capacitySectors: 2 ** 30,
      readOnly: false,
      read: (_, sectors) => new Uint8Array(sectors * 512).fill(9),
      write: () => undefined,
      saveState: () => null,
      restoreState: () => undefined,
    };
    queue = new TestQueue(memory, 0, 64);
    start(disk, F.VERSION_1 | F.INDIRECT);
    header(IN, 0);
    // Each request reads 61 times into the same 60 KiB: 3.6 MiB.
    const table = HEADER + 0x200;
    queue.descriptor(0, HEADER, 16, 1, 1, table);
    for (let i = 1; i <= 61; i++) queue.descriptor(i, RAM_BASE + 0x3_0000, 0xf000, 3, i + 1, table);
    queue.descriptor(62, STATUS_BYTE, 1, 2, 0, table);
    for (let i = 0; i < 20; i++) {
      queue.descriptor(i, table, 63 * 16, 4);
      queue.offer(i);
    }
    notify(transport, 0);
    const first = queue.usedIdx;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(20);
    let services = 0;
    while (transport.deadlineNs() !== undefined && services++ < 20) transport.service(0);
    expect([queue.usedIdx, needsReset()]).toEqual([20, '']);
  });
});

describe('MemoryBlockBackend', () => {
  it('reads what was written last, and a restored state brings back what was there (property)', () => {
    const write = fc.record({
      sector: fc.integer({ min: 0, max: 30 }),
      count: fc.integer({ min: 1, max: 20 }),
      fill: fc.integer({ min: 0, max: 255 }),
    });
    fc.assert(
      fc.property(fc.array(write), fc.array(write), (before, after) => {
        const start = Uint8Array.from({ length: 50 * 512 - 100 }, (_, i) => i & 0xff);
        const disk = new MemoryBlockBackend(start);
        const model = new Uint8Array(50 * 512);
        model.set(start);
        const apply = ({ sector, count, fill }: { sector: number; count: number; fill: number }) => {
          disk.write(sector, new Uint8Array(count * 512).fill(fill));
          model.fill(fill, sector * 512, (sector + count) * 512);
        };
        before.forEach(apply);
        const saved = disk.saveState();
        const kept = model.slice();
        after.forEach(apply);
        expect(sameBytes(disk.read(0, 50), model)).toBe(true);
        disk.restoreState(saved);
        expect(sameBytes(disk.read(0, 50), kept)).toBe(true);
        expect(sameBytes(disk.read(7, 13), kept.subarray(7 * 512, 20 * 512))).toBe(true);
      }),
    );
  });
});
