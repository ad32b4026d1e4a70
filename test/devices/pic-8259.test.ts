import { beforeEach, describe, expect, it } from 'vitest';
import { Pic8259 } from '../../engine/devices/pic-8259.ts';
import { Wire } from './support.ts';

let pic: Pic8259;
let intr: Wire;
const out = (port: number, ...values: number[]) => {
  for (const value of values) pic.writePort(port, 1, value);
};
const inb = (port: number) => pic.readPort(port);
const raise = (...irqs: number[]) => {
  for (const irq of irqs) pic.line(irq).set(true);
};
const lower = (...irqs: number[]) => {
  for (const irq of irqs) pic.line(irq).set(false);
};
/** Acknowledges until nothing is pending. */
const drain = () => {
  const vectors: number[] = [];
  while (pic.pendingVector()) vectors.push(pic.acknowledge());
  return vectors;
};

/** The usual remapping of a PC kernel: vectors 0x20 and 0x28; `icw4` 0x01 is 8086 mode. */
function initialize(icw4 = 0x01, slaveIcw4 = icw4 & ~0x10) {
  out(0x20, 0x11);
  out(0x21, 0x20, 0x04, icw4);
  out(0xa0, 0x11);
  out(0xa1, 0x28, 0x02, slaveIcw4);
}

beforeEach(() => {
  intr = new Wire();
  pic = new Pic8259(intr);
  initialize();
});

describe('8259A: requests', () => {
  it('raises INTR and gives the vector of the input', () => {
    raise(1);
    expect(intr.level).toBe(true);
    expect(pic.acknowledge()).toBe(0x21);
    expect(intr.level).toBe(false);
  });

  it('gives the vectors of the slave through the cascade, both in service', () => {
    raise(12);
    expect(pic.acknowledge()).toBe(0x2c);
    out(0x20, 0x0b); // OCW3: read ISR
    out(0xa0, 0x0b);
    expect([inb(0x20), inb(0xa0)]).toEqual([0x04, 0x10]);
  });

  it('gives nothing before initialization is complete', () => {
    const fresh = new Pic8259();
    fresh.line(0).set(true);
    expect(fresh.pendingVector()).toBe(false);
  });

  it('holds requests back by the mask and lets them through when it goes', () => {
    out(0x21, 0x02);
    raise(1);
    expect(pic.pendingVector()).toBe(false);
    expect(inb(0x20)).toBe(0x02); // IRR shows it
    out(0x21, 0x00);
    expect(pic.pendingVector()).toBe(true);
  });

  it('serves by priority and nests: a higher one interrupts, a lower one waits for EOI', () => {
    raise(3);
    expect(drain()).toEqual([0x23]);
    raise(5, 1);
    expect(drain()).toEqual([0x21]);
    out(0x20, 0x20);
    expect(pic.pendingVector()).toBe(false); // 3 is still in service
    out(0x20, 0x20);
    expect(drain()).toEqual([0x25]);
  });

  it('asks once for an edge, and anew after the line fell', () => {
    raise(4);
    expect(drain()).toEqual([0x24]);
    out(0x20, 0x20);
    raise(4);
    expect(pic.pendingVector()).toBe(false);
    lower(4);
    raise(4);
    expect(drain()).toEqual([0x24]);
  });

  it('asks for as long as a level-triggered line is high', () => {
    out(0x4d0, 0x20);
    raise(5);
    expect(drain()).toEqual([0x25]);
    out(0x20, 0x20);
    expect(drain()).toEqual([0x25]);
    lower(5);
    out(0x20, 0x20);
    expect(pic.pendingVector()).toBe(false);
  });

  it('keeps IRQ 0, 1, 2, 8 and 13 edge-triggered in ELCR', () => {
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    expect([inb(0x4d0), inb(0x4d1)]).toEqual([0xf8, 0xde]);
  });
});

describe('8259A: spurious interrupts', () => {
  it('gives IRQ 7 with no bit in service if the request went before INTA', () => {
    raise(3);
    lower(3);
    expect(pic.pendingVector()).toBe(false);
    expect(pic.acknowledge()).toBe(0x27);
    out(0x20, 0x0b);
    expect(inb(0x20)).toBe(0x00);
  });

  it('gives IRQ 15 if the slave loses its request between the INTA pulses; the cascade stays in service', () => {
    raise(12);
    pic.firstInta();
    lower(12);
    expect(pic.secondInta()).toBe(0x2f);
    out(0x20, 0x0b);
    out(0xa0, 0x0b);
    expect([inb(0x20), inb(0xa0)]).toEqual([0x04, 0x00]);
  });
});

