/** The PC platform of a machine, joined to its memory, clock and the outside. */
import {
  type GuestMemory,
  MemoryBlockBackend,
  PcPlatform,
  VirtioConsole,
  type VirtioSlotConfig,
} from '../devices/index.ts';
import { fnv1a64 } from './hash.ts';
import type { Host } from './host.ts';
import type { MachineConfig, MachineEvent, OutputSource, Stop, StopFilter } from './machine-api.ts';

const SECTOR_BYTES = 512;

export interface PlatformParts {
  readonly host: Host;
  /** Host-physical address of guest-physical address 0. */
  readonly guestBase: number;
  readonly output: (source: OutputSource, bytes: Uint8Array) => void;
  readonly ended: (stop: Stop) => void;
  readonly report: (event: MachineEvent) => void;
  readonly isWatched: (filter: StopFilter) => boolean;
}

export class MachinePlatform {
  readonly pc: PcPlatform;
  readonly memory: GuestMemory;
  readonly #parts: PlatformParts;

  constructor(config: MachineConfig, parts: PlatformParts) {
    this.#parts = parts;
    this.memory = guestMemory(parts.host, parts.guestBase, config.memoryBytes);
    const { host, output, ended } = parts;
    this.pc = new PcPlatform(
      { memoryBytes: config.memoryBytes, virtio: virtioSlots(config) },
      {
        clock: () => host.clock.nowNs,
        memory: this.memory,
        intr: { set: () => this.#interruptChanged() },
        serialOutput: (_port, bytes) => output('serial', bytes),
        consoleOutput: (_slot, bytes) => output('virtio-console', bytes),
        debugConsoleOutput: (bytes) => output('debug-console', bytes),
        exit: (code) => ended({ kind: 'exited', code, how: 'debug exit' }),
        shutdown: (how) => ended({ kind: 'exited', code: 0, how }),
        reset: (how) => ended({ kind: 'exited', code: 0, how: `reset requested by ${how}` }),
        setA20: () => {},
        onNotify: ({ device, queue }) => this.#notified(device, queue),
      },
    );
  }

  get interruptPending(): boolean {
    return this.pc.interruptPending();
  }
  acknowledge(): number {
    return this.pc.acknowledge();
  }
  nextDeadlineNs(): number | undefined {
    return this.pc.nextDeadlineNs();
  }
  service(): void {
    this.pc.service(this.#parts.host.clock.nowNs);
  }
  readPort(port: number, sizeBytes: number): number {
    return this.pc.portBus.read(port, sizeBytes);
  }
  writePort(port: number, sizeBytes: number, value: number): void {
    this.pc.portBus.write(port, sizeBytes, value);
  }

  input(source: OutputSource, bytes: Uint8Array): void {
    if (source === 'serial') this.pc.uarts[0]?.receive(bytes);
    if (source !== 'virtio-console') return;
    for (const { transport } of this.pc.virtio) {
      if (transport.device instanceof VirtioConsole) transport.device.receive(bytes);
    }
  }

  /** Digest of CPU state, RAM and devices. */
  stateHash(): string {
    const { host } = this.#parts;
    const devices = new TextEncoder().encode(JSON.stringify(this.pc.saveState(), plain));
    return fnv1a64([host.state.bytes, host.physical.bytes, devices]);
  }

  #interruptChanged(): void {
    this.#parts.host.runtime.stopRequested = true;
  }

  #notified(device: string, queue: number): void {
    const { host, report, isWatched } = this.#parts;
    if (!isWatched('virtqueue-notification')) return;
    report({
      filter: 'virtqueue-notification',
      vcpu: host.loaded,
      title: `Virtqueue notification: ${device}, queue ${queue}`,
      values: { device, queue: BigInt(queue) },
      explanation: [
        `The driver wrote ${queue} to QueueNotify of ${device}: new buffers are available in queue ${queue}.`,
        'The device reads the available ring, carries out the descriptor chains and puts them into the used ring.',
      ],
    });
  }
}

const plain = (_key: string, value: unknown): unknown => {
  if (typeof value === 'bigint') return value.toString();
  return value instanceof Uint8Array ? fnv1a64([value]) : value;
};

function virtioSlots(config: MachineConfig): VirtioSlotConfig[] {
  const slots: VirtioSlotConfig[] = [];
  const { disk, diskReadOnly, console } = config.devices ?? {};
  if (disk) {
    const contents = new Uint8Array(Math.ceil(disk.length / SECTOR_BYTES) * SECTOR_BYTES);
    contents.set(disk);
    slots.push({ kind: 'block', backend: new MemoryBlockBackend(contents, { readOnly: diskReadOnly ?? false }) });
  }
  if (console) slots.push({ kind: 'console' });
  return slots;
}

function guestMemory({ physical }: Host, base: number, lengthBytes: number): GuestMemory {
  const contains = (gpa: number, length: number) => gpa >= 0 && length >= 0 && gpa + length <= lengthBytes;
  const peek = (gpa: number, length: number) => (contains(gpa, length) ? physical.peek(base + gpa, length) : undefined);
  return {
    contains,
    read: peek,
    peek,
    write: (gpa, bytes) => contains(gpa, bytes.length) && physical.poke(base + gpa, bytes),
  };
}
