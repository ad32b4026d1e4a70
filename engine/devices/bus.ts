/**
 * The two buses through which a CPU reaches devices: I/O ports and memory-mapped I/O. A bus only finds the device and
 * cuts accesses into pieces that it takes; what nobody claims reads as all ones and swallows writes, as on a PC.
 */
import { hex } from '../cpu/hexadecimal.ts';
import type { AccessBytes, MmioDevice, PortDevice } from './device.ts';

export interface UnclaimedAccess {
  readonly space: 'port' | 'memory';
  readonly address: number;
  readonly sizeBytes: number;
  readonly direction: 'read' | 'write';
  /** Present on writes. */
  readonly value?: number;
}

export type UnclaimedHook = (access: UnclaimedAccess) => void;

interface PortClaim {
  readonly device: PortDevice;
  readonly first: number;
  readonly count: number;
  readonly widestBytes: AccessBytes;
}

export interface Claim {
  readonly name: string;
  readonly first: number;
  readonly last: number;
}

const PORTS = 0x10000;

function allOnes(sizeBytes: number): number {
  return sizeBytes >= 4 ? 0xffff_ffff : (1 << (8 * sizeBytes)) - 1;
}

/** Joins bytes, lowest address first, to an unsigned number. */
function joinBytes(sizeBytes: number, byteAt: (index: number) => number): number {
  let value = 0;
  for (let i = 0; i < sizeBytes; i++) value += (byteAt(i) & 0xff) * 2 ** (8 * i);
  return value;
}

const byteOf = (value: number, index: number) => (value >>> (8 * index)) & 0xff;

export class PortBus {
  readonly #claims = new Map<number, PortClaim>();
  readonly #devices: PortDevice[] = [];
  readonly #onUnclaimed: UnclaimedHook | undefined;
  #unclaimedAccesses = 0;
  /** Told of each access: after a read, before a write. */
  onAccess: ((port: number, sizeBytes: number, access: 'read' | 'write', value: number) => void) | undefined;

  constructor(onUnclaimed?: UnclaimedHook) {
    this.#onUnclaimed = onUnclaimed;
  }

  /** Reads and writes that no device claimed, since the bus was made. */
  get unclaimedAccesses(): number {
    return this.#unclaimedAccesses;
  }

  /** @throws Error if a port is outside 0…0xFFFF or already claimed; then nothing was registered. */
  register(device: PortDevice): void {
    for (const { first, count } of device.ports) {
      if (first < 0 || count < 1 || first + count > PORTS) {
        throw new Error(`${device.name}: expected ports within 0 to 0xffff, found ${hex(first)} and ${count - 1} more`);
      }
      for (let port = first; port < first + count; port++) this.#refuseOverlap(device, port);
    }
    for (const { first, count, widestBytes } of device.ports) {
      const claim: PortClaim = { device, first, count, widestBytes: widestBytes ?? 1 };
      for (let port = first; port < first + count; port++) this.#claims.set(port, claim);
    }
    this.#devices.push(device);
  }

  read(port: number, sizeBytes: number): number {
    const value = this.#read(port, sizeBytes);
    this.onAccess?.(port, sizeBytes, 'read', value);
    return value;
  }
  #read(port: number, sizeBytes: number): number {
    const claim = this.#whole(port, sizeBytes);
    if (claim) return claim.device.readPort(port, sizeBytes) >>> 0;
    if (sizeBytes > 1 && this.#anyClaimed(port, sizeBytes)) {
      return joinBytes(sizeBytes, (i) => this.#read((port + i) & 0xffff, 1));
    }
    this.#reportUnclaimed({ space: 'port', address: port, sizeBytes, direction: 'read' });
    return allOnes(sizeBytes);
  }

  peek(port: number, sizeBytes: number): number {
    const claim = this.#whole(port, sizeBytes);
    if (claim) return claim.device.peekPort(port, sizeBytes) >>> 0;
    if (sizeBytes === 1) return 0xff;
    return joinBytes(sizeBytes, (i) => this.peek((port + i) & 0xffff, 1));
  }

  write(port: number, sizeBytes: number, value: number): void {
    this.onAccess?.(port, sizeBytes, 'write', value >>> 0);
    this.#write(port, sizeBytes, value);
  }
  #write(port: number, sizeBytes: number, value: number): void {
    const claim = this.#whole(port, sizeBytes);
    if (claim) {
      claim.device.writePort(port, sizeBytes, value >>> 0);
    } else if (sizeBytes > 1 && this.#anyClaimed(port, sizeBytes)) {
      for (let i = 0; i < sizeBytes; i++) this.#write((port + i) & 0xffff, 1, byteOf(value, i));
    } else {
      this.#reportUnclaimed({ space: 'port', address: port, sizeBytes, direction: 'write', value: value >>> 0 });
    }
  }

  /** Name of the device that claims a port. */
  deviceAt(port: number): string | undefined {
    return this.#claims.get(port)?.device.name;
  }

  /** All claimed ranges in order of ports. */
  claims(): Claim[] {
    const ranges = this.#devices.flatMap((device) =>
      device.ports.map(({ first, count }) => ({ name: device.name, first, last: first + count - 1 })),
    );
    return ranges.sort((a, b) => a.first - b.first);
  }

  #whole(port: number, sizeBytes: number): PortClaim | undefined {
    const claim = this.#claims.get(port);
    const fits = claim && (sizeBytes === 1 || port + sizeBytes <= claim.first + claim.count);
    return fits && sizeBytes <= claim.widestBytes ? claim : undefined;
  }

  #anyClaimed(port: number, sizeBytes: number): boolean {
    for (let i = 0; i < sizeBytes; i++) if (this.#claims.has((port + i) & 0xffff)) return true;
    return false;
  }

  #refuseOverlap(device: PortDevice, port: number): void {
    const other = this.#claims.get(port);
    if (other) {
      throw new Error(`${device.name}: port ${hex(port)} is already claimed by ${other.device.name}; move one of them`);
    }
  }

  #reportUnclaimed(access: UnclaimedAccess): void {
    this.#unclaimedAccesses++;
    this.#onUnclaimed?.(access);
  }
}

