/** Encodings of a form: register and memory operands, addressing forms, immediates, prefixes. */
import {
  Decoder,
  DecoderOptions,
  Encoder,
  Formatter,
  FormatterSyntax,
  Instruction,
  OpCodeOperandKind as K,
  OpKind,
  Register,
  RegisterExt,
} from 'iced-x86';
import {
  DATA_ADDRESS,
  HIGH_ADDRESS,
  initialInstructionPointer,
  instructionAddress,
  type Mode,
  REAL_MODE_CODE_SELECTORS,
} from '../layout.ts';
import type { FeatureGroup } from './feature-groups.ts';
import type { Form } from './forms.ts';
import {
  FIXED_REGISTERS,
  GPR32,
  GPR64,
  IMMEDIATES,
  MEMORY_OPERANDS,
  NEAR_BRANCHES,
  ONLY_MEMORY,
  REGISTER_OPERANDS,
  VECTOR_INDICES,
} from './operand-kinds.ts';
import type { Random } from './random.ts';

/** An encoding, decoded again; `instruction` must be freed by whoever made the list. */
export interface Encoding {
  form: Form;
  bytes: Uint8Array;
  disassembly: string;
  instruction: Instruction;
}

interface Request {
  operand: 'register' | 'memory';
  lock?: boolean;
  rep?: 'rep' | 'repne';
  otherAddressSize?: boolean;
  /** Counts the encodings of the form, to walk through the immediates. */
  ordinal: number;
}

const R = Register;
const SHIFT_COUNTS = [1, 0, 7, 31, 2, 8, 9, 15, 16, 17, 32, 33, 63, 64, 65, 255];

/** Groups whose instructions read or write RAX, RCX, RDX or RBX implicitly: an address must not depend on them. */
const IMPLICIT_OPERANDS = new Set([
  'multiply-divide',
  'exchange',
  'shift-rotate',
  'double-shift',
  'legacy',
  'bit-manipulation',
]);

export const formHasMemory = (form: Form) => form.operandKinds.some((kind) => MEMORY_OPERANDS.has(kind));
const hasRegisterForm = (form: Form) => !form.operandKinds.some((kind) => ONLY_MEMORY.has(kind));
const isString = (form: Form) => form.group === 'string' || form.mnemonic === 'Xlatb';
const hasImmediate = (form: Form) => form.operandKinds.some((kind) => IMMEDIATES.has(kind));

/** The encodings to record of a form. */
export function encodingsOf(form: Form, random: Random): Encoding[] {
  const encodings: Encoding[] = [];
  for (const request of requestsOf(form)) {
    const encoding = tryEncode(form, { ...request, ordinal: encodings.length }, random);
    if (encoding && encodings.some((other) => sameBytes(other.bytes, encoding.bytes))) encoding.instruction.free();
    else if (encoding) encodings.push(encoding);
  }
  if (encodings.length === 0) throw new Error(`${form.name} in ${form.mode}-bit mode: no operands could be encoded`);
  return encodings;
}

const sameBytes = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

function requestsOf(form: Form): Omit<Request, 'ordinal'>[] {
  const thorough = form.mode === 64;
  const repeat = (times: number, request: Omit<Request, 'ordinal'>) =>
    Array<Omit<Request, 'ordinal'>>(times).fill(request);
  if (isString(form)) return stringRequests(form);
  if (form.featureGroup) return featureRequests(form, form.featureGroup);
  const shiftCount = hasImmediate(form) && /shift/.test(form.group) ? 3 : 1;
  const registers = (thorough ? (form.group === 'conditional' ? 2 : 3) : 1) * shiftCount;
  const isBare = form.operandKinds.every((kind) => FIXED_REGISTERS.has(kind));
  const requests = hasRegisterForm(form)
    ? repeat(isBare ? 1 : Math.max(registers, form.operandKinds.length ? 2 : 1), { operand: 'register' })
    : [];
  if (!formHasMemory(form)) return requests;
  const addressings = form.group === 'lea' ? (thorough ? 16 : 8) : form.mode === 32 ? 1 : 2;
  requests.push(...repeat(addressings, { operand: 'memory' }));
  if (form.canLock && thorough) requests.push({ operand: 'memory', lock: true });
  return requests;
}

