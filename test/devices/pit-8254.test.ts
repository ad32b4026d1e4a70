import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { PIT_HZ, Pit8254, pitTickNs, pitTicksAt } from '../../engine/devices/pit-8254.ts';
import { Port61 } from '../../engine/devices/port-61.ts';
import { TestClock, Wire } from './support.ts';

let clock: TestClock;
let irq0: Wire;
let pit: Pit8254;
let port61: Port61;
const out = (port: number, ...values: number[]) => {
  for (const value of values) pit.writePort(port, 1, value);
};
const inb = (port: number) => pit.readPort(port);
const toTick = (tick: number) => {
  clock.ns = pitTickNs(tick);
};
/** Latches and reads the count of counter 2. */
const count2 = () => {
  out(0x43, 0x80);
  return inb(0x42) | (inb(0x42) << 8);
};
/** 'H4' is OUT high with a count of 4. */
const sample2 = () => `${pit.output2() ? 'H' : 'L'}${count2().toString(16).toUpperCase()}`;

beforeEach(() => {
  clock = new TestClock();
  irq0 = new Wire();
  pit = new Pit8254({ clock: clock.now, irq0 });
  port61 = new Port61({
    clock: clock.now,
    setGate2: (level) => pit.setGate2(level),
    output2: () => pit.output2(),
  });
});

describe('8254: virtual time', () => {
  it('counts exactly 1193182 clocks a second, without drift', () => {
    expect(pitTicksAt(1e9)).toBe(PIT_HZ);
    expect(pitTicksAt(1e9 - 1)).toBe(PIT_HZ - 1);
    expect(pitTicksAt(100 * 86_400e9)).toBe(100 * 86_400 * PIT_HZ);
  });

  it('a tick has come at its nanosecond and not before (property)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 43 }), (tick) => {
        expect(pitTicksAt(pitTickNs(tick))).toBe(tick);
        expect(pitTicksAt(pitTickNs(tick) - 1)).toBe(tick - 1);
      }),
    );
  });
});

describe('8254: waveforms of the data sheet, OUT and count after each clock from the write or trigger on', () => {
  const rows = [
    { mode: 0, count: 4, wave: 'L4 L3 L2 L1 H0 HFFFF HFFFE' },
    { mode: 1, count: 3, wave: 'L3 L2 L1 H0 HFFFF HFFFE' },
    { mode: 2, count: 3, wave: 'H3 H2 L1 H3 H2 L1 H3' },
    { mode: 3, count: 4, wave: 'H4 H2 L4 L2 H4 H2 L4' },
    { mode: 3, count: 5, wave: 'H4 H2 H0 L4 L2 H4 H2 H0 L4' },
    { mode: 4, count: 3, wave: 'H3 H2 H1 L0 HFFFF HFFFE' },
    { mode: 5, count: 3, wave: 'H3 H2 H1 L0 HFFFF HFFFE' },
  ];
  for (const { mode, count, wave } of rows) {
    it(`mode ${mode}, count ${count}: ${wave}`, () => {
      const triggered = mode === 1 || mode === 5;
      pit.setGate2(!triggered);
      out(0x43, 0xb0 | (mode << 1));
      out(0x42, count, 0);
      pit.setGate2(true);
      const seen = wave.split(' ').map((_, i) => {
        toTick(i + 1);
        return sample2();
      });
      expect(seen.join(' ')).toBe(wave);
    });
  }

  it('modes 6 and 7 are modes 2 and 3', () => {
    out(0x43, 0xbc, 0xe8); // mode 6; read-back of the status of counter 2
    expect(inb(0x42) & 0x0e).toBe(0x04);
  });
});

