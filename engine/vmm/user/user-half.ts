/** The user half: the device models, reached when the kernel half cannot finish an exit by itself. */
import { hex } from '../../cpu/hexadecimal.ts';
import type { PcPlatform } from '../../devices/index.ts';
import type { Stage } from '../stages.ts';

/** Devices that the kernel half emulates itself, because the guest's interrupts and time pass through them. */
const KERNEL_DEVICES = /^(pic-8259|pit-8254|port-61)/;

export interface DeviceAccess {
  /** Port or guest-physical address. */
  readonly address: number;
  /** 0 where it is not known yet. */
  readonly sizeBytes: number;
  readonly direction: 'read' | 'write';
}

export class UserHalf {
  readonly #platform: PcPlatform;
  readonly #kernelPorts = new Set<number>();

  constructor(platform: PcPlatform) {
    this.#platform = platform;
    for (const { name, first, last } of platform.portBus.claims()) {
      if (KERNEL_DEVICES.test(name)) for (let port = first; port <= last; port++) this.#kernelPorts.add(port);
    }
  }

  readPort(port: number, sizeBytes: number): number {
    return this.#platform.portBus.read(port, sizeBytes) >>> 0;
  }
  writePort(port: number, sizeBytes: number, value: number): void {
    this.#platform.portBus.write(port, sizeBytes, value);
  }
  /** `sizeBytes` is 1, 2 or 4; addresses are guest-physical. */
  readMemory(address: number, sizeBytes: number): number {
    return this.#platform.mmioBus.read(address, sizeBytes) >>> 0;
  }
  writeMemory(address: number, sizeBytes: number, value: number): void {
    this.#platform.mmioBus.write(address, sizeBytes, value >>> 0);
  }

  /** Whether the port belongs to a device of the kernel half. */
  isKernelPort(port: number): boolean {
    return this.#kernelPorts.has(port);
  }

  portStage(access: DeviceAccess): Stage {
    const half = this.isKernelPort(access.address) ? 'kernel' : 'user';
    return new DeviceStage(() => this.#platform.portBus.deviceAt(access.address), half, access, 'port');
  }
  memoryStage(access: DeviceAccess): Stage {
    const find = () =>
      this.#platform.mmioBus.regions().find(({ first, last }) => isWithin(access.address, first, last));
    return new DeviceStage(() => find()?.name, 'user', access, 'guest-physical address');
  }
}

const isWithin = (address: number, first: number, last: number): boolean => address >= first && address <= last;

/** A device model at work. Its name is looked up only if somebody looks. */
class DeviceStage implements Stage {
  readonly half: 'kernel' | 'user';
  readonly #find: () => string | undefined;
  readonly #access: DeviceAccess;
  readonly #space: string;

  constructor(find: () => string | undefined, half: 'kernel' | 'user', access: DeviceAccess, space: string) {
    this.#find = find;
    this.half = half;
    this.#access = access;
    this.#space = space;
  }

  get name(): string {
    return `${this.#find() ?? 'unassigned'}: ${this.#access.direction}`;
  }
  explain(): string {
    const device = this.#find();
    const { address, sizeBytes, direction } = this.#access;
    if (device === undefined) return `Nothing is at ${this.#space} ${hex(address)}: reads give ones, writes vanish.`;
    const bytes = sizeBytes === 0 ? '' : sizeBytes === 1 ? ' of a byte' : ` of ${sizeBytes} bytes`;
    return `The model of ${device} carries out the ${direction}${bytes} at ${this.#space} ${hex(address)}.`;
  }
}
