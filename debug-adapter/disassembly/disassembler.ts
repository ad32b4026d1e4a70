import {
  Decoder,
  DecoderOptions,
  FlowControl,
  Formatter,
  FormatterSyntax,
  type Instruction,
  Mnemonic,
  OpKind,
} from 'iced-x86';
import { hex } from '../hexadecimal.ts';

export type CodeBits = 16 | 32 | 64;

/** What an instruction does to the flow of control, as far as stepping needs to know. */
export type Flow = 'next' | 'call' | 'interrupt' | 'system-call' | 'return' | 'branch' | 'vm-entry';

export interface DisassembledInstruction {
  /** As given: an instruction pointer or a linear address. */
  readonly address: bigint;
  readonly lengthBytes: number;
  /** NASM syntax, with symbols in place of addresses. */
  readonly text: string;
  readonly mnemonic: string;
  readonly flow: Flow;
  readonly hasRepeat: boolean;
  /** Of a direct near branch or call. */
  readonly target: bigint | undefined;
  readonly isValid: boolean;
}

/** Names an address in an operand; undefined where no symbol is near. */
export type NameAddress = (address: bigint) => string | undefined;

export const MAXIMUM_INSTRUCTION_BYTES = 15;

/** Decodes and prints single instructions. Holds WebAssembly objects: dispose of it. */
export class Disassembler {
  readonly #formatter = new Formatter(FormatterSyntax.Nasm);

  constructor() {
    this.#formatter.hexPrefix = '0x';
    this.#formatter.hexSuffix = '';
    this.#formatter.uppercaseHex = false;
    this.#formatter.spaceAfterOperandSeparator = true;
    this.#formatter.smallHexNumbersInDecimal = true;
    this.#formatter.addLeadingZeroToHexNumbers = false;
    this.#formatter.ripRelativeAddresses = false;
  }

  /**
   * The first instruction of the bytes.
   *
   * @returns undefined if there is no byte; for bytes that are no instruction, one that is not valid
   */
  decode(bytes: Uint8Array, bits: CodeBits, address: bigint, name?: NameAddress): DisassembledInstruction | undefined {
    if (bytes.length === 0) {
      return undefined;
    }
    const decoder = new Decoder(bits, bytes, DecoderOptions.None);
    decoder.ip = address;
    const instruction = decoder.decode();
    try {
      return this.#describe(instruction, address, bytes, name);
    } finally {
      instruction.free();
      decoder.free();
    }
  }

  dispose(): void {
    this.#formatter.free();
  }

  #describe(
    instruction: Instruction,
    address: bigint,
    bytes: Uint8Array,
    name: NameAddress | undefined,
  ): DisassembledInstruction {
    if (instruction.isInvalid) {
      return { ...NOT_AN_INSTRUCTION, address, text: `db ${hex(bytes[0] ?? 0, 2)}` };
    }
    const text = this.#formatter.format(instruction);
    return {
      address,
      lengthBytes: instruction.length,
      text: name === undefined ? text : withNames(text, instruction, name),
      mnemonic: Mnemonic[instruction.mnemonic]?.toLowerCase() ?? '',
      flow: flowOf(instruction),
      hasRepeat: instruction.hasRepPrefix || instruction.hasRepnePrefix,
      target: isNearBranch(instruction) ? instruction.nearBranchTarget : undefined,
      isValid: true,
    };
  }
}

const NOT_AN_INSTRUCTION = {
  lengthBytes: 1,
  mnemonic: '',
  flow: 'next',
  hasRepeat: false,
  target: undefined,
  isValid: false,
} as const;

function isNearBranch(instruction: Instruction): boolean {
  const kind = instruction.opCount > 0 ? instruction.opKind(0) : undefined;
  return kind === OpKind.NearBranch16 || kind === OpKind.NearBranch32 || kind === OpKind.NearBranch64;
}

/** The formatter prints addresses as numbers; those that have a name get it. */
function withNames(text: string, instruction: Instruction, name: NameAddress): string {
  const address = isNearBranch(instruction)
    ? instruction.nearBranchTarget
    : instruction.isIpRelMemoryOperand
      ? instruction.ipRelMemoryAddress
      : undefined;
  const symbol = address === undefined ? undefined : name(address);
  if (address === undefined || symbol === undefined) {
    return text;
  }
  return isNearBranch(instruction)
    ? text.replace(/(?:near |short |far )?0x[0-9a-f]+$|(?:near |short |far )?[0-9]+$/, symbol)
    : `${text}  ; ${symbol} (${hex(address)})`;
}

function flowOf(instruction: Instruction): Flow {
  switch (instruction.mnemonic) {
    case Mnemonic.Syscall:
    case Mnemonic.Sysenter:
      return 'system-call';
    case Mnemonic.Vmlaunch:
    case Mnemonic.Vmresume:
      return 'vm-entry';
  }
  switch (instruction.flowControl) {
    case FlowControl.Call:
    case FlowControl.IndirectCall:
      return instruction.mnemonic === Mnemonic.Call ? 'call' : 'next';
    case FlowControl.Interrupt:
      return 'interrupt';
    case FlowControl.Return:
      return 'return';
    case FlowControl.ConditionalBranch:
    case FlowControl.UnconditionalBranch:
    case FlowControl.IndirectBranch:
      return 'branch';
    default:
      return 'next';
  }
}