interface MmioRegion {
  readonly device: MmioDevice;
  readonly base: number;
  readonly end: number;
}

export class MmioBus {
  readonly #regions: MmioRegion[] = [];
  readonly #onUnclaimed: UnclaimedHook | undefined;
  #unclaimedAccesses = 0;

  constructor(onUnclaimed?: UnclaimedHook) {
    this.#onUnclaimed = onUnclaimed;
  }

  /** Reads and writes that no device claimed, since the bus was made. */
  get unclaimedAccesses(): number {
    return this.#unclaimedAccesses;
  }

  /** @throws Error if the region is empty or overlaps another one. */
  register(base: number, lengthBytes: number, device: MmioDevice): void {
    const end = base + lengthBytes;
    if (!(lengthBytes > 0) || base < 0) {
      throw new Error(`${device.name}: expected a region of at least one byte, found ${lengthBytes} at ${hex(base)}`);
    }
    const other = this.#regions.find((region) => base < region.end && region.base < end);
    if (other) {
      throw new Error(
        `${device.name}: ${hex(base)} to ${hex(end - 1)} overlaps ${other.device.name} at ${hex(other.base)} ` +
          `to ${hex(other.end - 1)}; move one of them`,
      );
    }
    this.#regions.push({ device, base, end });
    this.#regions.sort((a, b) => a.base - b.base);
  }

  /** True if a device claims the byte at this physical address. */
  claims(address: number): boolean {
    return this.#regionAt(address) !== undefined;
  }

  /** All regions in order of addresses. */
  regions(): Claim[] {
    return this.#regions.map(({ device, base, end }) => ({ name: device.name, first: base, last: end - 1 }));
  }

  /** An access of 1, 2 or 4 bytes. */
  read(address: number, sizeBytes: number): number {
    const region = this.#regionAt(address);
    if (region && address + sizeBytes <= region.end) return region.device.read(address - region.base, sizeBytes) >>> 0;
    if (this.#touchesAny(address, sizeBytes)) return joinBytes(sizeBytes, (i) => this.read(address + i, 1));
    this.#reportUnclaimed({ space: 'memory', address, sizeBytes, direction: 'read' });
    return allOnes(sizeBytes);
  }

  /** As `read`, without side effects. */
  peek(address: number, sizeBytes: number): number {
    const region = this.#regionAt(address);
    if (region && address + sizeBytes <= region.end) return region.device.peek(address - region.base, sizeBytes) >>> 0;
    if (this.#touchesAny(address, sizeBytes)) return joinBytes(sizeBytes, (i) => this.peek(address + i, 1));
    return allOnes(sizeBytes);
  }

  /** An access of 1, 2 or 4 bytes. */
  write(address: number, sizeBytes: number, value: number): void {
    const region = this.#regionAt(address);
    if (region && address + sizeBytes <= region.end) {
      region.device.write(address - region.base, sizeBytes, value >>> 0);
    } else if (this.#touchesAny(address, sizeBytes)) {
      for (let i = 0; i < sizeBytes; i++) this.write(address + i, 1, byteOf(value, i));
    } else {
      this.#reportUnclaimed({ space: 'memory', address, sizeBytes, direction: 'write', value: value >>> 0 });
    }
  }

  /** An access of 8 bytes: two of 4, the lower address first. */
  read64(address: number): bigint {
    const low = this.read(address, 4);
    return BigInt(low) | (BigInt(this.read(address + 4, 4)) << 32n);
  }

  peek64(address: number): bigint {
    return BigInt(this.peek(address, 4)) | (BigInt(this.peek(address + 4, 4)) << 32n);
  }

  write64(address: number, value: bigint): void {
    this.write(address, 4, Number(value & 0xffff_ffffn));
    this.write(address + 4, 4, Number((value >> 32n) & 0xffff_ffffn));
  }

  #regionAt(address: number): MmioRegion | undefined {
    return this.#regions.find((region) => address >= region.base && address < region.end);
  }

  /** True for an access that a device's border cuts: only then is it worth going byte by byte. */
  #touchesAny(address: number, sizeBytes: number): boolean {
    if (sizeBytes === 1) return false;
    return this.#regions.some((region) => address < region.end && region.base < address + sizeBytes);
  }

  #reportUnclaimed(access: UnclaimedAccess): void {
    this.#unclaimedAccesses++;
    this.#onUnclaimed?.(access);
  }
}
