/**
 * The local APICs of a bare machine: one for each vCPU, reached at its IA32_APIC_BASE by whoever runs, joined to the
 * 8259 (through LINT0 of the bootstrap processor), to virtual time and to their processors.
 */
import { CRYSTAL_HZ } from '../cpu/cpuid.ts';
import { Unimplemented } from '../cpu/events.ts';
import { APIC_BASE } from '../cpu/register-bits.ts';
import { ApicBus } from '../devices/apic-bus.ts';
import { APIC_BYTES, APIC_REGISTER } from '../devices/apic-registers.ts';
import { earlier } from '../devices/device.ts';
import { LocalApic } from '../devices/local-apic.ts';
import type { MmioBus } from '../mmu/physical-memory.ts';
import type { Host } from './host.ts';

const TICK_NS = 1_000_000_000 / CRYSTAL_HZ;

/** What the APICs need of the machine. */
export interface ApicPorts {
  /** Interrupt acknowledge cycles of the 8259. */
  readonly acknowledgeExternal: () => number;
  readonly init: (vcpu: number) => void;
  readonly startUp: (vcpu: number, vector: number) => void;
  readonly nmi: (vcpu: number) => void;
}

export class LocalApics implements MmioBus {
  readonly apics: readonly LocalApic[];
  readonly #host: Host;
  readonly #beyond: MmioBus;

  /** @param beyond answers for all other addresses */
  constructor(host: Host, cpus: number, beyond: MmioBus, ports: ApicPorts) {
    this.#host = host;
    this.#beyond = beyond;
    const bus = new ApicBus();
    const clock = () => host.clock.nowNs;
    this.apics = Array.from({ length: cpus }, (_, id) => {
      const processor = this.#processorOf(id, ports);
      return new LocalApic({ id, clock, tickNs: TICK_NS, bus, processor });
    });
    this.apics[0]?.enterVirtualWireMode();
    host.processor.localApic = {
      taskPriorityWritten: (cr8) => this.loaded.setTaskPriorityClass(cr8),
      endOfInterrupt: () => this.loaded.write(APIC_REGISTER.EOI, 4, 0),
      baseWritten: (base) => this.#baseWritten(base),
    };
  }

  #processorOf(vcpu: number, ports: ApicPorts) {
    const { runtime, state, processor } = this.#host;
    return {
      interruptChanged: () => {
        runtime.stopRequested = true;
      },
      nmi: () => ports.nmi(vcpu),
      smi: () => {
        throw new Unimplemented('system-management interrupt (SMI)');
      },
      init: () => ports.init(vcpu),
      startUp: (vector: number) => ports.startUp(vcpu, vector),
      // Only a processor itself writes its registers, so it is the loaded one.
      taskPriorityClass: (priorityClass: number) => {
        const before = state.cr8;
        state.cr8 = priorityClass;
        processor.hooks.controlRegisterWritten('CR8', before, priorityClass);
      },
      acknowledgeExternal: ports.acknowledgeExternal,
    };
  }

  of(vcpu: number): LocalApic {
    const apic = this.apics[vcpu];
    if (!apic) throw new Error(`internal: no local APIC of vCPU ${vcpu}`);
    return apic;
  }
  get loaded(): LocalApic {
    return this.of(this.#host.loaded);
  }

  /** The INTR output of the 8259. */
  setExternal(level: boolean): void {
    this.of(0).setPin(0, level);
  }

  #baseWritten(base: number): void {
    const enabled = (base & APIC_BASE.ENABLE) !== 0;
    if (enabled && this.#host.physical.isRam(pageOf(base))) {
      throw new Unimplemented('IA32_APIC_BASE: registers of the local APIC over RAM');
    }
    this.loaded.setPresent(enabled);
  }

  deadlineNs(): number | undefined {
    return this.apics.reduce<number | undefined>((first, apic) => earlier(first, apic.deadlineNs()), undefined);
  }
  service(nowNs: number): void {
    for (const apic of this.apics) {
      const due = apic.deadlineNs();
      if (due !== undefined && due <= nowNs) apic.service();
    }
  }

  // ---- physical addresses outside of RAM, as the loaded vCPU reaches them -------------------------------------------

  read(address: number, sizeBytes: number): number {
    const offset = this.#offset(address);
    return offset === undefined ? this.#beyond.read(address, sizeBytes) : this.loaded.read(offset, sizeBytes);
  }
  peek(address: number, sizeBytes: number): number {
    const offset = this.#offset(address);
    return offset === undefined ? this.#beyond.peek(address, sizeBytes) : this.loaded.peek(offset, sizeBytes);
  }
  write(address: number, sizeBytes: number, value: number): void {
    const offset = this.#offset(address);
    if (offset === undefined) this.#beyond.write(address, sizeBytes, value);
    else this.loaded.write(offset, sizeBytes, value);
  }

  #offset(address: number): number | undefined {
    const base = this.#host.state.apicBase;
    const offset = address - pageOf(base);
    return offset >= 0 && offset < APIC_BYTES && base & APIC_BASE.ENABLE ? offset : undefined;
  }

  saveState() {
    return this.apics.map((apic) => apic.saveState());
  }
  restoreState(saved: ReturnType<LocalApics['saveState']>): void {
    for (const [vcpu, apic] of this.apics.entries()) apic.restoreState(saved[vcpu] as (typeof saved)[number]);
  }
}

/** The bits of IA32_APIC_BASE above bit 11: the address. */
const pageOf = (base: number): number => base - (base % APIC_BYTES);
