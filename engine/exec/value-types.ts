/** How values of each width are held in WebAssembly, loaded and stored. */
import type { Width } from '../expr/expr.ts';
import type { OperandWidth } from '../isa/operand.ts';
import { type FunctionBody, I32, I64, memoryOp, V128, type ValueType } from '../wasm/encoder.ts';

export const valueType = (width: Width): ValueType => (width === 128 ? V128 : width === 64 ? I64 : I32);

const loadOpcode: Readonly<Record<Exclude<OperandWidth, 128>, number>> = {
  8: memoryOp.i32Load8U,
  16: memoryOp.i32Load16U,
  32: memoryOp.i32Load,
  64: memoryOp.i64Load,
};
const storeOpcode: Readonly<Record<Exclude<OperandWidth, 128>, number>> = {
  8: memoryOp.i32Store8,
  16: memoryOp.i32Store16,
  32: memoryOp.i32Store,
  64: memoryOp.i64Store,
};

/** Loads a value, zero-extended; the address is on the stack. */
export function loadValue(body: FunctionBody, width: OperandWidth, offset = 0): FunctionBody {
  return width === 128 ? body.memory128('v128.load', offset) : body.memory(loadOpcode[width], offset);
}
/** Stores a value; address and value are on the stack. */
export function storeValue(body: FunctionBody, width: OperandWidth, offset = 0): FunctionBody {
  return width === 128 ? body.memory128('v128.store', offset) : body.memory(storeOpcode[width], offset);
}
