import { beforeEach, describe, expect, it } from 'vitest';
import type { DescriptorChain } from '../../engine/devices/virtio/descriptor-chain.ts';
import { Virtqueue } from '../../engine/devices/virtio/virtqueue.ts';
import { RAM_BASE, TestMemory, TestQueue } from './support.ts';

const [NEXT, WRITE, INDIRECT] = [1, 2, 4];
const DATA = RAM_BASE + 0x2_0000;

let memory: TestMemory;
let driver: TestQueue;
let queue: Virtqueue;

function enable(features = { eventIndex: false, indirect: false }) {
  queue.state.size = driver.size;
  queue.state.descriptorArea = driver.table;
  queue.state.driverArea = driver.avail;
  queue.state.deviceArea = driver.used;
  queue.enable(features);
}

const take = () => {
  const chain = queue.take();
  if (!chain) throw new Error('expected a chain');
  return chain;
};

beforeEach(() => {
  memory = new TestMemory();
  driver = new TestQueue(memory, 0, 4);
  queue = new Virtqueue({ index: 0, name: 'testq', maxSize: 16, maxChainBytes: 0x1_0000 }, memory);
});

describe('split virtqueue: chains', () => {
  it('gives the buffers of a chain in order, readable ones apart from writable ones', () => {
    enable();
    driver.offerBuffers(
      { gpa: DATA, length: 16 },
      { gpa: DATA + 16, length: 4 },
      { gpa: DATA + 32, length: 8, writable: true },
    );
    expect(take()).toEqual({
      head: 0,
      readable: [
        { gpa: DATA, lengthBytes: 16 },
        { gpa: DATA + 16, lengthBytes: 4 },
      ],
      writable: [{ gpa: DATA + 32, lengthBytes: 8 }],
    } satisfies DescriptorChain);
    expect(queue.take()).toBeUndefined();
  });

  it('follows an indirect table, alone and after direct descriptors', () => {
    enable({ eventIndex: false, indirect: true });
    const table = DATA + 0x1000;
    driver.descriptor(0, DATA, 16, NEXT, 1);
    driver.descriptor(1, table, 32, INDIRECT);
    driver.descriptor(0, DATA + 0x100, 8, NEXT, 1, table);
    driver.descriptor(1, DATA + 0x200, 1, WRITE, 0, table);
    driver.offer(0);
    const chain = take();
    expect(chain.readable).toEqual([
      { gpa: DATA, lengthBytes: 16 },
      { gpa: DATA + 0x100, lengthBytes: 8 },
    ]);
    expect(chain.writable).toEqual([{ gpa: DATA + 0x200, lengthBytes: 1 }]);
  });

  it('returns chains with their length, and wraps ring slots at the size and indices at 2^16', () => {
    enable();
    for (let round = 0; round < 0x1_0002; round++) {
      driver.descriptor(round % 4, DATA, 4, WRITE);
      driver.offer(round % 4);
      queue.giveBack(take(), round & 0xff);
    }
    expect([queue.state.nextAvailable, queue.state.nextUsed, driver.usedIdx]).toEqual([2, 2, 2]);
    expect(driver.usedEntry(1)).toEqual({ id: 1, len: 1 });
  });

  it('takes as many chains as there are entries, and gives them back in another order', () => {
    enable();
    for (let i = 0; i < 4; i++) driver.offerBuffers({ gpa: DATA + i, length: 1 });
    const chains = [take(), take(), take(), take()].reverse();
    expect(queue.state.taken).toEqual([0, 1, 2, 3]);
    for (const chain of chains) queue.giveBack(chain, 0);
    expect([0, 1, 2, 3].map((slot) => driver.usedEntry(slot).id)).toEqual([3, 2, 1, 0]);
    expect(queue.state.taken).toEqual([]);
  });
});

