/**
 * The standard set of a PC: every device of this folder on its usual ports and interrupt lines, and virtio-mmio slots.
 * What lies outside (clock, memory, outputs, reset) is injected, so the same platform serves a bare machine and the
 * user half of a hypervisor.
 */
import { hex } from '../cpu/hexadecimal.ts';
import { type Claim, MmioBus, PortBus, type UnclaimedHook } from './bus.ts';
import { CmosRtc } from './cmos-rtc.ts';
import { DebugConsole } from './debug-console.ts';
import { DEBUG_EXIT_PORT, DebugExit } from './debug-exit.ts';
import {
  type ByteSink,
  type Clock,
  type Device,
  type DeviceView,
  type DriverMistake,
  earlier,
  type GuestMemory,
  type InterruptLine,
  type PortDevice,
  type TimedDevice,
  type VirtqueueNotification,
  wiredOr,
} from './device.ts';
import { FpuError } from './fpu-error.ts';
import { Keyboard8042 } from './keyboard-8042.ts';
import { Pic8259 } from './pic-8259.ts';
import { Pit8254 } from './pit-8254.ts';
import { Port61 } from './port-61.ts';
import { Port92 } from './port-92.ts';
import { PostPort } from './post-port.ts';
import { ShutdownPorts } from './shutdown-ports.ts';
import { Uart16550 } from './uart-16550.ts';
import type { BlockBackend } from './virtio/block-backend.ts';
import { describeVirtioDevice, type VirtioDeviceView } from './virtio/describe.ts';
import { VirtioBlock } from './virtio/virtio-block.ts';
import { VirtioConsole } from './virtio/virtio-console.ts';
import { VIRTIO_MMIO_BYTES, VirtioMmio } from './virtio/virtio-mmio.ts';

export type VirtioSlotConfig =
  | { readonly kind: 'block'; readonly backend: BlockBackend; readonly id?: string }
  | { readonly kind: 'console' };

export interface PcPlatformConfig {
  /** What the CMOS memory size bytes tell. */
  readonly memoryBytes: number;
  /** How many of COM1 to COM4 there are (default 1). */
  readonly serial?: number;
  /** First port of the debug exit device (default 0xF4), or false for none. */
  readonly debugExit?: number | false;
  /** Port 0xE9 (default true). */
  readonly debugConsole?: boolean;
  /** The shutdown ports 0x604, 0xB004 and 0x8900 (default true). */
  readonly shutdownPorts?: boolean;
  /** One slot each, from slot 0. */
  readonly virtio?: readonly VirtioSlotConfig[];
  /** The real-time clock at power-on, in seconds since 1970-01-01 UTC (default 2000-01-01). */
  readonly epochSeconds?: number;
  /** Whether firmware has left the A20 gate open (default true). */
  readonly a20AtReset?: boolean;
}

export interface PcPlatformPorts {
  readonly clock: Clock;
  readonly memory: GuestMemory;
  /** The CPU's INTR input, told on every change. `interruptPending()` is the same. */
  readonly intr?: InterruptLine;
  /** `port` is 0 for COM1. */
  readonly serialOutput: (port: number, bytes: Uint8Array) => void;
  /** `slot` is the virtio slot of the console. */
  readonly consoleOutput: (slot: number, bytes: Uint8Array) => void;
  readonly debugConsoleOutput: ByteSink;
  /** The guest wrote to the debug exit port. */
  readonly exit: (code: number) => void;
  /** The guest turned the machine off, in which way. */
  readonly shutdown: (how: string) => void;
  /**
   * The guest asked for a reset, in which way. The machine calls `reset()` when the instruction has ended, not from
   * within this call.
   */
  readonly reset: (how: string) => void;
  readonly setA20: (enabled: boolean) => void;
  readonly onPostCode?: (code: number) => void;
  readonly onNotify?: (notification: VirtqueueNotification) => void;
  readonly onDriverMistake?: (mistake: DriverMistake) => void;
  readonly onUnclaimed?: UnclaimedHook;
}

export interface VirtioSlot {
  readonly slot: number;
  /** Guest-physical address of the registers. */
  readonly base: number;
  readonly irq: number;
  readonly transport: VirtioMmio;
}