function featureRequests(form: Form, { encodings = 2 }: FeatureGroup): Omit<Request, 'ordinal'>[] {
  const isBare = form.operandKinds.every((kind) => FIXED_REGISTERS.has(kind));
  const count = isBare ? 1 : encodings * (hasImmediate(form) ? 3 : 1);
  const repeat = (operand: Request['operand']) => Array<Omit<Request, 'ordinal'>>(count).fill({ operand });
  return [...(hasRegisterForm(form) ? repeat('register') : []), ...(formHasMemory(form) ? repeat('memory') : [])];
}

function stringRequests(form: Form): Omit<Request, 'ordinal'>[] {
  const prefixes: Partial<Request>[] = [{}];
  if (form.canRep) prefixes.push({ rep: 'rep' });
  if (/^(Cmps|Scas)/.test(form.mnemonic)) prefixes.push({ rep: 'repne' });
  const sizes = form.mode === 32 ? [false] : [false, true];
  return sizes.flatMap((otherAddressSize) =>
    prefixes.map((prefix) => ({ operand: 'memory' as const, otherAddressSize, ...prefix })),
  );
}

function tryEncode(form: Form, request: Request, random: Random): Encoding | undefined {
  for (let attempt = 0; attempt < 40; attempt++) {
    const instruction = new Instruction();
    instruction.code = form.code;
    try {
      form.operandKinds.forEach((kind, n) => {
        setOperand(instruction, form, kind, n, request, random);
      });
      setPrefixes(instruction, form, request, random);
      const bytes = encode(instruction, form.mode);
      const decoded = decode(bytes, form.mode);
      if (decoded.code === form.code && isHarmless(decoded, form)) {
        return { form, bytes, instruction: decoded, disassembly: format(decoded) };
      }
      decoded.free();
    } catch (error) {
      // Operands that exclude each other, AH with REX for instance, are refused by the encoder: draw again.
      if (attempt === 39 && !/REX|must be|AH|Invalid|Expected|register/i.test(String(error))) throw error;
    } finally {
      instruction.free();
    }
  }
  return undefined;
}

function encode(instruction: Instruction, mode: Mode): Uint8Array {
  const encoder = new Encoder(mode);
  try {
    encoder.encode(instruction, BigInt(initialInstructionPointer(mode)));
    return encoder.takeBuffer();
  } finally {
    encoder.free();
  }
}

export function decode(bytes: Uint8Array, mode: Mode): Instruction {
  const decoder = new Decoder(mode, bytes, DecoderOptions.None);
  decoder.ip = BigInt(initialInstructionPointer(mode));
  const decoded = decoder.decode();
  decoder.free();
  return decoded;
}

const formatter = new Formatter(FormatterSyntax.Nasm);
formatter.hexPrefix = '0x';
formatter.hexSuffix = '';
export const format = (instruction: Instruction) => formatter.format(instruction);

/** A branch must not land inside the instruction itself; nothing else is checked. */
function isHarmless(decoded: Instruction, form: Form): boolean {
  if (form.group !== 'control-transfer') return true;
  const start = BigInt(initialInstructionPointer(form.mode));
  const target = decoded.nearBranchTarget;
  return target < start || target >= start + BigInt(decoded.length);
}

