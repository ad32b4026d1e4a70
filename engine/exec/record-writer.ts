/** Fills decoded-instruction records. */

import { JUMP_CACHE_ADDRESS, JUMP_CACHE_BYTES, PAGE_BYTES } from '../cpu/memory-map.ts';
import { fieldAddress, gprAddress, vectorAddress, x87Address } from '../cpu/state-layout.ts';
import type { DecodedInstruction, RegisterOperand } from '../isa/decode.ts';
import { difference, type LinearAddress } from '../isa/linear-address.ts';
import { fixedSegmentAddress, type HandlerForm } from './handler-emitter.ts';
import type { AddressingForm } from './operand-emitter.ts';
import { LINK_DISPATCH, LINK_UNRESOLVED, RECORD_BYTES, record } from './record.ts';

export class RecordWriter {
  readonly #view: DataView;

  constructor(buffer: ArrayBuffer) {
    this.#view = new DataView(buffer);
  }

  read32(at: number, field: number): number {
    return this.#view.getUint32(at + field, true);
  }
  write32(at: number, field: number, value: number): void {
    this.#view.setUint32(at + field, value, true);
  }
  write16(at: number, field: number, value: number): void {
    this.#view.setUint16(at + field, value, true);
  }
  #write64(at: number, field: number, value: bigint): void {
    this.#view.setBigInt64(at + field, value, true);
  }

  handler(at: number, index: number): void {
    this.write32(at, record.handler, index);
    this.write32(at, record.interpreter, index);
  }
  clearJumpCache(): void {
    new Uint8Array(this.#view.buffer, JUMP_CACHE_ADDRESS, JUMP_CACHE_BYTES).fill(0);
  }

  clear(at: number): void {
    for (let offset = 0; offset < RECORD_BYTES; offset += 8) this.#write64(at, offset, 0n);
  }

  /** What every record has. `pageBase` is the RIP at the start of the page. */
  begin(at: number, instruction: DecodedInstruction, pageBase: LinearAddress): void {
    this.clear(at);
    const offset = difference(instruction.ip, pageBase);
    this.write32(at, record.nextOffset, offset + instruction.lengthBytes);
    this.write16(at, record.pageOffset, offset);
    this.write16(at, record.length, instruction.lengthBytes);
    const next = offset + instruction.lengthBytes;
    this.write32(at, record.fallThrough, next < PAGE_BYTES ? LINK_UNRESOLVED : LINK_DISPATCH);
  }

  /** Operands that are general-purpose registers. */
  registers(at: number, { operands }: DecodedInstruction): void {
    operands.forEach(({ register }, position) => {
      if (register?.kind === 'gpr') this.write32(at, record.register + 4 * position, gprAddress(register.number));
    });
  }

  /** Operands, links. */
  operands(at: number, instruction: DecodedInstruction, handler: HandlerForm, pageBase: LinearAddress): void {
    let immediates = 0;
    instruction.operands.forEach((operand, position) => {
      if (operand.register) {
        this.write32(at, record.register + 4 * position, operandAddress(operand.register));
      } else if (operand.kind === 'immediate') {
        this.#write64(at, immediates++ === 0 ? record.immediate : record.immediate2, operand.value ?? 0n);
      } else if (operand.kind === 'near-branch') {
        this.#branch(at, BigInt.asIntN(64, operand.value ?? 0n) - BigInt(pageBase));
      }
    });
    if (handler.form.operation.transfer?.kind === 'repeat')
      this.#branch(at, BigInt(difference(instruction.ip, pageBase)));
    this.memory(at, instruction, handler);
  }

  #branch(at: number, target: bigint): void {
    this.#write64(at, record.immediate, target);
    const inPage = target >= 0n && target < BigInt(PAGE_BYTES);
    this.write32(at, record.taken, inPage ? LINK_UNRESOLVED : LINK_DISPATCH);
  }

  /** The memory operand, if there is one. */
  memory(at: number, { memory }: DecodedInstruction, form: AddressingForm): void {
    if (!memory) return;
    const ipRelative = memory.base === 'ip';
    const base = ipRelative ? fieldAddress.pageBase : registerAddress(memory.base as number | undefined);
    this.write32(at, record.base, base);
    this.write32(at, record.index, registerAddress(memory.index));
    this.write32(at, record.shift, memory.shift);
    this.write32(at, record.segment, fixedSegmentAddress(memory.segment, form));
    // RIP-relative: the displacement counts from the next instruction, the base is the start of the page.
    const adjust = ipRelative ? BigInt(this.read32(at, record.nextOffset)) : 0n;
    this.#write64(at, record.displacement, memory.displacement + adjust);
  }
}

/** Wasm address of a register that instructions name. */
export function operandAddress({ kind, number, high }: Pick<RegisterOperand, 'kind' | 'number' | 'high'>): number {
  if (kind === 'vector') return vectorAddress(number);
  return kind === 'mmx' ? x87Address(number) : gprAddress(number) + (high ? 1 : 0);
}

const registerAddress = (number: number | undefined): number =>
  number === undefined ? fieldAddress.zero : gprAddress(number);
