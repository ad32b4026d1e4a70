/**
 * A CPU without an execution: the system instructions over the real MMU and flat RAM, fed with machine code bytes.
 * `step` does what a dispatcher does for one instruction.
 */

import { bindInstruction } from '../../engine/cpu/bind-instruction.ts';
import { GuestFault, UD } from '../../engine/cpu/events.ts';
import type { DecodedInstruction, SystemInstruction } from '../../engine/cpu/instruction.ts';
import { raiseFault } from '../../engine/cpu/interrupts.ts';
import { RAM_ADDRESS } from '../../engine/cpu/memory-map.ts';
import { type CpuModel, createCpuModel } from '../../engine/cpu/model.ts';
import { codeSize } from '../../engine/cpu/modes.ts';
import { type Hooks, Processor, silentHooks } from '../../engine/cpu/processor.ts';
import { enterLongMode, enterProtectedMode, enterRealMode } from '../../engine/cpu/reset.ts';
import { CpuState, SS } from '../../engine/cpu/state.ts';
import { systemInstructionKey, systemInstructions } from '../../engine/cpu/system-table.ts';
import { decodeOne } from '../../engine/isa/decode.ts';
import { plus } from '../../engine/isa/linear-address.ts';
import { Mmu } from '../../engine/mmu/mmu.ts';
import { PhysicalMemory } from '../../engine/mmu/physical-memory.ts';

export const RAM_BYTES = 0x10_0000;
export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
export const PAGE_TABLES = 0x4000;
export const CODE = 0x8000;
export const STACK = 0x9000;
export const STACK0 = 0xa000;

const pages = (RAM_ADDRESS + RAM_BYTES) / 0x1_0000;
export const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
const { buffer } = memory;

/** Names of descriptors in the test GDT, with their selectors. */
export const sel = {
  code32: 0x08,
  data: 0x10,
  code64: 0x18,
  userData: 0x20 | 3,
  userCode32: 0x28 | 3,
  userCode64: 0x30 | 3,
  tss: 0x38,
  ldt: 0x48,
  conforming: 0x58,
  executeOnly: 0x60,
  notPresent: 0x68,
  readOnly: 0x70,
  code16: 0x78,
  expandDown: 0x80,
  gate: 0x88,
} as const;

const flatDescriptors: readonly (readonly [number, bigint])[] = [
  [sel.code32, 0x00cf_9a00_0000_ffffn],
  [sel.data, 0x00cf_9200_0000_ffffn],
  [sel.code64, 0x00af_9a00_0000_ffffn],
  [sel.userData, 0x00cf_f200_0000_ffffn],
  [sel.userCode32, 0x00cf_fa00_0000_ffffn],
  [sel.userCode64, 0x00af_fa00_0000_ffffn],
  [sel.tss, 0x0000_8900_3000_0067n],
  [sel.ldt, 0x0000_8200_5000_0027n],
  [sel.conforming, 0x00cf_9e00_0000_ffffn],
  [sel.executeOnly, 0x00cf_9800_0000_ffffn],
  [sel.notPresent, 0x00cf_1200_0000_ffffn],
  [sel.readOnly, 0x00cf_9000_0000_ffffn],
  [sel.code16, 0x0000_9a00_0000_ffffn],
  [sel.expandDown, 0x0040_9600_0000_0fffn],
];

export class TestMachine {
  readonly state = new CpuState(buffer);
  readonly physical = new PhysicalMemory(buffer, RAM_BYTES);
  readonly mmu = new Mmu(this.state, this.physical, 39);
  readonly model: CpuModel;
  readonly cpu: Processor;
  readonly portWrites: string[] = [];
  portValue = 0;
  clock = 0n;

  constructor(hooks: Partial<Hooks> = {}, model = createCpuModel()) {
    this.model = model;
    this.physical.bytes.fill(0);
    const ports = {
      read: () => this.portValue,
      write: (port: number, size: number, value: number) => {
        this.portWrites.push(`${port.toString(16)}/${size}=${value.toString(16)}`);
      },
    };
    this.cpu = new Processor({
      state: this.state,
      memory: this.mmu,
      tlb: this.mmu,
      ports,
      model: this.model,
      tscNow: () => BigInt.asUintN(64, this.clock + this.state.tscAdjust),
      hooks: { ...silentHooks, ...hooks },
    });
  }

  /** Real-address mode at 0000:8000 with the stack below 9000H. */
  real(): this {
    enterRealMode(this.cpu, { cs: 0, ip: CODE, sp: STACK });
    return this;
  }

  /** 32-bit protected mode without paging. */
  protected(cpl = 0): this {
    this.writeGdt();
    const gdt = { base: GDT, limit: 0xff, codeSelector: sel.code32, dataSelector: sel.data };
    enterProtectedMode(this.cpu, { rip: CODE, rsp: STACK, gdt });
    this.finishProtected(cpl, sel.userCode32, 0x7ff);
    return this;
  }

  /** 64-bit mode; the first 2 MiB mapped one to one, for user mode too. */
  long(cpl = 0): this {
    this.writeGdt();
    for (const [index, at] of [0, 0x1000, 0x2000].entries()) {
      const next = PAGE_TABLES + at + 0x1000;
      this.u64(PAGE_TABLES + at, index === 2 ? 0x87n : BigInt(next) | 7n);
    }
    const gdt = { base: GDT, limit: 0xff, codeSelector: sel.code64, dataSelector: sel.data };
    enterLongMode(this.cpu, { rip: CODE, rsp: STACK, cr3: PAGE_TABLES, gdt });
    this.finishProtected(cpl, sel.userCode64, 0xfff);
    return this;
  }

