/**
 * The physical machine: memory, processors and the two executions, wired. vCPUs share one wasm memory; the state of the
 * one that runs is at its fixed place, the others' lie in copies.
 */

import { type CpuConfig, findCpuModel, nominalFeatures } from '../cpu/cpu-models.ts';
import { type CpuOptions, PHYSICAL_ADDRESS_BITS } from '../cpu/cpuid.ts';
import { isDebugFault } from '../cpu/debug-exceptions.ts';
import type { GuestFault } from '../cpu/events.ts';
import {
  ALL_WATCHED,
  LINEAR_TLB_BYTES,
  LINEAR_TLBS,
  LINEAR_TLBS_ADDRESS,
  RAM_ADDRESS,
  STATE_ADDRESS,
  STATE_BYTES,
  WATCHED,
  WATCHED_ADDRESS,
} from '../cpu/memory-map.ts';
import { createCpuModel } from '../cpu/model.ts';
import { type Hooks, type Intercepts, type Ports, Processor } from '../cpu/processor.ts';
import { ACTIVITY } from '../cpu/register-bits.ts';
import { CpuState, readSigned } from '../cpu/state.ts';
import { type FieldName, fieldAddress } from '../cpu/state-layout.ts';
import { systemInstructions } from '../cpu/system-table.ts';
import type { HardwareVirtualization } from '../cpu/virtualization.ts';
import { CodeCache } from '../exec/code-cache.ts';
import type { HotSpotOptions } from '../exec/compiler/hot-spots.ts';
import { EventKind } from '../exec/event-delivery.ts';
import { Executor, type ExecutorOwner } from '../exec/executor.ts';
import { HandlerLibrary } from '../exec/handler-library.ts';
import { Runtime } from '../exec/runtime.ts';
import { type RuntimeFunctions, runtimeTable } from '../exec/runtime-functions.ts';
import { refillFunctions } from '../exec/tlb-refill.ts';
import { availabilityOf } from '../isa/availability.ts';
import { writeLinearAddress } from '../isa/linear-address.ts';
import { Mmu } from '../mmu/mmu.ts';
import { PhysicalMemory } from '../mmu/physical-memory.ts';
import { type SavedTranslations, TranslationContext } from '../mmu/translation-context.ts';
import { Svm } from '../svm/svm.ts';
import { svmMsrs } from '../svm/svm-msrs.ts';
import { vmxCapabilityMsrs } from '../vmx/capability-msrs.ts';
import type { ExitLog } from '../vmx/exit-log.ts';
import type { KnownVmcss } from '../vmx/known-vmcss.ts';
import { Vmx } from '../vmx/vmx.ts';
import { VirtualClock } from './clock.ts';
import { MonitoredLines, type StatePlace } from './monitored-lines.ts';

const WASM_PAGE_BYTES = 0x1_0000;

/** Offset of a field in the copy of a state. */
const readU32 = (view: DataView, at: number): number => view.getUint32(at, true);
/** Where the linear mappings of a vCPU lie; undefined: outside of the wasm memory. */
function linearTlbOf(buffer: ArrayBuffer, vcpu: number) {
  return vcpu < LINEAR_TLBS ? { buffer, address: LINEAR_TLBS_ADDRESS + vcpu * LINEAR_TLB_BYTES } : undefined;
}

/** What of a vCPU is exchanged when another one runs. */
interface Parked {
  readonly state: Uint8Array;
  /** Of the same bytes. */
  readonly view: DataView;
  readonly translation: TranslationContext;
  intercepts: Intercepts | undefined;
}

export interface SavedHost {
  readonly loaded: number;
  readonly states: readonly Uint8Array[];
  readonly translations: readonly SavedTranslations[];
  readonly clock: ReturnType<VirtualClock['saveState']>;
}

export interface HostConfig {
  readonly ramBytes: number;
  readonly cpus: number;
  readonly ports: Ports;
  readonly hooks: Hooks;
  readonly owner: ExecutorOwner;
  /** Whether the processors have local APICs. */
  readonly localApic: boolean;
  readonly cpu?: CpuConfig | undefined;
  /** When code is compiled, if not as is usual. */
  readonly hotSpots?: HotSpotOptions;
  /** How many handlers of instruction forms are kept, if not as many as there is room for. */
  readonly handlerRoom?: number;
}

/** What the processors are, by the configuration. */
function cpuOptions({ cpu = {}, cpus, localApic }: HostConfig) {
  const model = findCpuModel(cpu.model);
  if (!model) throw new Error(`there is no CPU model ${cpu.model}`);
  const hasFeature = nominalFeatures(model, cpu);
  const hasApic = localApic && hasFeature('APIC');
  const { randomSeed = 0 } = cpu;
  return {
    model,
    hasFeature,
    randomSeed,
    localApic: hasApic,
    processors: hasApic ? cpus : 1,
  } satisfies Partial<CpuOptions>;
}

