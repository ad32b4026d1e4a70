import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { civilTime, unixSeconds } from '../../engine/devices/calendar.ts';
import { CmosRtc } from '../../engine/devices/cmos-rtc.ts';
import { TestClock, Wire } from './support.ts';

const SECOND = 1e9;
/** Tuesday, 2021-08-17 23:59:58. */
const EPOCH = Date.UTC(2021, 7, 17, 23, 59, 58) / 1000;

let clock: TestClock;
let irq8: Wire;
let rtc: CmosRtc;
const read = (index: number) => {
  rtc.writePort(0x70, 1, index);
  return rtc.readPort(0x71);
};
const write = (index: number, value: number) => {
  rtc.writePort(0x70, 1, index);
  rtc.writePort(0x71, 1, value);
};
const time = () => [9, 8, 7, 6, 4, 2, 0].map((index) => read(index).toString(16).padStart(2, '0')).join(' ');
const make = (memoryBytes = 128 * 2 ** 20) => {
  rtc = new CmosRtc({ clock: clock.now, irq8 }, { epochSeconds: EPOCH, memoryBytes });
};

beforeEach(() => {
  clock = new TestClock();
  irq8 = new Wire();
  make();
});

describe('calendar', () => {
  it('agrees with the host on every day there is (property)', () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_000_000_000, max: 250_000_000_000 }), (seconds) => {
        const date = new Date(seconds * 1000);
        const t = civilTime(seconds);
        expect([t.year, t.month, t.day, t.hour, t.minute, t.second, t.weekday]).toEqual([
          date.getUTCFullYear(),
          date.getUTCMonth() + 1,
          date.getUTCDate(),
          date.getUTCHours(),
          date.getUTCMinutes(),
          date.getUTCSeconds(),
          date.getUTCDay(),
        ]);
        expect(unixSeconds(t)).toBe(seconds);
      }),
    );
  });
});

describe('MC146818: time', () => {
  it('shows the epoch in BCD and 24 hours, Sunday being 1, and the century at 0x32', () => {
    expect(time()).toBe('21 08 17 03 23 59 58');
    expect(read(0x32)).toBe(0x20);
  });

  it('goes on with virtual time', () => {
    clock.ns = 2 * SECOND - 1;
    expect(time()).toBe('21 08 17 03 23 59 59');
    clock.ns = 2 * SECOND;
    expect(time()).toBe('21 08 18 04 00 00 00');
  });

  it('shows binary and 12 hours as register B says', () => {
    write(0x0b, 0x04);
    expect(time()).toBe('15 08 11 03 8b 3b 3a'); // 11 p.m.
    write(0x0b, 0x00);
    expect(read(4)).toBe(0x91);
    clock.ns = 2 * SECOND;
    expect(read(4)).toBe(0x12); // midnight is 12 a.m.
  });

  it('is set under SET, and goes on from there', () => {
    write(0x0b, 0x82);
    for (const [index, value] of [
      [9, 0x99],
      [8, 0x12],
      [7, 0x31],
      [4, 0x23],
      [2, 0x59],
      [0, 0x59],
      [0x32, 0x19],
    ] as const)
      write(index, value);
    clock.ns = 10 * SECOND;
    expect(read(0)).toBe(0x59); // held
    write(0x0b, 0x02);
    clock.ns = 11 * SECOND;
    expect([time(), read(0x32)]).toEqual(['00 01 01 07 00 00 00', 0x20]);
  });

  it('UIP is set in the last 244 µs of a second', () => {
    clock.ns = SECOND - 244_001;
    expect(read(0x0a)).toBe(0x26);
    clock.ns = SECOND - 244_000;
    expect(read(0x0a)).toBe(0xa6);
    clock.ns = SECOND;
    expect(read(0x0a)).toBe(0x26);
  });
});

describe('MC146818: interrupts', () => {
  it('periodic: rate 6 is 1024 Hz; the flag holds the line until register C is read', () => {
    write(0x0b, 0x42);
    expect(rtc.deadlineNs()).toBe(Math.ceil(1e9 / 1024));
    let rises = 0;
    for (let due = rtc.deadlineNs(); due !== undefined && due <= SECOND; due = rtc.deadlineNs()) {
      clock.ns = due;
      rtc.service(due);
      expect(irq8.level).toBe(true);
      expect(read(0x0c) & 0xc0).toBe(0xc0);
      expect(irq8.level).toBe(false);
      rises++;
    }
    expect(rises).toBe(1024);
  });

  it('update-ended: once a second', () => {
    write(0x0b, 0x12);
    expect(rtc.deadlineNs()).toBe(SECOND);
    clock.ns = SECOND;
    rtc.service(clock.ns);
    expect([irq8.level, read(0x0c) & 0x90, irq8.level]).toEqual([true, 0x90, false]);
  });

  it('alarm: at its second, and with "don\'t care" hours every hour', () => {
    write(1, 0x01);
    write(3, 0x00);
    write(5, 0xff);
    write(0x0b, 0x22);
    const hits: number[] = [];
    for (let second = 1; second <= 3700; second++) {
      clock.ns = second * SECOND;
      rtc.service(clock.ns);
      if (read(0x0c) & 0x20) hits.push(second);
    }
    expect(hits).toEqual([3, 3603]);
  });

  it('flags are set without being enabled, and then raise nothing', () => {
    clock.ns = SECOND;
    expect([read(0x0c), irq8.level]).toEqual([0x50, false]);
    expect(read(0x0c)).toBe(0);
  });

  it('peeking at register C does not clear it', () => {
    clock.ns = SECOND;
    rtc.writePort(0x70, 1, 0x0c);
    expect([rtc.peekPort(0x71), rtc.peekPort(0x71), rtc.readPort(0x71)]).toEqual([0x50, 0x50, 0x50]);
  });

  it('has no deadline while nothing is enabled', () => {
    expect(rtc.deadlineNs()).toBeUndefined();
  });
});

describe('CMOS memory', () => {
  it('keeps bytes; D says that the battery is good; the index is write-only with the NMI mask', () => {
    write(0x40, 0xa5);
    expect([read(0x40), read(0x0d), rtc.readPort(0x70), rtc.nmiMasked]).toEqual([0xa5, 0x80, 0xff, false]);
    expect(read(0x80 | 0x40)).toBe(0xa5);
    expect(rtc.nmiMasked).toBe(true);
  });

  for (const [mib, extended, above16] of [
    [1, 0, 0],
    [8, 7 * 1024, 0],
    [128, 0xffff, 112 * 16],
  ] as const) {
    it(`tells ${mib} MiB`, () => {
      make(mib * 2 ** 20);
      const word = (at: number) => read(at) | (read(at + 1) << 8);
      expect([word(0x15), word(0x17), word(0x30), word(0x34)]).toEqual([640, extended, extended, above16]);
    });
  }
});