export interface PcPlatformView {
  readonly devices: readonly DeviceView[];
  readonly virtio: readonly (VirtioDeviceView & { readonly base: number; readonly irq: number })[];
  readonly ports: readonly Claim[];
  readonly mmio: readonly Claim[];
}

/** State of each device by its name. */
export type PcPlatformState = Record<string, unknown>;

export const VIRTIO_MMIO_BASE = 0xfeb0_0000;
/** By slot: lines that nothing else of this platform uses. */
const VIRTIO_IRQS = [5, 6, 7, 10, 11, 12, 14, 15];
const COM_PORTS = [
  { base: 0x3f8, irq: 4 },
  { base: 0x2f8, irq: 3 },
  { base: 0x3e8, irq: 4 },
  { base: 0x2e8, irq: 3 },
];
/** 2000-01-01 00:00:00 UTC. */
const DEFAULT_EPOCH_SECONDS = 946_684_800;

export class PcPlatform {
  readonly portBus: PortBus;
  readonly mmioBus: MmioBus;
  readonly pic: Pic8259;
  readonly pit: Pit8254;
  readonly rtc: CmosRtc;
  readonly keyboard: Keyboard8042;
  readonly fpuError: FpuError;
  readonly uarts: readonly Uart16550[];
  readonly virtio: readonly VirtioSlot[];
  readonly #ports: PcPlatformPorts;
  /** The PIC is last: when states come back, its own view of its inputs stands. */
  readonly #devices: Device[] = [];
  readonly #timed: TimedDevice[] = [];

  /** @throws Error for a configuration that no PC could have */
  constructor(config: PcPlatformConfig, ports: PcPlatformPorts) {
    this.#ports = ports;
    this.portBus = new PortBus(ports.onUnclaimed);
    this.mmioBus = new MmioBus(ports.onUnclaimed);
    this.pic = new Pic8259(ports.intr);
    const { clock } = ports;
    this.pit = this.#addTimed(new Pit8254({ clock, irq0: this.pic.line(0) }));
    this.#add(this.#port61());
    this.rtc = this.#addTimed(
      new CmosRtc(
        { clock, irq8: this.pic.line(8) },
        { memoryBytes: config.memoryBytes, epochSeconds: config.epochSeconds ?? DEFAULT_EPOCH_SECONDS },
      ),
    );
    this.keyboard = this.#addA20Sources(config.a20AtReset ?? true);
    this.fpuError = this.#add(new FpuError(this.pic.line(13)));
    this.uarts = this.#makeUarts(config.serial ?? 1);
    this.#addDebugPorts(config);
    this.virtio = (config.virtio ?? []).map((slot, index) => this.#makeVirtio(slot, index));
    this.#add(this.pic);
  }

  /** The INTR line. */
  interruptPending(): boolean {
    return this.pic.pendingVector();
  }

  /** The CPU's interrupt acknowledge cycles; returns the vector. */
  acknowledge(): number {
    return this.pic.acknowledge();
  }

  /** Virtual time at which `service` has to be called next, or undefined. */
  nextDeadlineNs(): number | undefined {
    return this.#timed.reduce<number | undefined>((first, device) => earlier(first, device.deadlineNs()), undefined);
  }

  service(nowNs: number): void {
    for (const device of this.#timed) {
      const due = device.deadlineNs();
      if (due !== undefined && due <= nowNs) device.service(nowNs);
    }
  }

  /** As the RESET# line: all devices but the battery-backed clock are in power-on state. */
  reset(): void {
    for (const device of this.#devices) device.reset();
  }

  saveState(): PcPlatformState {
    return Object.fromEntries(this.#devices.map((device) => [device.name, device.saveState()]));
  }

  /** Takes over a state that `saveState` of a platform of the same configuration returned. */
  restoreState(state: PcPlatformState): void {
    for (const device of this.#devices) {
      if (!(device.name in state)) {
        throw new Error(
          `snapshot: expected a state of the device ${device.name}, found ${Object.keys(state).join(', ')}`,
        );
      }
      device.restoreState(state[device.name]);
    }
  }

  describe(): PcPlatformView {
    const transports = new Set<Device>(this.virtio.map(({ transport }) => transport));
    return {
      devices: this.#devices.filter((device) => !transports.has(device)).map((device) => device.describe()),
      virtio: this.virtio.map(({ transport, base, irq }) => ({ ...describeVirtioDevice(transport), base, irq })),
      ports: this.portBus.claims(),
      mmio: this.mmioBus.regions(),
    };
  }

  /** What Linux has to be told on its command line to find the slots: there is no bus to enumerate. */
  virtioKernelParameters(): string[] {
    return this.virtio.map(({ base, irq }) => `virtio_mmio.device=${VIRTIO_MMIO_BYTES}@${hex(base)}:${irq}`);
  }

  #add<T extends Device & PortDevice>(device: T): T {
    this.portBus.register(device);
    this.#devices.push(device);
    return device;
  }

  #addTimed<T extends Device & PortDevice & TimedDevice>(device: T): T {
    this.#timed.push(device);
    return this.#add(device);
  }

