import { describe, expect, it } from 'vitest';
import { PortBus } from '../../engine/devices/bus.ts';
import { DebugConsole } from '../../engine/devices/debug-console.ts';
import { DebugExit } from '../../engine/devices/debug-exit.ts';
import { FpuError } from '../../engine/devices/fpu-error.ts';
import { Port92 } from '../../engine/devices/port-92.ts';
import { PostPort } from '../../engine/devices/post-port.ts';
import { ShutdownPorts } from '../../engine/devices/shutdown-ports.ts';

describe('debug console', () => {
  it('takes characters on port 0xE9 and answers 0xE9', () => {
    let text = '';
    const bus = new PortBus();
    bus.register(
      new DebugConsole((bytes) => {
        text += new TextDecoder().decode(bytes);
      }),
    );
    for (const letter of 'hi') bus.write(0xe9, 1, letter.charCodeAt(0));
    expect([text, bus.read(0xe9, 1)]).toEqual(['hi', 0xe9]);
  });
});

describe('debug exit', () => {
  it('passes the value written, of any width, on its port', () => {
    const codes: number[] = [];
    const bus = new PortBus();
    bus.register(new DebugExit((code) => codes.push(code), 0x501));
    bus.write(0x501, 1, 0x2a);
    bus.write(0x501, 4, 0xfedcba98);
    expect(codes).toEqual([0x2a, 0xfedcba98]);
  });
});

describe('shutdown ports', () => {
  function ports() {
    const ways: string[] = [];
    const bus = new PortBus();
    bus.register(new ShutdownPorts((how) => ways.push(how)));
    return { bus, ways };
  }

  for (const port of [0x604, 0xb004]) {
    it(`0x2000 to PM1a_CNT at 0x${port.toString(16)} turns off`, () => {
      const { bus, ways } = ports();
      bus.write(port, 2, 0x2000);
      expect(ways).toEqual(['ACPI soft off through PM1a_CNT']);
      expect(bus.read(port, 2) & 0x2000).toBe(0); // SLP_EN is write-only
    });
  }

  it('another sleep type, or SLP_TYP without SLP_EN, does not', () => {
    const { bus, ways } = ports();
    bus.write(0x604, 2, 0x3400);
    bus.write(0x604, 2, 0x0001);
    expect([ways, bus.read(0x604, 2)]).toEqual([[], 1]);
  });

  it('the word "Shutdown" on port 0x8900, begun anew after a wrong letter', () => {
    const { bus, ways } = ports();
    for (const letter of 'ShutdoShutdow') bus.write(0x8900, 1, letter.charCodeAt(0));
    expect(ways).toEqual([]);
    bus.write(0x8900, 1, 'n'.charCodeAt(0));
    expect(ways).toEqual(['the word "Shutdown" on port 0x8900']);
  });
});

describe('POST port', () => {
  it('keeps and tells the code', () => {
    const codes: number[] = [];
    const post = new PostPort((code) => codes.push(code));
    post.writePort(0x80, 1, 0x55);
    expect([post.readPort(), codes]).toEqual([0x55, [0x55]]);
  });
});

describe('the coprocessor error', () => {
  it('raises IRQ 13 until a write to port 0xF0, which has the error ignored as long as it lasts', () => {
    const log: boolean[] = [];
    const fpu = new FpuError({ set: (level) => log.push(level) });
    fpu.setError(true);
    expect([log, fpu.isIgnored]).toEqual([[true], false]);
    fpu.writePort();
    expect([log, fpu.isIgnored]).toEqual([[true, false], true]);
    fpu.setError(false);
    expect(fpu.isIgnored).toBe(false);
    fpu.writePort();
    expect(fpu.isIgnored).toBe(false);
  });
});

describe('port 0x92', () => {
  it('bit 1 is A20, a rise of bit 0 resets', () => {
    const log: string[] = [];
    const port = new Port92({ setA20: (on) => log.push(`A20 ${on}`), reset: () => log.push('reset') }, false);
    port.writePort(0x92, 1, 0x02);
    port.writePort(0x92, 1, 0x03);
    port.writePort(0x92, 1, 0x03);
    expect(log).toEqual(['A20 false', 'A20 true', 'A20 true', 'reset', 'A20 true']);
    expect(port.readPort()).toBe(0x03);
  });
});