describe('8254: gate, new counts', () => {
  it('mode 0: a low gate stops counting; the first byte of a new count stops it as well and drops OUT', () => {
    pit.setGate2(true);
    out(0x43, 0xb0);
    out(0x42, 5, 0);
    toTick(3);
    expect(sample2()).toBe('L3');
    pit.setGate2(false);
    toTick(10);
    expect(sample2()).toBe('L3');
    pit.setGate2(true);
    toTick(13);
    expect(sample2()).toBe('H0');
    out(0x42, 2);
    toTick(20);
    expect(pit.output2()).toBe(false);
    out(0x42, 0);
    toTick(23);
    expect(sample2()).toBe('H0');
  });

  it('mode 1: retriggers', () => {
    out(0x43, 0xb2);
    out(0x42, 4, 0);
    pit.setGate2(true);
    toTick(3);
    expect(sample2()).toBe('L2');
    pit.setGate2(false);
    pit.setGate2(true);
    toTick(4);
    expect(sample2()).toBe('L4');
  });

  it('mode 2: a low gate forces OUT high, its rise reloads; a new count waits for the end of the period', () => {
    pit.setGate2(true);
    out(0x43, 0xb4);
    out(0x42, 4, 0);
    toTick(4);
    expect(sample2()).toBe('L1');
    pit.setGate2(false);
    expect(pit.output2()).toBe(true);
    toTick(10);
    pit.setGate2(true);
    toTick(11);
    expect(sample2()).toBe('H4');
    out(0x42, 2, 0);
    const wave = [12, 13, 14, 15, 16, 17, 18].map((tick) => {
      toTick(tick);
      return sample2();
    });
    expect(wave.join(' ')).toBe('H3 H2 L1 H2 L1 H2 L1');
  });

  it('mode 3: a new count is taken over at the end of the half cycle', () => {
    pit.setGate2(true);
    out(0x43, 0xb6);
    out(0x42, 6, 0);
    toTick(1);
    out(0x42, 2, 0);
    const wave = [2, 3, 4, 5, 6, 7].map((tick) => {
      toTick(tick);
      return sample2();
    });
    expect(wave.join(' ')).toBe('H4 H2 L2 H2 L2 H2');
  });

  it('counts the same however time is cut (property, all modes, new counts and gates in between)', () => {
    const step = fc.record({
      ticks: fc.integer({ min: 0, max: 40 }),
      action: fc.constantFrom('none', 'gate up', 'gate down', 'count'),
      count: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 5 }), fc.array(step, { maxLength: 12 }), (mode, steps) => {
        const run = (single: boolean) => {
          const time = new TestClock();
          const device = new Pit8254({ clock: time.now, irq0: new Wire() });
          device.setGate2(true);
          device.writePort(0x43, 1, 0x90 | (mode << 1));
          device.writePort(0x42, 1, 7);
          let tick = 0;
          for (const { ticks, action, count } of steps) {
            for (let i = 0; i < ticks; i++) {
              tick++;
              time.ns = pitTickNs(tick);
              if (single) device.service(time.ns);
            }
            if (action === 'count') device.writePort(0x42, 1, count);
            else if (action !== 'none') device.setGate2(action === 'gate up');
          }
          return device.describe();
        };
        expect(run(false)).toEqual(run(true));
      }),
    );
  });
});

describe('8254: reading and writing', () => {
  it('reads both bytes in turn, latched ones from the time of the latch, and only the first latch counts', () => {
    out(0x43, 0x34);
    out(0x40, 0x00, 0x10);
    toTick(2);
    out(0x43, 0x00);
    toTick(300);
    out(0x43, 0x00);
    expect([inb(0x40), inb(0x40)]).toEqual([0xff, 0x0f]); // 0x1000 - 1
    expect([inb(0x40), inb(0x40)]).toEqual([0xd5, 0x0e]); // 0x1000 - 299
  });

  it('least and most significant byte only', () => {
    out(0x43, 0x14);
    out(0x40, 0x80);
    toTick(1);
    expect(inb(0x40)).toBe(0x80);
    out(0x43, 0x24);
    out(0x40, 0x02);
    toTick(2);
    expect(inb(0x40)).toBe(0x02);
    toTick(3);
    expect(inb(0x40)).toBe(0x01);
  });

  it('BCD: counts in decimal, 0 is 10000', () => {
    pit.setGate2(true);
    out(0x43, 0xb5);
    out(0x42, 0x00, 0x20);
    toTick(2);
    expect(count2()).toBe(0x1999);
    out(0x43, 0xb5);
    out(0x42, 0, 0);
    toTick(4);
    expect(count2()).toBe(0x9999);
  });

  it('a count of 0 is 65536', () => {
    out(0x43, 0x34);
    out(0x40, 0, 0);
    toTick(1);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(0);
    toTick(2);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(0xffff);
  });

  it('read-back: status first, then the count; OUT, NULL COUNT, RW, mode and BCD', () => {
    out(0x43, 0xb4); // counter 2: both bytes, mode 2
    out(0x43, 0xe8);
    expect(inb(0x42)).toBe(0x80 | 0x40 | 0x30 | 0x04);
    pit.setGate2(true);
    out(0x42, 9, 0);
    toTick(3);
    out(0x43, 0xc8); // status and count of counter 2
    toTick(100);
    expect([inb(0x42), inb(0x42), inb(0x42)]).toEqual([0x80 | 0x30 | 0x04, 7, 0]);
  });

  it('peeks take nothing out of a latch and do not flip the byte', () => {
    out(0x43, 0x34);
    out(0x40, 0x34, 0x12);
    toTick(1);
    out(0x43, 0x00);
    expect([pit.peekPort(0x40), pit.peekPort(0x40), inb(0x40), pit.peekPort(0x40), inb(0x40)]).toEqual([
      0x34, 0x34, 0x34, 0x12, 0x12,
    ]);
  });
});

