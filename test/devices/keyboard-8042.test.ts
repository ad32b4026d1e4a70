import { beforeEach, describe, expect, it } from 'vitest';
import { Keyboard8042 } from '../../engine/devices/keyboard-8042.ts';
import { Wire } from './support.ts';

let irq1: Wire;
let log: string[];
let kbc: Keyboard8042;
const command = (...values: number[]) => {
  for (const value of values) kbc.writePort(0x64, 1, value);
};
const data = (...values: number[]) => {
  for (const value of values) kbc.writePort(0x60, 1, value);
};
/** Reads port 0x60 for as long as OBF is set. */
const answers = () => {
  const bytes: number[] = [];
  while (kbc.readPort(0x64) & 1) bytes.push(kbc.readPort(0x60));
  return bytes;
};

beforeEach(() => {
  irq1 = new Wire();
  log = [];
  kbc = new Keyboard8042({ irq1, setA20: (on) => log.push(`A20 ${on}`), reset: () => log.push('reset') });
});

describe('8042: controller commands', () => {
  for (const [name, bytes, answer] of [
    ['self test', [0xaa], [0x55]],
    ['keyboard interface test', [0xab], [0x00]],
    ['read command byte', [0x20], [0x65]],
    ['read input port', [0xc0], [0x80]],
    ['auxiliary interface test: there is none', [0xa9], []],
  ] as const) {
    it(`${name} gives ${JSON.stringify(answer)}`, () => {
      command(...bytes);
      expect(answers()).toEqual(answer);
    });
  }

  it('writes the command byte and RAM; the auxiliary channel stays disabled, as one that is not there', () => {
    command(0x60);
    data(0x45);
    command(0x20);
    expect(answers()).toEqual([0x65]);
    command(0x7f);
    data(0x5a);
    command(0x3f);
    expect(answers()).toEqual([0x5a]);
  });

  it('A20 by the output port and by 0xDD and 0xDF', () => {
    command(0xd1);
    data(0xdf);
    command(0xd0);
    expect(answers()).toEqual([0xcf]);
    command(0xdd, 0xdf);
    expect(log).toEqual(['A20 true', 'A20 false', 'A20 true']);
  });

  it('resets by 0xFE and by output port bit 0, and not by other pulses', () => {
    command(0xff);
    expect(log).toEqual([]);
    command(0xfe);
    command(0xd1);
    data(0x02);
    expect(log).toEqual(['reset', 'A20 true', 'reset']);
  });

  it('0xD2 puts a byte into the output buffer', () => {
    command(0xd2);
    data(0x77);
    expect([irq1.level, answers()]).toEqual([true, [0x77]]);
  });

  it('status bit 3 tells whether the last write was a command', () => {
    command(0xab);
    expect(kbc.peekPort(0x64)).toBe(0x1d);
    data(0xee);
    expect(kbc.peekPort(0x64)).toBe(0x15);
  });
});

describe('8042: keyboard', () => {
  for (const [name, bytes, answer] of [
    ['reset', [0xff], [0xfa, 0xaa]],
    ['echo', [0xee], [0xee]],
    ['identify, translated', [0xf2], [0xfa, 0xab, 0x41]],
    ['LEDs', [0xed, 0x07], [0xfa, 0xfa]],
    ['scan code set query, translated', [0xf0, 0x00], [0xfa, 0xfa, 0x41]],
    ['a scan code set that is not there', [0xf0, 0x09], [0xfa, 0xfe]],
    ['typematic rate', [0xf3, 0x20], [0xfa, 0xfa]],
    ['an unknown command', [0xe1], [0xfe]],
  ] as const) {
    it(`${name}: ${JSON.stringify(answer)}`, () => {
      data(...bytes);
      expect(answers()).toEqual(answer);
    });
  }

  it('translates set 2 to set 1: A pressed and released, an arrow with its prefix', () => {
    kbc.receive(Uint8Array.of(0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75));
    expect(answers()).toEqual([0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
  });

  it('passes set 2 while translation is off', () => {
    command(0x60);
    data(0x05);
    kbc.receive(Uint8Array.of(0x1c, 0xf0, 0x1c));
    expect(answers()).toEqual([0x1c, 0xf0, 0x1c]);
  });

  it('raises IRQ 1 for each byte anew', () => {
    kbc.receive(Uint8Array.of(0x1c, 0x32));
    expect([irq1.level, irq1.rises]).toEqual([true, 1]);
    kbc.readPort(0x60);
    expect([irq1.level, irq1.rises]).toEqual([true, 2]);
    kbc.readPort(0x60);
    expect(irq1.level).toBe(false);
  });

  it('peeks take nothing out; an empty buffer gives the last byte again', () => {
    kbc.receive(Uint8Array.of(0x1c));
    expect([kbc.peekPort(0x60), kbc.readPort(0x60), kbc.readPort(0x60), kbc.peekPort(0x64) & 1]).toEqual([
      0x1e, 0x1e, 0x1e, 0,
    ]);
  });

  it('holds keys while disabled at the controller, drops them while the keyboard does not scan', () => {
    command(0xad);
    kbc.receive(Uint8Array.of(0x1c));
    expect(answers()).toEqual([]);
    command(0xae);
    expect(answers()).toEqual([0x1e]);
    data(0xf5);
    answers();
    kbc.receive(Uint8Array.of(0x1c));
    expect(answers()).toEqual([]);
  });

  it('a guest that never reads cannot make the queues grow without end', () => {
    for (let i = 0; i < 20_000; i++) {
      command(0xaa);
      data(0xf2, 0xfe);
    }
    const { controllerQueue, keyboardQueue } = kbc.saveState();
    expect(Math.max(controllerQueue.length, keyboardQueue.length)).toBeLessThan(4200);
  });
});