  #port61(): Port61 {
    return new Port61({
      clock: this.#ports.clock,
      setGate2: (level) => this.pit.setGate2(level),
      output2: () => this.pit.output2(),
    });
  }

  /** The A20 gate opens if either the keyboard controller or port 0x92 opens it. */
  #addA20Sources(a20AtReset: boolean): Keyboard8042 {
    const gate = { set: this.#ports.setA20 };
    const [fromKeyboard, fromPort92] = wiredOr(gate, 2);
    const keyboard = new Keyboard8042({
      irq1: this.pic.line(1),
      setA20: (enabled) => fromKeyboard?.set(enabled),
      reset: () => this.#ports.reset('the keyboard controller'),
    });
    const port92 = new Port92(
      {
        setA20: (enabled) => fromPort92?.set(enabled),
        reset: () => this.#ports.reset('port 0x92'),
      },
      a20AtReset,
    );
    // Port 0x92 first: a reset never closes the gate in between.
    this.#add(port92);
    return this.#add(keyboard);
  }

  #makeUarts(count: number): Uart16550[] {
    if (!Number.isInteger(count) || count < 0 || count > COM_PORTS.length) {
      throw new Error(`serial: expected 0 to ${COM_PORTS.length} ports, found ${count}`);
    }
    const shared = new Map([3, 4].map((irq) => [irq, wiredOr(this.pic.line(irq), 2)]));
    return COM_PORTS.slice(0, count).map(({ base, irq }, index) => {
      const output: ByteSink = (bytes) => this.#ports.serialOutput(index, bytes);
      const line = shared.get(irq)?.[index >> 1] ?? this.pic.line(irq);
      const uart = new Uart16550(`uart-16550 COM${index + 1}`, base, { clock: this.#ports.clock, irq: line, output });
      return this.#addTimed(uart);
    });
  }

  #addDebugPorts(config: PcPlatformConfig): void {
    this.#add(new PostPort(this.#ports.onPostCode));
    if (config.debugConsole ?? true) this.#add(new DebugConsole(this.#ports.debugConsoleOutput));
    if (config.debugExit !== false) this.#add(new DebugExit(this.#ports.exit, config.debugExit ?? DEBUG_EXIT_PORT));
    if (config.shutdownPorts ?? true) this.#add(new ShutdownPorts(this.#ports.shutdown));
  }

  #makeVirtio(config: VirtioSlotConfig, slot: number): VirtioSlot {
    const irq = VIRTIO_IRQS[slot];
    if (irq === undefined) {
      throw new Error(`virtio: expected at most ${VIRTIO_IRQS.length} devices, found one for slot ${slot}`);
    }
    const device =
      config.kind === 'block'
        ? new VirtioBlock(config.backend, config.id)
        : new VirtioConsole((bytes) => this.#ports.consoleOutput(slot, bytes));
    const { clock, memory, onNotify, onDriverMistake } = this.#ports;
    const transport = new VirtioMmio(`${device.type}@${slot}`, device, {
      clock,
      memory,
      irq: this.pic.line(irq),
      onNotify,
      onDriverMistake,
    });
    const base = VIRTIO_MMIO_BASE + slot * VIRTIO_MMIO_BYTES;
    this.mmioBus.register(base, VIRTIO_MMIO_BYTES, transport);
    this.#devices.push(transport);
    this.#timed.push(transport);
    return { slot, base, irq, transport };
  }
}
