/**
 * Finds the callers of a guest's code on its stack. There are no unwind tables in what people write by hand, so this
 * looks for words that are return addresses: behind a CALL, or part of what an interrupt pushes.
 */
import type { Disassembler } from '../../disassembly/disassembler.ts';
import type { Vcpu } from '../../engine-target.ts';
import type { LoadedProgram } from '../../program/loaded-program.ts';
import { type CodeView, guestView } from './position.ts';

export interface Caller {
  /** Linear address at which it goes on. */
  readonly address: bigint;
  /** Linear address of the top of the stack once it goes on. */
  readonly stackTop: bigint;
  /** How it was left. */
  readonly kind: 'call' | 'interrupt';
}

interface Scan extends CodeView {
  readonly program: LoadedProgram;
  readonly disassembler: Disassembler;
}

/** How far up the stack one frame may reach. */
const SEARCHED_BYTES = 8192;
const LONGEST_CALL = 7;
const RFLAGS_ALWAYS_SET = 2n;
const RFLAGS_LIMIT = 1n << 22n;

/** The callers of the code that a vCPU is in, innermost first, found as they are asked for. */
export function* callersOf(
  vcpu: Vcpu,
  program: LoadedProgram,
  disassembler: Disassembler,
): Generator<Caller, undefined, void> {
  const view = guestView(vcpu);
  const { position } = view;
  const scan = { ...view, program, disassembler };
  let here = { address: position.address, stackTop: position.stackTop };
  for (;;) {
    const caller = findCaller(scan, here.address, here.stackTop);
    if (caller === undefined) {
      return undefined;
    }
    yield caller;
    here = caller;
  }
}

/**
 * The nearest return address above. In compiled code, whose functions are known by extent, one of a direct call must
 * lead to the function that we are in, since locals may hold stale ones; what follows a tail call must not.
 */
function findCaller(scan: Scan, address: bigint, stackTop: bigint): Caller | undefined {
  const word = scan.position.codeSize / 8;
  const stack = scan.peek(stackTop, SEARCHED_BYTES);
  const own = scan.program.symbols.functionAt(address);
  const isStrict = own?.symbol.kind === 'function' && own.symbol.size > 0;
  let loose: Caller | undefined;
  for (let offset = 0; offset + word <= stack.length; offset += word) {
    const found = candidateAt(scan, stack, offset, stackTop);
    if (found === undefined) {
      continue;
    }
    if (!isStrict || found.target === undefined || found.target === own?.start) {
      return found.caller;
    }
    loose ??= found.caller;
  }
  return loose;
}

interface Candidate {
  readonly caller: Caller;
  /** What a direct call called. */
  readonly target: bigint | undefined;
}

function candidateAt(scan: Scan, stack: Uint8Array, offset: number, stackTop: bigint): Candidate | undefined {
  const word = scan.position.codeSize / 8;
  const address = BigInt.asUintN(64, scan.codeBase + wordAt(stack, offset, word));
  const call = callBefore(scan, address);
  if (call !== undefined) {
    const caller = { address, stackTop: stackTop + BigInt(offset + word), kind: 'call' } as const;
    return { caller, target: call.target === undefined ? undefined : BigInt.asUintN(64, call.target) };
  }
  const interrupted = interruptFrame(scan, stack, offset, stackTop);
  return interrupted === undefined ? undefined : { caller: interrupted, target: undefined };
}

/** The call whose return address this would be. */
function callBefore({ peek, program, disassembler, position }: Scan, address: bigint) {
  if (!program.symbols.covers(address) || !program.symbols.covers(address - 1n)) {
    return undefined;
  }
  for (let length = 2; length <= LONGEST_CALL; length += 1) {
    const start = address - BigInt(length);
    const bytes = peek(start, length);
    const instruction = disassembler.decode(bytes, position.codeSize, start);
    if (instruction?.flow === 'call' && instruction.lengthBytes === length) {
      return instruction;
    }
  }
  return undefined;
}

/** RIP, CS, RFLAGS, and in 64-bit mode always RSP and SS: what an interrupt or exception pushes. */
function interruptFrame(
  { program, position }: Scan,
  stack: Uint8Array,
  offset: number,
  stackTop: bigint,
): Caller | undefined {
  const word = position.codeSize / 8;
  const [ip, cs, flags] = [0, 1, 2].map((index) => wordAt(stack, offset + index * word, word)) as [
    bigint,
    bigint,
    bigint,
  ];
  const isFlags = (flags & RFLAGS_ALWAYS_SET) !== 0n && flags < RFLAGS_LIMIT && (flags & 0x8028n) === 0n;
  const isSelector = cs < 0x1_0000n && (position.codeSize === 16 || cs >= 8n);
  if (offset + 3 * word > stack.length || !isFlags || !isSelector) {
    return undefined;
  }
  const address = position.codeSize === 16 ? cs * 16n + ip : ip;
  if (!program.symbols.covers(address)) {
    return undefined;
  }
  const popsStack = position.codeSize === 64 || (position.codeSize === 32 && Number(cs & 3n) !== position.ring);
  const stackSelector = popsStack ? wordAt(stack, offset + 4 * word, word) : 0n;
  if (stackSelector >= 0x1_0000n) {
    return undefined;
  }
  const above = popsStack ? wordAt(stack, offset + 3 * word, word) : stackTop + BigInt(offset + 3 * word);
  return { address, stackTop: above, kind: 'interrupt' };
}

function wordAt(bytes: Uint8Array, offset: number, length: number): bigint {
  let value = 0n;
  for (let index = length - 1; index >= 0; index -= 1) {
    value = (value << 8n) | BigInt(bytes[offset + index] ?? 0);
  }
  return value;
}
