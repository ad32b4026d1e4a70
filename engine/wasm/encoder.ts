/**
 * WebAssembly binary encoder: modules of functions, imports and shared tables. It knows nothing of x86 and checks
 * nothing: V8's validator does. Source: WebAssembly Core Specification, "Binary Format", and the tail-call proposal.
 */

import { ByteWriter } from './byte-writer.ts';
import { type SimdOp, simdOp } from './simd.ts';

/** Value types, as encoded. */
export const I32 = 0x7f;
export const I64 = 0x7e;
export const F64 = 0x7c;
export const V128 = 0x7b;
export type ValueType = typeof I32 | typeof I64 | typeof F64 | typeof V128;
/** Block type of a block that leaves nothing on the stack. */
export const VOID = 0x40;

export interface FunctionType {
  readonly parameters: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Opcodes that take no immediate. */
export const op = {
  unreachable: 0x00, else: 0x05, end: 0x0b, return: 0x0f, drop: 0x1a, select: 0x1b,
  i32Eqz: 0x45, i32Eq: 0x46, i32Ne: 0x47, i32LtS: 0x48, i32LtU: 0x49, i32GtS: 0x4a, i32GtU: 0x4b,
  i32LeS: 0x4c, i32LeU: 0x4d, i32GeS: 0x4e, i32GeU: 0x4f,
  i64Eqz: 0x50, i64Eq: 0x51, i64Ne: 0x52, i64LtS: 0x53, i64LtU: 0x54, i64GtS: 0x55, i64GtU: 0x56,
  i64LeS: 0x57, i64LeU: 0x58, i64GeS: 0x59, i64GeU: 0x5a,
  i32Clz: 0x67, i32Ctz: 0x68, i32Popcnt: 0x69, i32Add: 0x6a, i32Sub: 0x6b, i32Mul: 0x6c, i32DivU: 0x6e,
  i32RemU: 0x70, i32And: 0x71, i32Or: 0x72, i32Xor: 0x73, i32Shl: 0x74, i32ShrS: 0x75, i32ShrU: 0x76,
  i32Rotl: 0x77, i32Rotr: 0x78,
  i64Clz: 0x79, i64Ctz: 0x7a, i64Popcnt: 0x7b, i64Add: 0x7c, i64Sub: 0x7d, i64Mul: 0x7e, i64DivU: 0x80,
  i64RemU: 0x82, i64And: 0x83, i64Or: 0x84, i64Xor: 0x85, i64Shl: 0x86, i64ShrS: 0x87, i64ShrU: 0x88,
  i64Rotl: 0x89, i64Rotr: 0x8a,
  f64Eq: 0x61, f64Ne: 0x62, f64Lt: 0x63, f64Ge: 0x66, f64Add: 0xa0, f64Sub: 0xa1, i64TruncF64S: 0xb0,
  i32WrapI64: 0xa7, i64ExtendI32S: 0xac, i64ExtendI32U: 0xad, f64ConvertI64S: 0xb9,
  i32Extend8S: 0xc0, i32Extend16S: 0xc1, i64Extend8S: 0xc2, i64Extend16S: 0xc3, i64Extend32S: 0xc4,
} as const; // biome-ignore format: grouped by operand type

/** Opcodes of loads and stores. */
export const memoryOp = {
  i32Load: 0x28, i64Load: 0x29, i32Load8U: 0x2d, i32Load16U: 0x2f, i64Load8U: 0x31, i64Load16U: 0x33, i64Load32U: 0x35, f64Load: 0x2b,
  i32Store: 0x36, i64Store: 0x37, i32Store8: 0x3a, i32Store16: 0x3b, i64Store32: 0x3e, f64Store: 0x39,
} as const; // biome-ignore format: grouped by direction

/** The body of one function: instructions are appended; locals are numbered after the parameters. */
export class FunctionBody {
  #code = new ByteWriter();
  readonly #locals: ValueType[] = [];
  readonly #parameterCount: number;
  readonly #free = new Map<ValueType, number[]>();
  /** Locals handed out since `beginScope` and not released. */
  #scope = new Map<number, ValueType>();
  #depth = 0;

  constructor(parameterCount: number) {
    this.#parameterCount = parameterCount;
  }

