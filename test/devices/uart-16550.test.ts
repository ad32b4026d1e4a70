import { beforeEach, describe, expect, it } from 'vitest';
import { Uart16550 } from '../../engine/devices/uart-16550.ts';
import { ascii, TestClock, Wire } from './support.ts';

const [DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR] = [0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff] as const;

let clock: TestClock;
let irq: Wire;
let sent: string;
let uart: Uart16550;
const out = (port: number, value: number) => uart.writePort(port, 1, value);
const inb = (port: number) => uart.readPort(port);

beforeEach(() => {
  clock = new TestClock();
  irq = new Wire();
  sent = '';
  const output = (bytes: Uint8Array) => {
    sent += new TextDecoder().decode(bytes);
  };
  uart = new Uart16550('COM1', 0x3f8, { clock: clock.now, irq, output });
});

describe('16550: transmitter and registers', () => {
  it('sends what is written to THR; THRE and TEMT stay set', () => {
    for (const byte of ascii('hello')) out(DATA, byte);
    expect(sent).toBe('hello');
    expect(inb(LSR)).toBe(0x60);
  });

  it('DLAB leads the first two ports to the divisor latch', () => {
    out(LCR, 0x83);
    out(DATA, 0x01);
    out(IER, 0x02);
    expect([inb(DATA), inb(IER)]).toEqual([0x01, 0x02]);
    out(LCR, 0x03);
    expect(inb(IER)).toBe(0);
    expect(sent).toBe('');
  });

  it('keeps IER to 4 bits, MCR to 5, LCR and SCR whole; the scratch register does nothing', () => {
    for (const [port, kept] of [
      [IER, 0x0f],
      [MCR, 0x1f],
      [LCR, 0xff],
      [SCR, 0xff],
    ] as const) {
      out(port, 0xff);
      expect(inb(port)).toBe(kept);
      out(port, 0);
    }
  });

  it('IIR tells FIFOs by bits 6 and 7', () => {
    expect(inb(IIR_FCR)).toBe(0x01);
    out(IIR_FCR, 0x01);
    expect(inb(IIR_FCR)).toBe(0xc1);
  });
});

describe('16550: receiver', () => {
  it('without FIFO holds one character, the rest waits outside and none is lost', () => {
    uart.receive(ascii('abc'));
    expect([inb(LSR) & 1, inb(DATA), inb(DATA), inb(DATA), inb(LSR) & 1]).toEqual([1, 0x61, 0x62, 0x63, 0]);
  });

  it('peeking at RBR, IIR, LSR and MSR takes nothing away', () => {
    out(IER, 0x03);
    uart.receive(ascii('a'));
    for (const port of [DATA, IIR_FCR, LSR, MSR]) uart.peekPort(port);
    expect([uart.peekPort(DATA), inb(IIR_FCR) & 0x0f]).toEqual([0x61, 0x04]);
  });

  for (const [fcr, level] of [
    [0x01, 1],
    [0x41, 4],
    [0x81, 8],
    [0xc1, 14],
  ] as const) {
    it(`FCR ${fcr.toString(16)}: received data available from ${level} characters on`, () => {
      out(IIR_FCR, fcr);
      out(IER, 0x01);
      uart.receive(new Uint8Array(level - 1));
      expect(irq.level).toBe(false);
      uart.receive(Uint8Array.of(1));
      expect([irq.level, inb(IIR_FCR)]).toEqual([true, 0xc4]);
      inb(DATA);
      expect(irq.level).toBe(false); // below the level again
    });
  }

  it('character timeout after four characters of silence, ended by reading', () => {
    out(LCR, 0x83); // 8N1: ten bits a character
    out(DATA, 1); // 115200 baud
    out(IER, 0);
    out(LCR, 0x03);
    out(IIR_FCR, 0xc1);
    out(IER, 0x01);
    uart.receive(ascii('x'));
    const due = uart.deadlineNs() ?? 0;
    expect(due).toBe(Math.ceil((40 * 1e9) / 115_200));
    clock.ns = due - 1;
    uart.service(clock.ns);
    expect(irq.level).toBe(false);
    clock.ns = due;
    uart.service(due);
    expect([irq.level, inb(IIR_FCR)]).toEqual([true, 0xcc]);
    expect(inb(DATA)).toBe(0x78);
    expect([irq.level, uart.deadlineNs()]).toEqual([false, undefined]);
  });

  it('FCR bit 1 empties the receiver FIFO', () => {
    out(IIR_FCR, 0x01);
    uart.receive(ascii('abc'));
    out(IIR_FCR, 0x03);
    expect(inb(LSR) & 1).toBe(0);
  });
});

