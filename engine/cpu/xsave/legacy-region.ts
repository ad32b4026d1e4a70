/** The 512 bytes of FXSAVE, with which an XSAVE area begins (SDM volume 1, "Legacy Region of an XSAVE Area"). */
import { type LinearAddress, plus } from '../../isa/linear-address.ts';
import { is64Bit } from '../modes.ts';
import { Privilege, type Processor } from '../processor.ts';
import type { CpuState } from '../state.ts';
import { fieldAddress, vectorAddress, X87_REGISTERS } from '../state-layout.ts';
import { physical, setControlWord, setStatusWord } from '../x87/register-stack.ts';
import { MXCSR_MASK } from './components.ts';

export const LEGACY_BYTES = 512;
const OFFSET = { FIP: 8, FDP: 16, MXCSR: 24, MXCSR_MASK: 28, ST: 32, XMM: 160 } as const;

/** XMM8 to XMM15 exist in 64-bit mode only, and so do their places. */
const vectorCount = ({ state }: Processor): number => (is64Bit(state) ? 16 : 8);

/** With REX.W the pointers are of 64 bits, else of 32 with a selector above. */
export type Pointers = '32-bit' | '64-bit';

export function saveX87(cpu: Processor, linear: LinearAddress, pointers: Pointers): void {
  const { state, memory } = cpu;
  const { view, fcw, fsw, ftw, fop, fcs, fds } = state;
  const write = (offset: number, value: bigint) => memory.writeU64(plus(linear, offset), value, Privilege.Current);
  write(0, BigInt(fcw) | (BigInt(fsw) << 16n) | (BigInt(ftw) << 32n) | (BigInt(fop) << 48n));
  for (const [offset, field, selector] of [
    [OFFSET.FIP, 'fip', fcs],
    [OFFSET.FDP, 'fdp', fds],
  ] as const) {
    const whole = view.getBigUint64(fieldAddress[field], true);
    write(offset, pointers === '64-bit' ? whole : (whole & 0xffff_ffffn) | (BigInt(selector) << 32n));
  }
  for (let i = 0; i < X87_REGISTERS; i++) {
    const value = state.x87Register(physical(state, i));
    write(OFFSET.ST + 16 * i, BigInt.asUintN(64, value));
    write(OFFSET.ST + 16 * i + 8, value >> 64n);
  }
}

export function saveMxcsr({ state, memory }: Processor, linear: LinearAddress): void {
  memory.writeU32(plus(linear, OFFSET.MXCSR), state.mxcsr, Privilege.Current);
  memory.writeU32(plus(linear, OFFSET.MXCSR_MASK), MXCSR_MASK, Privilege.Current);
}

/** `half`: 0 the XMM registers, 16 the upper halves; register n goes to `linear` + 16 n. */
export function saveHalves(cpu: Processor, linear: LinearAddress, half: 0 | 16): void {
  const { view } = cpu.state;
  for (let n = 0; n < vectorCount(cpu); n++) {
    const from = vectorAddress(n) + half;
    cpu.memory.writeU64(plus(linear, 16 * n), view.getBigUint64(from, true), Privilege.Current);
    cpu.memory.writeU64(plus(linear, 16 * n + 8), view.getBigUint64(from + 8, true), Privilege.Current);
  }
}

export const saveXmm = (cpu: Processor, linear: LinearAddress): void => saveHalves(cpu, plus(linear, OFFSET.XMM), 0);

/** What to put into the state once everything has been read, as reading may fault. */
export type Commit = (state: CpuState) => void;

export function loadX87(cpu: Processor, linear: LinearAddress, pointers: Pointers): Commit {
  const { memory } = cpu;
  const read = (offset: number) => memory.readU64(plus(linear, offset), Privilege.Current);
  const [words, fip, fdp] = [read(0), read(OFFSET.FIP), read(OFFSET.FDP)];
  const registers = Array.from(
    { length: X87_REGISTERS },
    (_, i) => read(OFFSET.ST + 16 * i) | ((read(OFFSET.ST + 16 * i + 8) & 0xffffn) << 64n),
  );
  const word = (n: number) => Number((words >> BigInt(16 * n)) & 0xffffn);
  return (state) => {
    state.fcw = word(0);
    setStatusWord(state, word(1));
    setControlWord(state, word(0));
    state.ftw = word(2) & 0xff;
    state.fop = word(3) & 0x7ff;
    loadPointer(state, ['fip', 'fcs'], fip, pointers);
    loadPointer(state, ['fdp', 'fds'], fdp, pointers);
    for (const [i, value] of registers.entries()) state.setX87Register(physical(state, i), value);
  };
}

function loadPointer(
  state: CpuState,
  [field, selector]: readonly ['fip', 'fcs'] | readonly ['fdp', 'fds'],
  image: bigint,
  pointers: Pointers,
): void {
  const isWide = pointers === '64-bit';
  state.view.setBigUint64(fieldAddress[field], isWide ? image : image & 0xffff_ffffn, true);
  state[selector] = isWide ? 0 : Number((image >> 32n) & 0xffffn);
}

export const readMxcsr = ({ memory }: Processor, linear: LinearAddress): number =>
  memory.readU32(plus(linear, OFFSET.MXCSR), Privilege.Current);

export function loadHalves(cpu: Processor, linear: LinearAddress, half: 0 | 16): Commit {
  const count = vectorCount(cpu);
  const values = Array.from({ length: 2 * count }, (_, n) =>
    cpu.memory.readU64(plus(linear, 8 * n), Privilege.Current),
  );
  return ({ view }) => {
    for (const [n, value] of values.entries()) {
      view.setBigUint64(vectorAddress(n >> 1) + half + 8 * (n & 1), value, true);
    }
  };
}

export const loadXmm = (cpu: Processor, linear: LinearAddress): Commit => loadHalves(cpu, plus(linear, OFFSET.XMM), 0);

/** Zeroes the halves of the registers that the mode has. */
export function clearHalves(cpu: Processor, half: 0 | 16): Commit {
  const count = vectorCount(cpu);
  return ({ view }) => {
    for (let n = 0; n < count; n++) {
      view.setBigUint64(vectorAddress(n) + half, 0n, true);
      view.setBigUint64(vectorAddress(n) + half + 8, 0n, true);
    }
  };
}