  local(type: ValueType): number {
    const index = this.#free.get(type)?.pop() ?? this.permanentLocal(type);
    this.#scope.set(index, type);
    return index;
  }
  /** A local that is nothing else before or after. */
  permanentLocal(type: ValueType): number {
    this.#locals.push(type);
    return this.#parameterCount + this.#locals.length - 1;
  }
  /** From here on, `endScope` releases the locals that are handed out. */
  beginScope(): void {
    this.#scope = new Map();
  }
  /** Releases the locals handed out since `beginScope`, but for those to be kept. */
  endScope(keep: ReadonlySet<number>): void {
    for (const [index, type] of this.#scope) if (!keep.has(index)) this.release(type, index);
    this.#scope = new Map();
  }
  typeOf(local: number): ValueType {
    return this.#locals[local - this.#parameterCount] as ValueType;
  }
  /** The local may be handed out again. */
  release(type: ValueType, index: number): void {
    this.#scope.delete(index);
    const list = this.#free.get(type);
    if (list) list.push(index);
    else this.#free.set(type, [index]);
  }

  emit(...opcodes: number[]): this {
    for (const opcode of opcodes) this.#code.byte(opcode);
    return this;
  }
  /** An opcode and an unsigned immediate. */
  #with(opcode: number, immediate: number): this {
    this.#code.byte(opcode);
    this.#code.unsigned(immediate);
    return this;
  }
  i32(value: number): this {
    this.#code.byte(0x41);
    this.#code.signed(value);
    return this;
  }
  i64(value: bigint): this {
    this.#code.byte(0x42);
    this.#code.signed64(value);
    return this;
  }
  f64(value: number): this {
    return this.emit(0x44, ...new Uint8Array(new Float64Array([value]).buffer));
  }
  get(local: number): this {
    return this.#with(0x20, local);
  }
  set(local: number): this {
    return this.#with(0x21, local);
  }
  tee(local: number): this {
    return this.#with(0x22, local);
  }
  /** A load or store; the address (and the value) are on the stack. Alignment is only a hint: none is given. */
  memory(opcode: number, offset = 0): this {
    this.#code.byte(opcode);
    return this.#with(0, offset);
  }
  /** A vector instruction without memory; immediates are lane numbers, or the bytes of a constant. */
  simd(name: SimdOp, immediates: readonly number[] = []): this {
    return this.#with(0xfd, simdOp[name]).emit(...immediates);
  }
  v128(value: bigint): this {
    const bytes = Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
    return this.simd('v128.const', bytes);
  }
  /** `v128.load` or `v128.store`, as `memory`. */
  memory128(name: 'v128.load' | 'v128.store', offset = 0): this {
    this.#code.byte(0xfd);
    return this.memory(simdOp[name], offset);
  }
  /** `memory.copy` inside the one memory: destination, source and length in bytes are on the stack. They may overlap. */
  memoryCopy(): this {
    return this.emit(0xfc, 10, 0, 0);
  }
  /** `memory.fill`: destination, byte value and length in bytes are on the stack. */
  memoryFill(): this {
    return this.emit(0xfc, 11, 0);
  }
  block(): this {
    this.#depth++;
    return this.emit(0x02, VOID);
  }
  loop(): this {
    this.#depth++;
    return this.emit(0x03, VOID);
  }
  if(type: number = VOID): this {
    this.#depth++;
    return this.emit(0x04, type);
  }
  else(): this {
    return this.emit(op.else);
  }
  end(): this {
    this.#depth--;
    return this.emit(op.end);
  }
  /** Label of the block, loop or if that was opened last and is still open. */
  get label(): number {
    return this.#depth;
  }
  branchTo(label: number): this {
    return this.branch(this.#depth - label);
  }
  /** Pops an i32 that chooses among the labels; the last one stands for all other values, too. */
  branchTable(labels: readonly number[]): this {
    this.#with(0x0e, labels.length - 1);
    for (const label of labels) this.#code.unsigned(this.#depth - label);
    return this;
  }
  /** Puts what `write` emits before everything emitted so far. */
  prepend(write: () => void): void {
    const rest = this.#code;
    this.#code = new ByteWriter();
    write();
    this.#code.appendAll(rest);
  }
  branch(depth: number): this {
    return this.#with(0x0c, depth);
  }
  branchIf(depth: number): this {
    return this.#with(0x0d, depth);
  }
  call(functionIndex: number): this {
    return this.#with(0x10, functionIndex);
  }
  /** Call through a table; the arguments and the index in the table are on the stack. */
  callIndirect(typeIndex: number, table = 0): this {
    this.#with(0x11, typeIndex).#code.unsigned(table);
    return this;
  }
  /** Tail call of a function of the module; the arguments are on the stack. */
  returnCall(functionIndex: number): this {
    return this.#with(0x12, functionIndex);
  }
  /** Tail call through table 0; the arguments and the table index are on the stack. */
  returnCallIndirect(typeIndex: number): this {
    return this.#with(0x13, typeIndex).emit(0);
  }

  /** The encoded body with its locals, as it stands in the code section (without the size). */
  bytes(): Uint8Array {
    const out = new ByteWriter();
    out.vector(this.#locals, (type) => {
      out.byte(1);
      out.byte(type);
    });
    out.appendAll(this.#code);
    out.byte(op.end);
    return out.toBytes();
  }
}

export interface FunctionImport {
  readonly module: string;
  readonly name: string;
  readonly type: number;
}

export interface DefinedFunction {
  readonly type: number;
  readonly body: Uint8Array;
  /** Name under which the function is exported, if it is. */
  readonly export?: string;
}

export interface ModuleSpec {
  readonly types: readonly FunctionType[];
  /** Functions; none if not given. */
  readonly imports?: readonly FunctionImport[];
  readonly functions: readonly DefinedFunction[];
  /** Whether `env.memory` is imported: it is, if not given. */
  readonly memory?: boolean;
  /** Names of the tables that are imported from `env`, by their indices; an instance pays for a copy of each. */
  readonly tables?: readonly string[];
}

const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
/** Kinds of imports and exports. */
const FUNCTION = 0x00;
const TABLE = 0x01;
const MEMORY = 0x02;
const FUNCREF = 0x70;
/** Limits: a minimum follows, and no maximum. */
const MINIMUM_ONLY = 0x00;

/** Encodes a module. Function indices: imports first, then definitions. */
export function encodeModule(spec: ModuleSpec): Uint8Array {
  const out = new ByteWriter();
  out.append(MAGIC_AND_VERSION);
  section(out, 1, (content) => content.vector(spec.types, (type) => writeType(content, type)));
  section(out, 2, (content) => writeImports(content, spec));
  section(out, 3, (content) => content.vector(spec.functions, ({ type }) => content.unsigned(type)));
  section(out, 7, (content) => writeExports(content, spec));
  section(out, 10, (content) =>
    content.vector(spec.functions, ({ body }) => {
      content.unsigned(body.length);
      content.append(body);
    }),
  );
  return out.toBytes();
}

function section(out: ByteWriter, id: number, write: (content: ByteWriter) => void): void {
  const content = new ByteWriter();
  write(content);
  out.byte(id);
  out.unsigned(content.length);
  out.appendAll(content);
}

function writeType(content: ByteWriter, { parameters, results }: FunctionType): void {
  content.byte(0x60);
  content.vector(parameters, (type) => content.byte(type));
  content.vector(results, (type) => content.byte(type));
}

function writeImports(content: ByteWriter, { imports = [], memory = true, tables = [] }: ModuleSpec): void {
  content.unsigned(imports.length + (memory ? 1 : 0) + tables.length);
  for (const { module, name, type } of imports) {
    content.name(module);
    content.name(name);
    content.byte(FUNCTION);
    content.unsigned(type);
  }
  if (memory) writeUnlimited(content, 'memory', [MEMORY]);
  for (const table of tables) writeUnlimited(content, table, [TABLE, FUNCREF]);
}

/** An import of the environment that may have any size. */
function writeUnlimited(content: ByteWriter, name: string, kind: readonly number[]): void {
  content.name('env');
  content.name(name);
  content.append([...kind, MINIMUM_ONLY, 0]);
}

function writeExports(content: ByteWriter, { functions, imports = [] }: ModuleSpec): void {
  const exported = [...functions.entries()].filter(([, { export: name }]) => name !== undefined);
  content.vector(exported, ([index, { export: name = '' }]) => {
    content.name(name);
    content.byte(FUNCTION);
    content.unsigned(imports.length + index);
  });
}
