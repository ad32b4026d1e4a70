/** The PC platform of a machine, joined to its memory, clock and the outside. */

import { readStatusFlags, writeStatusFlags } from '../cpu/flags.ts';
import { STATE_ADDRESS, STATE_BYTES } from '../cpu/memory-map.ts';
import { type FieldName, fieldAddress } from '../cpu/state-layout.ts';
import { assertsError } from '../cpu/x87/x87-instruction.ts';
import { earlier } from '../devices/device.ts';
import {
  type GuestMemory,
  MemoryBlockBackend,
  PcPlatform,
  VirtioConsole,
  type VirtioSlotConfig,
} from '../devices/index.ts';
import type { MmioBus } from '../mmu/physical-memory.ts';
import { fnv1a64 } from './hash.ts';
import type { Host } from './host.ts';
import { type ApicPorts, LocalApics } from './local-apics.ts';
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
  /** A device was read or written: what it does next may come earlier than it looked. */
  readonly accessed: () => void;
  readonly apic: Omit<ApicPorts, 'acknowledgeExternal'>;
}

export class MachinePlatform {
  readonly pc: PcPlatform;
  readonly memory: GuestMemory;
  /** Of a bare machine; the built-in hypervisor offers its guests none. */
  readonly apics: LocalApics | undefined;
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
        intr: { set: (level) => this.#interruptChanged(level) },
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
    this.#listenToFpu();
    const { apic } = parts;
    if (config.virtualization === 'none') {
      const acknowledgeExternal = () => this.pc.acknowledge();
      this.apics = new LocalApics(host, config.cpus, this.pc.mmioBus, { ...apic, acknowledgeExternal });
    }
  }

  /** FERR# and IGNNE# of a PC are those of its first processor. */
  #listenToFpu(): void {
    const { host } = this.#parts;
    const { fpuError } = this.pc;
    host.processor.fpuErrors = {
      changed: () => {
        if (host.loaded === 0) fpuError.setError(assertsError(host.state));
      },
      ignoresErrors: () => host.loaded === 0 && fpuError.isIgnored,
    };
  }

  /** An interrupt waits for the loaded vCPU. */
  get interruptPending(): boolean {
    return this.interruptPendingFor(this.#parts.host.loaded);
  }
  /** Without local APICs, only the first vCPU gets the interrupts of the 8259. */
  interruptPendingFor(vcpu: number): boolean {
    return this.apics ? this.apics.of(vcpu).interruptPending : vcpu === 0 && this.pc.interruptPending();
  }
  acknowledge(): number {
    return this.apics ? this.apics.loaded.acknowledge() : this.pc.acknowledge();
  }
  nextDeadlineNs(): number | undefined {
    return earlier(this.pc.nextDeadlineNs(), this.apics?.deadlineNs());
  }
  service(): void {
    const { nowNs } = this.#parts.host.clock;
    this.pc.service(nowNs);
    this.apics?.service(nowNs);
  }
  readPort(port: number, sizeBytes: number): number {
    const value = this.pc.portBus.read(port, sizeBytes);
    this.#parts.accessed();
    return value;
  }
  writePort(port: number, sizeBytes: number, value: number): void {
    this.pc.portBus.write(port, sizeBytes, value);
    this.#parts.accessed();
  }

  /** Told of each access to a device in memory of a bare machine: after a read, before a write. */
  onMemoryAccess: ((address: number, sizeBytes: number, access: 'read' | 'write', value: number) => void) | undefined;

  /** What answers for physical addresses outside of RAM. */
  get memoryBus(): MmioBus {
    const bus = this.apics ?? this.pc.mmioBus;
    const { accessed } = this.#parts;
    return {
      read: (address, sizeBytes) => {
        const value = bus.read(address, sizeBytes);
        this.onMemoryAccess?.(address, sizeBytes, 'read', value);
        accessed();
        return value;
      },
      peek: (address, sizeBytes) => bus.peek(address, sizeBytes),
      write: (address, sizeBytes, value) => {
        this.onMemoryAccess?.(address, sizeBytes, 'write', value);
        bus.write(address, sizeBytes, value);
        accessed();
      },
    };
  }

  input(source: OutputSource, bytes: Uint8Array): void {
    if (source === 'serial') this.pc.uarts[0]?.receive(bytes);
    if (source !== 'virtio-console') return;
    for (const { transport } of this.pc.virtio) {
      if (transport.device instanceof VirtioConsole) transport.device.receive(bytes);
    }
  }

  saveState() {
    return { pc: this.pc.saveState(), apics: this.apics?.saveState() ?? [] };
  }
  restoreState({ pc, apics }: ReturnType<MachinePlatform['saveState']>): void {
    this.pc.restoreState(pc);
    this.apics?.restoreState(apics);
  }

  /** Digest of CPU state, RAM and devices. */
  stateHash(): string {
    const { host } = this.#parts;
    const saved = Object.values(this.saveState());
    const devices = new TextEncoder().encode(JSON.stringify(saved, plain));
    return fnv1a64([...host.states().map(architecturalState), host.physical.bytes, devices]);
  }

  #interruptChanged(level: boolean): void {
    this.apics?.setExternal(level);
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

/** What the executions keep for themselves: it depends on how a run was cut into slices, and on nothing else. */
const bookkeeping: readonly FieldName[] = [
  'pageBase',
  'budget',
  'retired',
  'tlbBase',
  'jumpKey',
  'linkSite',
  'exitRecord',
];

/** The copy lies where a state does, for those who read fields at their addresses. */
export function architecturalState(state: Uint8Array): Uint8Array {
  const memory = new Uint8Array(STATE_ADDRESS + STATE_BYTES);
  const bytes = memory.subarray(STATE_ADDRESS);
  bytes.set(state);
  // The same flags have many lazy forms.
  const flags = { view: new DataView(memory.buffer) };
  writeStatusFlags(flags, readStatusFlags(flags));
  for (const field of bookkeeping) {
    const at = fieldAddress[field] - STATE_ADDRESS;
    bytes.fill(0, at, at + 8);
  }
  return bytes;
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
