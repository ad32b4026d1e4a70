/** The machine that the recorded vectors assume (test/vectors/README.md), for the oracle to run on. */
import { type ExtendedState, type OracleAccess, OracleException, type OracleMachine } from '../../engine/isa/oracle.ts';
import { toEngine } from '../support/extended-state.ts';
import { instructionAddress, type Region, regionContents, regionsOf } from '../vectors/layout.ts';
import type { Vector } from '../vectors/read-vectors.ts';

const SS = 2;

export class VectorPageFault extends OracleException {
  readonly linearAddress: bigint;

  constructor(linearAddress: bigint, errorCode: number) {
    super(14, errorCode);
    this.linearAddress = linearAddress;
  }
}

/** Regions are filled once, and copied for a vector only when it writes. */
const pristine = new Map<Region, Uint8Array>();
function pristineContents(region: Region): Uint8Array {
  let bytes = pristine.get(region);
  if (!bytes) pristine.set(region, (bytes = regionContents(region)));
  return bytes;
}

export class VectorMachine implements OracleMachine {
  readonly gpr: bigint[];
  readonly extended: ExtendedState;
  rflags: number;
  rip: bigint;
  readonly codeSegmentLimit: bigint;
  /** Bytes that the vector or the instruction wrote, by linear address. */
  readonly written = new Map<number, number>();
  readonly #vector: Vector;

  constructor(vector: Vector) {
    this.#vector = vector;
    this.gpr = [...vector.input.gpr];
    this.extended = toEngine(vector.input.extended);
    this.rflags = vector.input.flags;
    this.rip = vector.input.rip;
    this.codeSegmentLimit = vector.mode === 16 ? 0xffffn : 0xffff_ffffn;
    this.poke(instructionAddress(vector.mode), vector.bytes);
    for (const { address, bytes } of vector.input.memory) this.poke(address, bytes);
  }

  poke(address: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      this.written.set(address + i, byte);
    });
  }

  /** The byte at a linear address, or undefined where nothing is. */
  peek(address: number): number | undefined {
    const written = this.written.get(address);
    if (written !== undefined) return written;
    const region = regionsOf(this.#vector.mode).find(
      (r) => address >= r.address && address < r.address + r.lengthBytes,
    );
    return region && pristineContents(region)[address - region.address];
  }

  read(access: OracleAccess): bigint {
    let value = 0n;
    this.#linear(access).forEach((address, i) => {
      value |= BigInt(this.peek(address) ?? 0) << BigInt(8 * i);
    });
    return value;
  }

  write(access: OracleAccess, value: bigint): void {
    this.#linear(access).forEach((address, i) => {
      this.written.set(address, Number((value >> BigInt(8 * i)) & 0xffn));
    });
  }

  probe(access: OracleAccess): void {
    this.#linear(access);
  }

  /** The linear addresses of an access, after all its checks. */
  #linear({ segment, offset, bytes, extentBytes = bytes, forWrite, alignment }: OracleAccess): number[] {
    const { mode, input } = this.#vector;
    const violation = segment === SS ? 12 : 13;
    const end = offset + BigInt(extentBytes - 1);
    const last = mode === 64 ? BigInt.asUintN(64, end) : end;
    if (mode === 16 && last > 0xffffn) throw new OracleException(violation);
    if (mode === 32 && last > 0xffff_ffffn) throw new OracleException(violation, 0);
    // In 64-bit mode processors report a misaligned address first.
    const linear = offset + BigInt(mode === 16 ? (input.segments[segment] ?? 0) * 16 : 0);
    if (alignment !== undefined && linear % BigInt(alignment) !== 0n) throw new OracleException(13, 0);
    const isCanonical = [offset, last].every((at) => BigInt.asUintN(64, BigInt.asIntN(48, at)) === at);
    if (mode === 64 && !isCanonical) throw new OracleException(violation, 0);
    const base = mode === 16 ? (input.segments[segment] ?? 0) * 16 : 0;
    const addresses = Array.from({ length: bytes }, (_, i) => base + Number(offset) + i);
    const absent = addresses.find((address) => this.peek(address) === undefined);
    if (absent !== undefined) throw new VectorPageFault(BigInt(absent), forWrite ? 6 : 4);
    return addresses;
  }
}
