import { describe, expect, it } from 'vitest';
import { MmioBus, PortBus, type UnclaimedAccess } from '../../engine/devices/bus.ts';
import type { AccessBytes, MmioDevice, PortDevice } from '../../engine/devices/device.ts';

/** Reads give the port's low byte repeated upwards; all accesses are logged. */
function portDevice(first: number, count: number, widestBytes: AccessBytes = 1) {
  const log: string[] = [];
  const value = (port: number, size: number) =>
    Array.from({ length: size }, (_, i) => ((port + i) & 0xff) * 2 ** (8 * i)).reduce((a, b) => a + b);
  const device: PortDevice = {
    name: `device at ${first.toString(16)}`,
    ports: [{ first, count, widestBytes }],
    readPort: (port, size) => {
      log.push(`r${size} ${port.toString(16)}`);
      return value(port, size);
    },
    peekPort: value,
    writePort: (port, size, written) => log.push(`w${size} ${port.toString(16)}=${written.toString(16)}`),
  };
  return { device, log };
}

describe('PortBus', () => {
  it('gives all ones for unclaimed reads, ignores unclaimed writes, and tells of both', () => {
    const seen: UnclaimedAccess[] = [];
    const bus = new PortBus((access) => seen.push(access));
    expect([1, 2, 4].map((size) => bus.read(0x1234, size))).toEqual([0xff, 0xffff, 0xffffffff]);
    bus.write(0x1234, 2, 0xbeef);
    expect(seen.at(-1)).toEqual({ space: 'port', address: 0x1234, sizeBytes: 2, direction: 'write', value: 0xbeef });
    expect(bus.unclaimedAccesses).toBe(4);
  });

  it('peeks at unclaimed ports without telling', () => {
    const bus = new PortBus(() => expect.unreachable());
    expect(bus.peek(0x1234, 2)).toBe(0xffff);
    expect(bus.unclaimedAccesses).toBe(0);
  });

  it('cuts accesses that are wider than the device takes into bytes, lowest port first', () => {
    const bus = new PortBus();
    const { device, log } = portDevice(0x20, 2);
    bus.register(device);
    expect(bus.read(0x20, 2)).toBe(0x2120);
    bus.write(0x20, 2, 0xabcd);
    expect(log).toEqual(['r1 20', 'r1 21', 'w1 20=cd', 'w1 21=ab']);
  });

  it('passes an access that the device takes in one piece', () => {
    const bus = new PortBus();
    const { device, log } = portDevice(0xf4, 4, 4);
    bus.register(device);
    bus.write(0xf4, 4, 0xdeadbeef);
    bus.write(0xf6, 4, 0x11223344); // reaches beyond the range: bytes, two of them unclaimed
    expect(log).toEqual(['w4 f4=deadbeef', 'w1 f6=44', 'w1 f7=33']);
    expect(bus.unclaimedAccesses).toBe(2);
  });

  it('reads all ones beside a device that an access only touches', () => {
    const bus = new PortBus();
    bus.register(portDevice(0x71, 1).device);
    expect(bus.read(0x70, 4)).toBe(0xffff71ff);
    expect(bus.peek(0x70, 4)).toBe(0xffff71ff);
  });

  it('refuses overlaps and ports outside of the space, registering nothing', () => {
    const bus = new PortBus();
    bus.register(portDevice(0x60, 1).device);
    expect(() => bus.register(portDevice(0x5f, 2).device)).toThrow(/port 0x60 is already claimed by device at 60/);
    expect(bus.deviceAt(0x5f)).toBeUndefined();
    expect(() => bus.register(portDevice(0xffff, 2).device)).toThrow(/expected ports within 0 to 0xffff/);
    expect(bus.claims()).toEqual([{ name: 'device at 60', first: 0x60, last: 0x60 }]);
  });
});

describe('MmioBus', () => {
  function memoryDevice(lengthBytes: number) {
    const bytes = new DataView(new ArrayBuffer(lengthBytes));
    const log: string[] = [];
    const peek = (offset: number, size: number) =>
      size === 4 ? bytes.getUint32(offset, true) : size === 2 ? bytes.getUint16(offset, true) : bytes.getUint8(offset);
    const device: MmioDevice = {
      name: 'memory',
      peek,
      read: (offset, size) => {
        log.push(`r${size} ${offset}`);
        return peek(offset, size);
      },
      write: (offset, size, value) => {
        log.push(`w${size} ${offset}`);
        if (size === 4) bytes.setUint32(offset, value, true);
        else bytes.setUint8(offset, value);
      },
    };
    return { device, log };
  }

  it('splits accesses of eight bytes into two of four, lower address first', () => {
    const bus = new MmioBus();
    const { device, log } = memoryDevice(16);
    bus.register(0xfeb00000, 16, device);
    bus.write64(0xfeb00008, 0x8877665544332211n);
    expect(bus.read64(0xfeb00008)).toBe(0x8877665544332211n);
    expect(bus.peek64(0xfeb00008)).toBe(0x8877665544332211n);
    expect(log).toEqual(['w4 8', 'w4 12', 'r4 8', 'r4 12']);
  });

  it('goes byte by byte over a border of a device', () => {
    const bus = new MmioBus();
    const { device, log } = memoryDevice(4);
    bus.register(0x1000, 4, device);
    bus.write(0x1002, 4, 0xddccbbaa);
    expect(log).toEqual(['w1 2', 'w1 3']);
    expect(bus.read(0x1002, 4)).toBe(0xffffbbaa);
    expect(bus.unclaimedAccesses).toBe(4);
  });

  it('refuses overlapping and empty regions', () => {
    const bus = new MmioBus();
    const { device } = memoryDevice(16);
    bus.register(0x1000, 16, device);
    expect(() => bus.register(0x100f, 1, device)).toThrow(/0x100f to 0x100f overlaps memory at 0x1000 to 0x100f/);
    expect(() => bus.register(0x2000, 0, device)).toThrow(/at least one byte/);
    expect(bus.claims(0x100f)).toBe(true);
    expect(bus.claims(0x1010)).toBe(false);
  });
});