describe('16550: interrupts', () => {
  it('THR empty: raised by enabling it, taken away by reading IIR, raised again by the next character', () => {
    out(IER, 0x02);
    expect([irq.level, inb(IIR_FCR), irq.level]).toEqual([true, 0x02, false]);
    out(DATA, 0x41);
    expect([irq.level, irq.rises]).toEqual([true, 2]);
    out(DATA, 0x42); // falls and rises: an edge-triggered PIC has to see it
    expect(irq.rises).toBe(3);
  });

  it('writing IER with the bit set already raises nothing anew', () => {
    out(IER, 0x02);
    inb(IIR_FCR);
    out(IER, 0x02);
    expect(irq.level).toBe(false);
  });

  it('priorities: line status, received data, THR empty, modem status', () => {
    out(MCR, 0x10);
    out(IER, 0x0f);
    out(DATA, 0x41);
    out(DATA, 0x42); // overrun in loop mode
    out(MCR, 0x12); // CTS changes
    const seen = [];
    for (const clear of [LSR, DATA, IIR_FCR, MSR]) {
      seen.push(uart.peekPort(IIR_FCR));
      inb(clear);
    }
    expect(seen).toEqual([0x06, 0x04, 0x02, 0x00]);
    expect([inb(IIR_FCR), irq.level]).toEqual([0x01, false]);
  });
});

describe('16550: loop mode', () => {
  it('leads the transmitter to the receiver and nothing to the outside', () => {
    out(MCR, 0x10);
    out(DATA, 0xae);
    expect([inb(DATA), sent]).toEqual([0xae, '']);
  });

  it('wires DTR, RTS, OUT1, OUT2 to DSR, CTS, RI, DCD', () => {
    for (const [mcr, msr] of [
      [0x11, 0x20],
      [0x12, 0x10],
      [0x14, 0x40],
      [0x18, 0x80],
    ] as const) {
      out(MCR, mcr);
      expect(inb(MSR) & 0xf0).toBe(msr);
    }
  });

  it('notes changes of the modem inputs until MSR is read; RI only when it goes', () => {
    out(MCR, 0x10);
    inb(MSR);
    out(MCR, 0x1f);
    expect(inb(MSR)).toBe(0xf0 | 0x0b);
    out(MCR, 0x1b);
    expect(inb(MSR)).toBe(0xb0 | 0x04);
    expect(inb(MSR)).toBe(0xb0);
  });

  it('overrun: without FIFO the new character replaces the old one, a full FIFO keeps its own', () => {
    out(MCR, 0x10);
    out(DATA, 1);
    out(DATA, 2);
    expect([inb(LSR) & 0x02, inb(LSR) & 0x02, inb(DATA)]).toEqual([0x02, 0, 2]);
    out(IIR_FCR, 0x01);
    for (let i = 1; i <= 17; i++) out(DATA, i);
    expect(inb(LSR) & 0x02).toBe(0x02);
    expect(Array.from({ length: 16 }, () => inb(DATA))).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  });

  it('a break is received as BI with a null character', () => {
    out(MCR, 0x10);
    out(LCR, 0x43);
    expect([inb(LSR) & 0x11, inb(DATA)]).toEqual([0x11, 0]);
  });

  it('holds outside input back until it ends', () => {
    out(MCR, 0x10);
    uart.receive(ascii('z'));
    expect(inb(LSR) & 1).toBe(0);
    out(MCR, 0x00);
    expect(inb(DATA)).toBe(0x7a);
  });
});