  private writeGdt(): void {
    for (const [selector, descriptor] of flatDescriptors) this.u64(GDT + (selector & ~7), descriptor);
  }

  private finishProtected(cpl: number, userCode: number, idtLimit: number): void {
    this.state.idtrBase = IDT;
    this.state.idtrLimit = idtLimit;
    this.state.setGpr(0, BigInt(sel.tss));
    this.run('0f 00 d8'); // LTR AX
    if (cpl === 3) this.dropToUser(userCode);
    this.state.setGpr(0, 0n);
    this.state.rip = CODE;
  }

  /** Goes to ring 3 by IRET, as an operating system does. */
  private dropToUser(userCode: number): void {
    const { state } = this;
    const wide = codeSize(state) === 64;
    const frame = [CODE, userCode, 2, STACK, sel.userData];
    for (const [index, value] of frame.entries()) {
      if (wide) this.u64(STACK - 40 + index * 8, BigInt(value));
      else this.u32(STACK - 20 + index * 4, value);
    }
    state.setGprLinear(4, STACK - frame.length * (wide ? 8 : 4));
    this.run(wide ? '48 cf' : 'cf');
    this.load(3, sel.userData);
  }

  /** Loads a data segment register (3 = DS) from a selector, in the mode in force. */
  load(index: number, selector: number): void {
    this.state.setGpr(0, BigInt(selector));
    this.run(`8e ${(0xc0 | (index << 3)).toString(16)}`);
  }

  /** Runs one instruction and throws what it throws; RIP advances as the dispatcher would make it. */
  run(hex: string): void {
    const { state } = this;
    const bytes = Uint8Array.from(hex.split(' ').map((byte) => Number.parseInt(byte, 16)));
    const decoded = decodeOne(bytes, codeSize(state), state.rip);
    if (decoded === undefined) throw UD();
    const insn = bindInstruction(state, decoded, state.rip);
    const key = systemInstructionKey(insn);
    const execute = systemInstructions[key];
    if (execute === undefined) throw new Error(`no system instruction ${key}`);
    this.execute(execute, insn);
  }

  /** Carries out an instruction as the dispatcher does; a VM exit that takes its place is thrown like all others. */
  protected execute(instruction: SystemInstruction, insn: DecodedInstruction): void {
    const { state, cpu } = this;
    cpu.transferred = false;
    instruction(cpu, insn);
    const exit = cpu.vmExit;
    cpu.vmExit = undefined;
    if (exit) throw exit;
    if (!cpu.transferred) state.rip = insn.nextIp;
  }

  /** Runs one instruction and delivers its fault, if any. */
  step(hex: string): void {
    try {
      this.run(hex);
    } catch (thrown) {
      if (!(thrown instanceof GuestFault)) throw thrown;
      raiseFault(this.cpu, thrown);
    }
  }

  /** The fault an instruction throws, as `GP(10)` in hexadecimal; checks that registers stay as they were. */
  faultOf(hex: string): string {
    const before = this.state.bytes.slice();
    try {
      this.run(hex);
    } catch (thrown) {
      if (!(thrown instanceof GuestFault)) throw thrown;
      const after = this.state.bytes;
      for (let at = 0; at < after.length; at++) {
        if (after[at] !== before[at]) throw new Error(`${hex}: state changed at ${at.toString(16)}`);
      }
      return nameOf(thrown);
    }
    return 'none';
  }

  u64(address: number, value: bigint): void {
    this.physical.writeU64(address, BigInt.asUintN(64, value));
  }
  u32(address: number, value: number): void {
    this.physical.writeU32(address, value >>> 0);
  }
  u16(address: number, value: number): void {
    this.physical.writeU16(address, value);
  }

  /** A gate in the IDT: 8 bytes outside IA-32e mode, 16 within. Type: 14 interrupt, 15 trap. */
  gate(vector: number, selector: number, offset: number, options: { type?: number; dpl?: number; ist?: number } = {}) {
    const long = (this.state.efer & 0x400) !== 0;
    const at = IDT + vector * (long ? 16 : 8);
    const attributes = 0x80 | ((options.dpl ?? 0) << 5) | (options.type ?? 14);
    this.u32(at, (selector << 16) | (offset & 0xffff));
    this.u32(at + 4, (offset & 0xffff_0000) | (attributes << 8) | (options.ist ?? 0));
    if (long) this.u32(at + 8, Math.floor(offset / 0x1_0000_0000));
  }

  /** Values on the stack from SS:(E/R)SP upwards, for flat stacks. */
  stack(count: number, sizeBytes: 2 | 4 | 8): number[] {
    const base = Number(plus(this.state.segment(SS).base, this.state.gprLinear(4)));
    return Array.from({ length: count }, (_, index) => {
      const at = base + index * sizeBytes;
      if (sizeBytes === 8) return Number(this.physical.readU64(at));
      return sizeBytes === 4 ? this.physical.readU32(at) : this.physical.readU16(at);
    });
  }
}

const names: Readonly<Record<number, string>> = {
  0: 'DE', 1: 'DB', 6: 'UD', 7: 'NM', 8: 'DF', 10: 'TS', 11: 'NP', 12: 'SS', 13: 'GP', 14: 'PF', 16: 'MF',
}; // biome-ignore format: one row

function nameOf({ vector, errorCode }: GuestFault): string {
  const name = names[vector] ?? `#${vector}`;
  return errorCode === undefined ? name : `${name}(${errorCode.toString(16)})`;
}