describe('8259A: operation command words', () => {
  const inService = () => {
    out(0x20, 0x0b);
    return inb(0x20);
  };

  it('OCW2 001: non-specific EOI ends the highest in service', () => {
    raise(5);
    drain();
    raise(2 + 1);
    drain();
    out(0x20, 0x20);
    expect(inService()).toBe(0x20);
  });

  it('OCW2 011: specific EOI ends the one named', () => {
    raise(5);
    drain();
    raise(3);
    drain();
    out(0x20, 0x65);
    expect(inService()).toBe(0x08);
  });

  it('OCW2 101: rotate on non-specific EOI makes the one ended the lowest', () => {
    raise(1);
    drain();
    out(0x20, 0xa0);
    lower(1);
    raise(1, 0, 3);
    const vectors = [1, 2, 3].map(() => {
      const vector = pic.acknowledge();
      out(0x20, 0x20);
      return vector;
    });
    expect(vectors).toEqual([0x23, 0x20, 0x21]);
  });

  it('OCW2 111: rotate on specific EOI; 110: set priority', () => {
    raise(6);
    drain();
    out(0x20, 0xe6);
    raise(7, 0);
    expect(pic.acknowledge()).toBe(0x27);
    out(0x20, 0x67);
    out(0x20, 0xc0 | 7);
    lower(7);
    raise(7);
    expect(pic.acknowledge()).toBe(0x20);
  });

  it('OCW2 100: rotate in automatic EOI mode', () => {
    initialize(0x03);
    out(0x20, 0x80);
    raise(0);
    expect(drain()).toEqual([0x20]);
    lower(0);
    raise(0, 1);
    expect(drain()).toEqual([0x21, 0x20]);
  });

  it('automatic EOI leaves nothing in service and serves the slave on', () => {
    initialize(0x03);
    raise(3, 9, 14);
    expect(drain()).toEqual([0x29, 0x2e, 0x23]);
    expect(inService()).toBe(0);
  });

  it('special mask mode: a masked one in service does not hold back lower ones', () => {
    raise(3);
    drain();
    raise(5);
    out(0x21, 0x08);
    expect(pic.pendingVector()).toBe(false);
    out(0x20, 0x68); // OCW3: ESMM, SMM
    expect(drain()).toEqual([0x25]);
    out(0x20, 0x20); // does not end 3, which is masked
    expect(inService()).toBe(0x08);
    out(0x20, 0x48); // reset special mask
    out(0x20, 0x20);
    expect(inService()).toBe(0x00);
  });

  it('special fully nested mode: the slave may interrupt again with a higher input', () => {
    initialize(0x11);
    raise(12);
    expect(drain()).toEqual([0x2c]);
    raise(9, 3);
    expect(drain()).toEqual([0x29]); // and not IRQ 3, which is below the cascade
  });

  it('without it, one slave input waits until the other one is ended', () => {
    raise(12);
    drain();
    raise(9);
    expect(pic.pendingVector()).toBe(false);
    out(0x20, 0x20);
    expect(drain()).toEqual([0x29]);
  });

  it('poll: the next read acknowledges and gives the level, 0 if there is none', () => {
    out(0x20, 0x0c);
    expect(inb(0x20)).toBe(0x00);
    raise(6);
    out(0x20, 0x0c);
    expect(pic.peekPort(0x20)).toBe(0x86);
    expect(inb(0x20)).toBe(0x86);
    expect(inService()).toBe(0x40);
  });

  it('OCW3 selects IRR or ISR for reading, and peeks change nothing', () => {
    raise(4);
    expect(pic.peekPort(0x20)).toBe(0x10);
    drain();
    out(0x20, 0x0b);
    expect([inb(0x20), inb(0x20)]).toEqual([0x10, 0x10]);
    out(0x20, 0x0a);
    expect(inb(0x20)).toBe(0x00);
  });
});

describe('8259A: initialization', () => {
  it('ICW1 clears the mask, in-service bits and edges that have been seen', () => {
    raise(1);
    drain();
    raise(4);
    out(0x21, 0xff);
    initialize();
    expect(inb(0x21)).toBe(0x00);
    expect(pic.pendingVector()).toBe(false); // 4 has to rise again
    lower(4);
    raise(4);
    expect(drain()).toEqual([0x24]);
  });

  it('takes three words without IC4, and two in single mode', () => {
    out(0x20, 0x10);
    out(0x21, 0x40, 0x04, 0xfb); // ICW2, ICW3, then OCW1
    expect(inb(0x21)).toBe(0xfb);
    out(0x20, 0x12);
    out(0x21, 0x40, 0xf7);
    expect(inb(0x21)).toBe(0xf7);
    raise(3);
    expect(pic.acknowledge()).toBe(0x43);
  });

  it('refuses a line that is not there', () => {
    expect(() => pic.line(2)).toThrow(/other than 2/);
    expect(() => pic.line(16)).toThrow(/found 16/);
  });

  it('describes itself', () => {
    out(0x21, 0xfe);
    raise(0);
    const views = pic.describe().registers;
    expect(views.find(({ name }) => name === 'Master IRR')).toMatchObject({ value: 1, meaning: 'IRQ0' });
    expect(views.find(({ name }) => name === 'Slave ICW2')).toMatchObject({ meaning: 'vectors 0x28 to 0x2f' });
  });
});