function setOperand(instruction: Instruction, form: Form, kind: K, n: number, request: Request, random: Random): void {
  const fixed = FIXED_REGISTERS.get(kind);
  const immediate = IMMEDIATES.get(kind);
  const branch = NEAR_BRANCHES.get(kind);
  if (fixed !== undefined) setRegister(instruction, n, fixed);
  else if (MEMORY_OPERANDS.has(kind) && request.operand === 'memory') setMemory(instruction, form, n, request, random);
  else if (REGISTER_OPERANDS.has(kind)) setRegister(instruction, n, pickDistinct(instruction, form, kind, n, random));
  else if (immediate) setImmediate(instruction, form, n, immediate, request, random);
  else if (branch) setBranch(instruction, form, n, branch, random);
  else if (kind === K.imm8_const_1) setPlainImmediate(instruction, n, OpKind.Immediate8, 1n);
  else if (kind === K.mem_offs) setMemoryOffset(instruction, form, n, random);
  else if (kind === K.farbr2_2 || kind === K.farbr4_2) setFarBranch(instruction, n, kind, random);
  else setStringOperand(instruction, form, kind, n, request);
}

function setRegister(instruction: Instruction, n: number, register: Register): void {
  instruction.setOpKind(n, OpKind.Register);
  instruction.setOpRegister(n, register);
}

function pickRegister(form: Form, kind: K, n: number, random: Random): Register {
  const all = REGISTER_OPERANDS.get(kind) ?? [];
  if (kind === K.seg_reg) return random.pick(n === 0 ? all.filter((register) => register !== R.CS) : all);
  const available = form.mode === 64 ? all : all.slice(0, 8);
  // The stack pointer as plain data: in moves and pushes often, elsewhere now and then.
  const stackPointer = form.group === 'stack' || random.oneIn(8);
  return random.pick(available.filter((register) => stackPointer || ![R.SP, R.ESP, R.RSP].includes(register)));
}

/** A gather refuses to have two of its registers the same. */
function pickDistinct(instruction: Instruction, form: Form, kind: K, n: number, random: Random): Register {
  const isGather = form.operandKinds.some((other) => VECTOR_INDICES.has(other));
  for (;;) {
    const register = pickRegister(form, kind, n, random);
    const taken = [instruction.memoryIndex, ...(n === 0 ? [] : [instruction.op0Register])];
    if (!isGather || !taken.some((other) => sameNumber(other, register))) return register;
  }
}

const sameNumber = (a: Register, b: Register) => a !== R.None && RegisterExt.number(a) === RegisterExt.number(b);

function setImmediate(
  instruction: Instruction,
  form: Form,
  n: number,
  [kind, width]: [OpKind, number],
  request: Request,
  random: Random,
) {
  let value = random.interesting(width);
  if (/shift/.test(form.group) || /Rorx/.test(form.name))
    value = BigInt(SHIFT_COUNTS[request.ordinal % SHIFT_COUNTS.length] ?? 1);
  if (form.mnemonic === 'Enter')
    value = n === 0 ? BigInt(random.below(0x80)) : BigInt(random.pick([0, 1, 2, 3, 33, 4]));
  if (form.mnemonic === 'Ret' || form.mnemonic === 'Retf') value = BigInt(random.pick([0, 8, 1, 0x100, 0x7ff6]));
  if (form.mnemonic === 'Aam' || form.mnemonic === 'Aad') value = request.ordinal === 0 ? 10n : value;
  if (kind === OpKind.Immediate8 && n === 1 && form.mnemonic === 'Enter') {
    instruction.setOpKind(n, OpKind.Immediate8_2nd);
    instruction.immediate8_2nd = Number(value);
  } else {
    setPlainImmediate(instruction, n, kind, BigInt.asIntN(width, value));
  }
}

function setPlainImmediate(instruction: Instruction, n: number, kind: OpKind, value: bigint): void {
  instruction.setOpKind(n, kind);
  instruction.setImmediateI64(n, value);
}

/** Targets stay in the code page (the code segment in 16-bit mode), where every byte traps. */
function setBranch(
  instruction: Instruction,
  form: Form,
  n: number,
  [kind, size]: [OpKind, number],
  random: Random,
): void {
  instruction.setOpKind(n, kind);
  const reach = size === 1 ? 120 : form.mode === 16 ? 0x7700 : 0x700;
  const start = BigInt(initialInstructionPointer(form.mode));
  const target = start + BigInt(random.below(2 * reach) - reach);
  instruction.nearBranch64 = form.mode === 16 ? BigInt.asUintN(16, target) : target;
}