export class Host {
  readonly clock = new VirtualClock();
  readonly state: CpuState;
  readonly physical: PhysicalMemory;
  readonly mmu: Mmu;
  readonly processor: Processor;
  readonly vmx: Vmx;
  readonly svm: Svm;
  /** That of the two which the model has; VT-x if it has neither. */
  readonly virtualization: HardwareVirtualization;
  readonly runtime: Runtime;
  /** What compiled code calls back. */
  readonly runtimeFunctions: RuntimeFunctions;
  readonly codeCache: CodeCache;
  readonly library: HandlerLibrary;
  readonly executor: Executor;
  readonly #parked: Parked[] = [];
  readonly #monitored: MonitoredLines;
  #loaded = 0;

  constructor(config: HostConfig) {
    const pages = Math.ceil((RAM_ADDRESS + PhysicalMemory.bytesFor(config.ramBytes)) / WASM_PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.state = new CpuState(memory.buffer);
    this.physical = new PhysicalMemory(memory.buffer, config.ramBytes);
    const options = cpuOptions(config);
    const pages1GB = options.hasFeature('Page1GB');
    this.mmu = new Mmu(this.state, this.physical, PHYSICAL_ADDRESS_BITS, pages1GB);
    this.processor = new Processor({
      state: this.state,
      memory: this.mmu,
      tlb: this.mmu,
      ports: config.ports,
      model: createCpuModel(options, [...vmxCapabilityMsrs, ...svmMsrs]),
      tscNow: () => BigInt.asUintN(64, BigInt(this.clock.nowNs) + this.state.tscAdjust),
      hooks: config.hooks,
    });
    this.vmx = new Vmx(this.processor, this.mmu, this.physical, memory);
    this.svm = new Svm(this.processor, this.mmu, this.physical);
    this.virtualization = this.processor.model.has('SVM') ? this.svm : this.vmx;
    this.runtime = new Runtime({
      processor: this.processor,
      mmu: this.mmu,
      systemInstructions: { ...systemInstructions, ...this.vmx.instructions, ...this.svm.instructions },
    });
    const inTypeScript = this.runtime.functions();
    const refill = refillFunctions(memory, inTypeScript, PHYSICAL_ADDRESS_BITS, pages1GB);
    this.runtimeFunctions = { ...inTypeScript, ...refill };
    this.vmx.compiledExit = () => this.library.leaveGuest;
    this.runtime.onSwitched = () => this.vmx.followSwitch();
    this.vmx.onBoundaryWanted = () => {
      this.runtime.stopRequested = true;
    };
    this.library = new HandlerLibrary(memory, runtimeTable(inTypeScript, refill), config.handlerRoom);
    // What a model that is not restricted does not know is left to be named when it is met.
    const isRestricted = config.cpu?.model !== undefined || config.cpu?.features !== undefined;
    const availability = isRestricted ? availabilityOf(this.processor.model.has) : undefined;
    this.codeCache = new CodeCache(this.physical, this.library, availability);
    this.codeCache.onCodePage = (page) => this.mmu.dropWriteTagsOfPage(page);
    const { processor, mmu, codeCache: cache, library, runtime } = this;
    this.executor = new Executor({
      processor,
      mmu,
      cache,
      library,
      runtime,
      owner: config.owner,
      hotSpots: config.hotSpots,
    });
    this.mmu.onCodeMappingsChanged = (_linear, _lengthBytes, world) => this.executor.translationsChanged(world);
    this.watch(ALL_WATCHED);
    this.clock.executing = () => this.#executing();
    for (let index = 0; index < config.cpus; index++) {
      const state = new Uint8Array(STATE_BYTES);
      const view = new DataView(state.buffer);
      view.setUint32(fieldAddress.initialApicId - STATE_ADDRESS, index, true);
      this.#parked.push({
        state,
        view,
        translation: new TranslationContext(linearTlbOf(memory.buffer, index), config.cpu?.pagingStructureCaches),
        intercepts: undefined,
      });
    }
    this.mmu.vcpu = (this.#parked[0] as Parked).translation;
    this.#monitored = new MonitoredLines(
      this.physical,
      this.#parked.map((_, index) => () => this.#placeOf(index)),
      (page) => this.mmu.dropWriteTagsOfPage(page),
    );
    this.processor.onMonitor = () => this.#monitored.refresh();
  }

  /** Index of the vCPU whose state is loaded. */
  get loaded(): number {
    return this.#loaded;
  }

  /** Makes a vCPU the one that runs and is inspected. */
  load(index: number): void {
    if (index === this.#loaded) return;
    const next = this.#parked[index];
    const current = this.#parked[this.#loaded] as Parked;
    if (!next) throw new Error(`no vCPU ${index}`);
    const { budget } = this.state;
    current.state.set(this.state.bytes);
    current.intercepts = this.processor.intercepts;
    this.state.bytes.set(next.state);
    // The rest of the slice is nobody's own.
    this.state.budget = budget;
    this.processor.intercepts = next.intercepts;
    this.clock.turnsTo(index);
    this.#loaded = index;
    // This drops what is fast, and what the executor knows of code.
    this.mmu.vcpu = next.translation;
  }

  /** A copy of all processors and of the time, for `restore`. Memory is not part of it. */
  save(): SavedHost {
    const states = this.states().map((state) => state.slice());
    const translations = this.#parked.map(({ translation }) => translation.save());
    return { loaded: this.#loaded, states, translations, clock: this.clock.saveState() };
  }
  /** Puts saved processors back; to be called once memory is as it was. */
  restore({ loaded, states, translations, clock }: SavedHost): void {
    const { budget } = this.state;
    this.clock.restoreState(clock);
    for (const [index, parked] of this.#parked.entries()) {
      parked.state.set(states[index] as Uint8Array);
      parked.translation.restore(translations[index] as SavedTranslations);
      this.state.bytes.set(parked.state);
      this.virtualization.stateReplaced();
      parked.intercepts = this.processor.intercepts;
    }
    const { state, translation, intercepts } = this.#parked[loaded] as Parked;
    this.#loaded = loaded;
    this.state.bytes.set(state);
    this.state.budget = budget;
    this.processor.intercepts = intercepts;
    this.mmu.dropWriteTags();
    this.mmu.vcpu = translation;
    this.#monitored.refresh();
  }

  /** Activity state of a vCPU, which need not be loaded. */
  activityState(index: number): number {
    return this.#fieldOf(index, 'activityState');
  }

  /** A field of 32 bits or, as a signed number, of 64 of a vCPU's state. */
  #fieldOf(index: number, field: FieldName, read = readU32): number {
    const { view, origin } = this.#placeOf(index);
    return read(view, origin + fieldAddress[field]);
  }
  #placeOf(index: number): StatePlace {
    const { view } = this.#parked[index] as Parked;
    return index === this.#loaded ? { view: this.state.view, origin: 0 } : { view, origin: -STATE_ADDRESS };
  }

  /** Whether the processors have AMD-V. */
  get hasSvm(): boolean {
    return this.virtualization === this.svm;
  }
  /** VM exits or #VMEXITs. */
  get exitLog(): ExitLog {
    return this.hasSvm ? this.svm.exitLog : this.vmx.exitLog;
  }
  /** VMCSs or VMCBs that software has named. */
  get knownVmcss(): KnownVmcss {
    return this.hasSvm ? this.svm.parts.known : this.vmx.parts.known;
  }
  /** Whether the guest of AMD-V runs on a vCPU. */
  isInGuestMode(index: number): boolean {
    return this.#fieldOf(index, 'svmGuest') !== 0;
  }

  /** Host-physical address of a vCPU's current VMCS, or of the VMCB of its last VMRUN. */
  currentVmcs(index: number): number | undefined {
    if (this.hasSvm) return this.#fieldOf(index, 'vmcb', readSigned) || undefined;
    return this.#fieldOf(index, 'currentVmcsValid') ? this.#fieldOf(index, 'currentVmcs', readSigned) : undefined;
  }

  /** Whether a vCPU waits in VMX non-root operation, halted or in shutdown. */
  waitsInGuest(index: number): boolean {
    const activityState = this.activityState(index);
    const waits = activityState === ACTIVITY.HLT || activityState === ACTIVITY.SHUTDOWN;
    return waits && this.#fieldOf(index, 'nonRoot') !== 0;
  }

  /** When the VMX-preemption timer of a vCPU expires, in nanoseconds; undefined while it is not active. */
  preemptionDeadline(index = this.#loaded): number | undefined {
    return this.#fieldOf(index, 'preemptionDeadline', readSigned) || undefined;
  }

  /** The state of every vCPU, in order; that of the loaded one is live. */
  states(): Uint8Array[] {
    return this.#parked.map(({ state }, index) => (index === this.#loaded ? this.state.bytes : state));
  }

  /** Runs a piece of work with another vCPU loaded. */
  with<T>(index: number, work: () => T): T {
    const before = this.#loaded;
    this.load(index);
    try {
      return work();
    } finally {
      this.load(before);
    }
  }

  /**
   * What is watched (WATCHED bits), of all vCPUs, goes through the functions that tell the hooks. All is until the owner says
   * what is. Debug registers are the guest's matter, whatever is given here.
   */
  watch(bits: number): void {
    const { view } = this.state;
    const guests = view.getUint32(WATCHED_ADDRESS, true) & WATCHED.debugRegisters;
    view.setUint32(WATCHED_ADDRESS, guests | (bits & ~WATCHED.debugRegisters), true);
  }

  /** Delivers an exception of the instruction at RIP if nothing about it is out of the ordinary; else does nothing. */
  deliverFast(fault: GuestFault): boolean {
    const { vector, errorCode, linear } = fault;
    if (this.processor.intercepts?.onException || isDebugFault(fault)) return false;
    const kind = errorCode === undefined ? EventKind.Fault : EventKind.Fault | EventKind.ErrorCode;
    if (this.library.deliverEvent(vector, errorCode ?? 0, kind) === 0) return false;
    if (linear !== undefined) writeLinearAddress(this.state.view, fieldAddress.cr2, linear);
    return true;
  }

  #executing(): number {
    const { currentRecord } = this.runtime;
    return currentRecord ? this.executor.executedBefore(currentRecord) : this.executor.budget.executed;
  }
}
