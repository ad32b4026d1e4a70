/**
 * What is known of VMCSs that have passed the checks of VM entry: by word of the region, what it held, and which of its
 * bits rules depend on. Both lie in wasm memory, so that a WebAssembly function compares them with the VMCS.
 */
import { PASSED_VMCS_ADDRESS, PASSED_VMCS_BYTES } from '../../cpu/memory-map.ts';
import { encodeModule, FunctionBody, I32, I64, memoryOp, op } from '../../wasm/encoder.ts';
import { vmcsFields } from '../fields.ts';
import { fieldExists, offsetOf } from '../vmcs.ts';
import { entryRules } from './rules.ts';

/** Bytes from the start of the region to the first field. */
export const FIRST_OFFSET = offsetOf(vmcsFields[0].name);
/** Indices of the fields that rules may read: of exit information, which comes last, and of fields the CPU lacks, none. */
const fields = vmcsFields.flatMap((field, index) =>
  fieldExists(field) && field.group !== 'VM-Exit Information' ? [index] : [],
);
const WORDS = (Math.max(...fields) + 1) * 2;
const isReadable = new Set(fields.flatMap((index) => [index * 2, index * 2 + 1]));
/** From the words to the bits of them that rules depend on. */
const BITS_OFFSET = PASSED_VMCS_BYTES / 2;
/** Sets of rules are bit maps: 32-bit words of one. */
export const SET_WORDS = Math.ceil(entryRules.length / 32);

export class PassedVmcs {
  readonly place: number;
  /** Wasm address of the words. */
  readonly address: number;
  /** The set of the rules that depend on memory outside the VMCS. */
  readonly outside = new Uint32Array(SET_WORDS);
  /** Whether there are any. */
  looksOutside = false;
  /** IA32_EFER of the host: all of the CPU state that rules look at, besides which VMCS is current. */
  readonly efer: number;
  readonly #values: Int32Array;
  readonly #bits: Int32Array;
  /** By word: pairs of a rule and the bits it depends on. */
  readonly #readers: (number[] | undefined)[] = new Array(WORDS).fill(undefined);

  /** Takes a place of its own, which may hold what is known of another VMCS that is forgotten. */
  constructor(buffer: ArrayBuffer, place: number, efer: number) {
    this.address = PASSED_VMCS_ADDRESS + place * PASSED_VMCS_BYTES;
    this.place = place;
    this.efer = efer;
    this.#values = new Int32Array(buffer, this.address, WORDS);
    this.#bits = new Int32Array(buffer, this.address + BITS_OFFSET, WORDS).fill(0);
  }

  /** Notes that the rule depends on bits of a word, which holds `value`. */
  note(rule: number, word: number, bits: number, value: number): void {
    if (!isReadable.has(word)) throw new Error(`internal: ${entryRules[rule]?.id} reads a field it may not read`);
    // Bits that no rule depended on so far may be old ones.
    this.#values[word] = value;
    const readers = (this.#readers[word] ??= []);
    for (let i = 0; i < readers.length; i += 2) {
      if (readers[i] === rule && ((readers[i + 1] as number) & bits) === bits) return;
    }
    readers.push(rule, bits);
    (this.#bits[word] as number) |= bits;
  }

  noteOutside(rule: number): void {
    this.looksOutside = true;
    add(this.outside, rule);
  }

  /** Takes over the words of the VMCS, which begin at an index of `ram`; adds the rules whose result may change. */
  takeOver(ram: Int32Array, first: number, rules: Uint32Array): void {
    for (let word = 0; word < WORDS; word++) {
      const value = ram[first + word] as number;
      const changed = (value ^ (this.#values[word] as number)) & (this.#bits[word] as number);
      if (changed === 0) continue;
      this.#values[word] = value;
      const readers = this.#readers[word] ?? [];
      for (let i = 0; i < readers.length; i += 2) {
        if ((changed & (readers[i + 1] as number)) !== 0) add(rules, readers[i] as number);
      }
    }
  }
}

function add(set: Uint32Array, rule: number): void {
  const word = rule >> 5;
  set[word] = (set[word] as number) | (1 << (rule & 31));
}

/** Whether some bit that a rule depends on has changed, given the wasm addresses of the first field and of the words. */
export type HasChanged = (region: number, known: number) => number;

function hasChangedFunction(): Uint8Array {
  const [region, known] = [0, 1];
  const f = new FunctionBody(2);
  const all = f.local(I64);
  for (const index of fields) {
    const at = index * 8;
    f.get(region).memory(memoryOp.i64Load, at).get(known).memory(memoryOp.i64Load, at);
    f.emit(op.i64Xor).get(known);
    f.memory(memoryOp.i64Load, BITS_OFFSET + at).emit(op.i64And);
    f.get(all).emit(op.i64Or).set(all);
  }
  return f.get(all).i64(0n).emit(op.i64Ne).bytes();
}

let compiled: WebAssembly.Module | undefined;

export function instantiateHasChanged(memory: WebAssembly.Memory): HasChanged {
  compiled ??= new WebAssembly.Module(
    encodeModule({
      types: [{ parameters: [I32, I32], results: [I32] }],
      functions: [{ type: 0, body: hasChangedFunction(), export: 'hasChanged' }],
    }),
  );
  return new WebAssembly.Instance(compiled, { env: { memory } }).exports.hasChanged as HasChanged;
}