function setFarBranch(instruction: Instruction, n: number, kind: K, random: Random): void {
  instruction.setOpKind(n, kind === K.farbr2_2 ? OpKind.FarBranch16 : OpKind.FarBranch32);
  const { selector, offset } = farTarget(random);
  instruction.farBranchSelector = selector;
  if (kind === K.farbr2_2) instruction.farBranch16 = offset;
  else instruction.farBranch32 = offset;
}

/** A place in the 16-bit code, seen through another selector, clear of the instruction itself. */
export function farTarget(random: Random): { selector: number; offset: number } {
  for (;;) {
    const [selector, offset] = [random.pick(REAL_MODE_CODE_SELECTORS), random.below(0x8000)];
    const distance = selector * 16 + offset - instructionAddress(16);
    if (distance < 0 || distance > 15) return { selector, offset };
  }
}

function setMemoryOffset(instruction: Instruction, form: Form, n: number, random: Random): void {
  instruction.setOpKind(n, OpKind.Memory);
  const within = 0x100 + random.below(0x800);
  if (form.mode === 16)
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [random.oneIn(3) ? 4 : 2, BigInt(within)];
  else if (form.mode === 32 || random.oneIn(3))
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [4, BigInt(DATA_ADDRESS + within)];
  else
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [
      8,
      BigInt(random.pick([HIGH_ADDRESS, DATA_ADDRESS]) + within),
    ];
}

function setStringOperand(instruction: Instruction, form: Form, kind: K, n: number, request: Request): void {
  const size = request.otherAddressSize ? (form.mode === 32 ? 16 : 32) : form.mode;
  const column = { 16: 0, 32: 1, 64: 2 }[size] ?? 0;
  const source = [OpKind.MemorySegSI, OpKind.MemorySegESI, OpKind.MemorySegRSI][column] ?? OpKind.MemorySegRSI;
  const destination = [OpKind.MemoryESDI, OpKind.MemoryESEDI, OpKind.MemoryESRDI][column] ?? OpKind.MemoryESRDI;
  if (kind === K.seg_rSI) instruction.setOpKind(n, source);
  else if (kind === K.es_rDI) instruction.setOpKind(n, destination);
  else if (kind === K.seg_rDI)
    instruction.setOpKind(n, [OpKind.MemorySegDI, OpKind.MemorySegEDI][column] ?? OpKind.MemorySegRDI);
  else if (kind === K.seg_rBX_al) {
    instruction.setOpKind(n, OpKind.Memory);
    instruction.memoryBase = [R.BX, R.EBX, R.RBX][column] ?? R.RBX;
    instruction.memoryIndex = R.AL;
  } else throw new Error(`${form.name}: no rule for the operand kind ${K[kind]}`);
}

function setPrefixes(instruction: Instruction, form: Form, request: Request, random: Random): void {
  if (request.lock) instruction.hasLockPrefix = true;
  if (request.rep === 'rep') instruction.hasRepPrefix = true;
  if (request.rep === 'repne') instruction.hasRepnePrefix = true;
  const overridable = form.mode === 16 && (request.operand === 'memory' || form.operandKinds.includes(K.mem_offs));
  const flatOverride = form.mode !== 16 && request.operand === 'memory' && random.oneIn(form.mode === 32 ? 6 : 16);
  if (overridable && random.oneIn(3)) instruction.segmentPrefix = random.pick([R.ES, R.SS, R.DS, R.FS, R.GS]);
  else if (flatOverride)
    instruction.segmentPrefix = random.pick(form.mode === 64 ? [R.ES, R.CS, R.SS, R.DS] : [R.ES, R.SS, R.DS]);
}