describe('split virtqueue: hostile drivers', () => {
  const cases: readonly { what: string; make: () => void; says: RegExp; indirect?: boolean }[] = [
    {
      what: 'a descriptor that is its own successor',
      make: () => driver.descriptor(0, DATA, 4, NEXT, 0),
      says: /begins at descriptor 0 is a loop or longer than the queue size, 4/,
    },
    {
      what: 'a loop of two descriptors',
      make: () => {
        driver.descriptor(0, DATA, 4, NEXT, 1);
        driver.descriptor(1, DATA, 4, NEXT, 0);
      },
      says: /is a loop/,
    },
    {
      what: 'a next index beyond the table',
      make: () => driver.descriptor(0, DATA, 4, NEXT, 4),
      says: /descriptor 4 is outside its table: expected an index below 4/,
    },
    {
      what: 'a buffer outside RAM',
      make: () => driver.descriptor(0, 0xfeb0_0000, 4, 0),
      says: /descriptor 0: the buffer of 4 bytes at guest-physical 0xfeb00000 is outside RAM/,
    },
    {
      what: 'a buffer that runs over the end of RAM',
      make: () => driver.descriptor(0, RAM_BASE + memory.bytes.length - 2, 4, 0),
      says: /is outside RAM/,
    },
    {
      what: 'a buffer whose end wraps around 2^64',
      make: () => {
        driver.descriptor(0, 0, 0xffff_ffff, 0);
        memory.view(driver.table).setBigUint64(0, 0xffff_ffff_ffff_fff0n, true);
      },
      says: /is outside RAM/,
    },
    {
      what: 'a buffer of zero bytes',
      make: () => driver.descriptor(0, DATA, 0, 0),
      says: /descriptor 0 describes a buffer of zero bytes/,
    },
    {
      what: 'a readable buffer after a writable one',
      make: () => {
        driver.descriptor(0, DATA, 4, NEXT | WRITE, 1);
        driver.descriptor(1, DATA, 4, 0);
      },
      says: /descriptor 1 is device-readable but follows a device-writable one/,
    },
    {
      what: 'more bytes than the device takes',
      make: () => driver.descriptor(0, DATA, 0x1_0001, 0),
      says: /more than the 65536 bytes that this device takes/,
    },
    {
      what: 'an unknown flag',
      make: () => driver.descriptor(0, DATA, 4, 0x80),
      says: /descriptor 0 has unknown flags: bit 7/,
    },
    {
      what: 'an indirect descriptor that was not negotiated',
      make: () => driver.descriptor(0, DATA, 16, INDIRECT),
      says: /VIRTIO_F_INDIRECT_DESC was not negotiated/,
    },
    {
      what: 'an indirect table within an indirect table',
      make: () => {
        driver.descriptor(0, DATA, 16, INDIRECT);
        driver.descriptor(0, DATA, 16, INDIRECT, 0, DATA);
      },
      says: /indirect descriptor 0 is indirect within an indirect table/,
      indirect: true,
    },
    {
      what: 'INDIRECT together with NEXT',
      make: () => driver.descriptor(0, DATA, 16, INDIRECT | NEXT, 1),
      says: /both VIRTQ_DESC_F_INDIRECT and VIRTQ_DESC_F_NEXT/,
      indirect: true,
    },
    {
      what: 'an indirect table of a broken length',
      make: () => driver.descriptor(0, DATA, 24, INDIRECT),
      says: /a multiple of 16 bytes, found 24/,
      indirect: true,
    },
    {
      what: 'an indirect table outside RAM',
      make: () => driver.descriptor(0, 0x10, 16, INDIRECT),
      says: /indirect descriptor 0 at guest-physical 0x10 is outside RAM/,
      indirect: true,
    },
    {
      what: 'a loop within an indirect table',
      make: () => {
        driver.descriptor(0, DATA, 16, INDIRECT);
        driver.descriptor(0, DATA + 0x100, 4, NEXT, 0, DATA);
      },
      says: /is a loop/,
      indirect: true,
    },
  ];
  for (const { what, make, says, indirect } of cases) {
    it(`${what} is refused`, () => {
      enable({ eventIndex: false, indirect: indirect ?? false });
      make();
      driver.offer(0);
      expect(() => queue.take()).toThrow(says);
    });
  }

  it('a head beyond the table is refused', () => {
    enable();
    driver.offer(0xffff);
    expect(() => queue.take()).toThrow(/entry 0 is 65535, expected a descriptor index below 4/);
  });

  it('an available index that is too far ahead is refused', () => {
    enable();
    memory.view(driver.avail).setUint16(2, 5, true);
    expect(() => queue.take()).toThrow(/idx is 5 entries ahead, expected at most the queue size, 4/);
  });

  it('a descriptor that is offered again while the device has it is refused', () => {
    enable();
    driver.descriptor(0, DATA, 4, 0);
    driver.offer(0);
    driver.offer(0);
    take();
    expect(() => queue.take()).toThrow(/descriptor 0 was made available while the device still has it/);
  });

  it('areas that are misaligned or outside RAM are refused', () => {
    driver = new TestQueue(memory, 0, 4);
    queue.state.descriptorArea = 8;
    expect(() => queue.enable({ eventIndex: false, indirect: false })).toThrow(
      /descriptor area aligned to 16 bytes, found 0x8/,
    );
    queue.state.descriptorArea = 0x10;
    expect(() => queue.enable({ eventIndex: false, indirect: false })).toThrow(
      /descriptor area of 256 bytes .* outside RAM/,
    );
    expect(queue.state.ready).toBe(false);
  });
});

describe('split virtqueue: notification suppression', () => {
  const complete = (count: number) => {
    for (let i = 0; i < count; i++) {
      driver.offerBuffers({ gpa: DATA, length: 1 });
      queue.giveBack(take(), 0);
    }
  };

  it('by flag: VIRTQ_AVAIL_F_NO_INTERRUPT', () => {
    enable();
    expect(queue.wantsInterrupt()).toBe(false); // nothing was returned
    complete(1);
    expect([queue.wantsInterrupt(), queue.wantsInterrupt()]).toEqual([true, false]);
    driver.setAvailFlags(1);
    complete(1);
    expect(queue.wantsInterrupt()).toBe(false);
  });

  it('by used_event: when the used index passes it within the batch', () => {
    enable({ eventIndex: true, indirect: false });
    const answers = [
      { usedEvent: 0, batch: 1, interrupt: true }, // 0 → 1 passes 0
      { usedEvent: 3, batch: 2, interrupt: false }, // 1 → 3
      { usedEvent: 3, batch: 1, interrupt: true }, // 3 → 4 passes 3
      { usedEvent: 6, batch: 4, interrupt: true }, // 4 → 8 passes 6
      { usedEvent: 6, batch: 1, interrupt: false }, // already behind
    ];
    for (const { usedEvent, batch, interrupt } of answers) {
      driver.setUsedEvent(usedEvent);
      complete(batch);
      expect(queue.wantsInterrupt()).toBe(interrupt);
    }
  });

  it('by used_event across the wrap of 2^16', () => {
    enable({ eventIndex: true, indirect: false });
    driver.setUsedEvent(0xffff);
    complete(0xffff);
    expect(queue.wantsInterrupt()).toBe(false);
    complete(1);
    expect([queue.state.nextUsed, queue.wantsInterrupt()]).toEqual([0, true]);
  });

  it('asks through avail_event for a notification of the next chain', () => {
    enable({ eventIndex: true, indirect: false });
    complete(3);
    expect(driver.availEvent).toBe(3);
  });
});