describe('8254: interrupts', () => {
  /** Services every deadline up to a tick. */
  const runTo = (tick: number) => {
    const end = pitTickNs(tick);
    for (let due = pit.deadlineNs(); due !== undefined && due <= end; due = pit.deadlineNs()) {
      expect(due).toBeGreaterThan(clock.ns);
      clock.ns = due;
      pit.service(due);
    }
    clock.ns = end;
  };

  it('IRQ 0 rises once a period in mode 2, at exact ticks', () => {
    out(0x43, 0x34);
    out(0x40, 100, 0);
    runTo(1 + 99);
    expect(irq0.level).toBe(false); // the low clock of the period
    runTo(1 + 100);
    expect([irq0.level, irq0.rises]).toEqual([true, 2]); // OUT is high from power-on
    runTo(1 + 10_000);
    expect(irq0.rises).toBe(101);
  });

  it('IRQ 0 rises once a period in mode 3', () => {
    out(0x43, 0x36);
    out(0x40, 0xa9, 0x04); // 1193, about 1 kHz
    const before = irq0.rises;
    runTo(1 + 1193 * 1000);
    expect(irq0.rises - before).toBe(1000);
  });

  it('IRQ 0 rises once in mode 0, and there is no deadline after it', () => {
    out(0x43, 0x30);
    out(0x40, 50, 0);
    expect(irq0.level).toBe(false);
    runTo(50);
    expect(irq0.level).toBe(false);
    runTo(51);
    expect([irq0.level, irq0.rises]).toEqual([true, 2]); // OUT is high from power-on to the control word
    expect(pit.deadlineNs()).toBeUndefined();
  });

  it('a service that is late makes one edge of all it missed', () => {
    out(0x43, 0x34);
    out(0x40, 100, 0);
    const before = irq0.rises;
    toTick(1 + 1000);
    pit.service(clock.ns);
    expect([irq0.level, irq0.rises - before]).toEqual([true, 1]);
  });

  it('has no deadline while nothing is programmed', () => {
    expect(pit.deadlineNs()).toBeUndefined();
  });
});

describe('port 0x61', () => {
  it('gates counter 2 and shows its OUT', () => {
    out(0x43, 0xb0);
    out(0x42, 10, 0);
    toTick(50);
    expect(port61.peekPort(0x61) & 0x20).toBe(0);
    port61.writePort(0x61, 1, 0x01);
    toTick(61);
    expect(port61.readPort(0x61) & 0x21).toBe(0x21);
  });

  it('toggles the refresh bit every 18 clocks, about 15 µs', () => {
    const bits = [0, 17, 18, 35, 36].map((tick) => {
      toTick(tick);
      return (port61.readPort(0x61) >> 4) & 1;
    });
    expect(bits).toEqual([0, 0, 1, 1, 0]);
  });

  it('keeps bits 0 to 3 as written', () => {
    port61.writePort(0x61, 1, 0xff);
    expect(port61.readPort(0x61) & 0xcf).toBe(0x0f);
  });
});