function setMemory(instruction: Instruction, form: Form, n: number, request: Request, random: Random): void {
  instruction.setOpKind(n, OpKind.Memory);
  const indices = VECTOR_INDICES.get(form.operandKinds[n] ?? K.mem);
  if (indices) return setVectorIndex(instruction, form, n, indices, random);
  if (form.mode === 16 && !random.oneIn(3)) return set16BitAddress(instruction, random);
  const registers = form.mode === 64 && !random.oneIn(request.ordinal % 2 === 0 ? 5 : 20) ? GPR64 : GPR32;
  const pool = (form.mode === 64 ? registers : registers.slice(0, 8)).filter(
    (_, number) =>
      number !== 4 &&
      !((form.featureGroup || IMPLICIT_OPERANDS.has(form.group)) && number < 4) &&
      !(form.group === 'stack' && number === 5),
  );
  const shape = random.pick(
    form.mode === 64 ? [0, 1, 2, 2, 2, 3, 4, 5, 6] : form.mode === 32 ? [0, 1, 2, 2, 3, 4, 5] : [0, 1, 2, 2, 3],
  );
  const displacement = BigInt(random.pick([8, -8, 0x70, -0x80, 0x1238, -0x7654328, 0x7fff_fff8]));
  const isSmall = displacement >= -128n && displacement <= 127n;
  const hasBase = shape <= 2;
  if (hasBase) instruction.memoryBase = random.pick(pool);
  if (shape >= 2 && shape <= 3) {
    instruction.memoryIndex = random.pick(pool.filter((register) => register !== instruction.memoryBase));
    instruction.memoryIndexScale = random.pick([1, 2, 4, 8]);
  }
  if (shape === 1 || shape === 2)
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [
      isSmall ? 1 : form.mode === 64 ? 8 : 4,
      displacement,
    ];
  if (shape === 3)
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [form.mode === 64 ? 8 : 4, displacement];
  if (shape >= 4) setFixedAddress(instruction, form, shape, random);
}

/** A base register, a small displacement, and a vector of indices. */
function setVectorIndex(instruction: Instruction, form: Form, n: number, indices: Register[], random: Random): void {
  const available = form.mode === 64 ? indices : indices.slice(0, 8);
  const first = n === 0 ? R.None : instruction.op0Register;
  instruction.memoryIndex = random.pick(available.filter((register) => !sameNumber(first, register)));
  instruction.memoryIndexScale = random.pick([1, 2, 4, 8]);
  instruction.memoryBase = form.mode === 64 ? random.pick(GPR64.slice(5)) : R.ESI;
  if (random.oneIn(2)) [instruction.memoryDisplSize, instruction.memoryDisplacement] = [1, 0x40n];
}

/** Addresses that depend on no register the case may choose: absolute, relative to RIP, on the stack. */
function setFixedAddress(instruction: Instruction, form: Form, shape: number, random: Random): void {
  const target = DATA_ADDRESS + 0x200 + 16 * random.below(0x180);
  if (shape === 5) {
    instruction.memoryBase = form.mode === 64 ? R.RSP : R.ESP;
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [1, random.pick([0x10n, 0x40n, -0x40n])];
  } else {
    if (shape === 6) instruction.memoryBase = R.RIP;
    [instruction.memoryDisplSize, instruction.memoryDisplacement] = [form.mode === 64 ? 8 : 4, BigInt(target)];
  }
}

const PAIRS_16: [Register, Register][] = [
  [R.BX, R.SI],
  [R.BX, R.DI],
  [R.BP, R.SI],
  [R.BP, R.DI],
  [R.SI, R.None],
  [R.DI, R.None],
  [R.BP, R.None],
  [R.BX, R.None],
  [R.None, R.None],
];

function set16BitAddress(instruction: Instruction, random: Random): void {
  const [base, index] = random.pick(PAIRS_16);
  [instruction.memoryBase, instruction.memoryIndex] = [base, index];
  const size = base === R.None ? 2 : random.pick([0, 1, 2]);
  const displacement =
    size === 1 ? random.pick([5n, -6n, 0x7fn, -0x80n]) : BigInt(random.pick([0x1234, 0x8000, 0xfff0, 0x200]));
  if (size === 0 && base !== R.BP) return;
  [instruction.memoryDisplSize, instruction.memoryDisplacement] = size === 0 ? [1, 0n] : [size, displacement];
}
