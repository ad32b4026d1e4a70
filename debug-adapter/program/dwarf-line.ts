import { isUserError } from '../errors.ts';
import { ByteReader } from './byte-reader.ts';
import { type DwarfStrings, readUnitExtent } from './dwarf-form.ts';
import { type LineProgramHeader, readFileEntry, readLineProgramHeader } from './dwarf-line-header.ts';
import { compilationDirectories } from './dwarf-unit.ts';
import type { LineRow } from './line-table.ts';
import { decodeText, StringTable } from './string-table.ts';

/** The contents of the sections that line tables are spread over. */
export interface DwarfSections {
  /** .debug_line */
  readonly line: Uint8Array;
  /** .debug_line_str */
  readonly lineStr?: Uint8Array | undefined;
  /** .debug_str */
  readonly str?: Uint8Array | undefined;
  /** .debug_info and .debug_abbrev, for the directory of the compilation up to DWARF 4 */
  readonly info?: Uint8Array | undefined;
  readonly abbrev?: Uint8Array | undefined;
}

export interface DwarfLines {
  /** In the order of the section; each sequence ends with a row of `endSequence`. */
  readonly rows: LineRow[];
  /** What was malformed and has been left out. */
  readonly problems: string[];
}

/** DW_LNS_*: DWARF 5, section 6.2.5.2 "Standard Opcodes". */
const DW_LNS_COPY = 1;
const DW_LNS_ADVANCE_PC = 2;
const DW_LNS_ADVANCE_LINE = 3;
const DW_LNS_SET_FILE = 4;
const DW_LNS_SET_COLUMN = 5;
const DW_LNS_NEGATE_STMT = 6;
const DW_LNS_CONST_ADD_PC = 8;
const DW_LNS_FIXED_ADVANCE_PC = 9;

/** DW_LNE_*: section 6.2.5.3 "Extended Opcodes"; 3 existed up to DWARF 4. */
const DW_LNE_END_SEQUENCE = 1;
const DW_LNE_SET_ADDRESS = 2;
const DW_LNE_DEFINE_FILE = 3;

const NO_BYTES = new Uint8Array(0);

/**
 * Reads all line number programs of a .debug_line section, versions 2 to 5.
 *
 * A malformed program ends where it goes wrong, the others are read all the same: a file with bad debug information
 * is still a program.
 */
export function readDwarfLines(sections: DwarfSections): DwarfLines {
  const strings: DwarfStrings = {
    str: new StringTable(sections.str ?? NO_BYTES),
    lineStr: new StringTable(sections.lineStr ?? NO_BYTES),
  };
  const directories = compilationDirectories(sections.info ?? NO_BYTES, sections.abbrev ?? NO_BYTES, strings);
  const result: DwarfLines = { rows: [], problems: [] };
  const reader = new ByteReader(sections.line, '.debug_line');
  let more = true;
  while (more && !reader.atEnd) {
    more = keepProblem(result.problems, () => {
      const start = reader.offset;
      const extent = readUnitExtent(reader);
      const end = Math.min(extent.end, reader.length);
      const unit = new ByteReader(sections.line.subarray(0, end), '.debug_line').seek(reader.offset);
      reader.seek(end);
      keepProblem(result.problems, () => {
        const header = readLineProgramHeader(unit, extent.offsetBytes, strings, directories.get(start) ?? '');
        runLineProgram(unit, header, result.rows);
      });
    });
  }
  return result;
}

/** Runs `read`; false, and a line more in `problems`, if it ended in a user error. */
function keepProblem(problems: string[], read: () => void): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
    problems.push(error.message);
    return false;
  }
}

function runLineProgram(reader: ByteReader, header: LineProgramHeader, rows: LineRow[]): void {
  const machine = new LineMachine(header, rows);
  try {
    while (!reader.atEnd) {
      machine.step(reader);
    }
  } finally {
    machine.closeSequence();
  }
}

/** The state machine of DWARF 5, section 6.2.2 "State-Machine Registers". */
class LineMachine {
  readonly #header: LineProgramHeader;
  readonly #rows: LineRow[];
  #address = 0n;
  #operation = 0;
  #file = 1;
  #line = 1;
  #column = 0;
  #isStatement: boolean;
  #inSequence = false;

  constructor(header: LineProgramHeader, rows: LineRow[]) {
    this.#header = header;
    this.#rows = rows;
    this.#isStatement = header.defaultIsStatement;
  }

  step(reader: ByteReader): void {
    const opcode = reader.u8();
    if (opcode >= this.#header.opcodeBase) {
      const adjusted = opcode - this.#header.opcodeBase;
      this.#advance(Math.floor(adjusted / this.#header.lineRange));
      this.#line += this.#header.lineBase + (adjusted % this.#header.lineRange);
      this.#emit(false);
    } else if (opcode === 0) {
      this.#extended(reader);
    } else {
      this.#standard(opcode, reader);
    }
  }

  /** Ends a sequence that a malformed program left open, so that its rows do not run into the next one. */
  closeSequence(): void {
    if (this.#inSequence) {
      this.#emit(true);
    }
  }

  #standard(opcode: number, reader: ByteReader): void {
    switch (opcode) {
      case DW_LNS_COPY:
        this.#emit(false);
        return;
      case DW_LNS_ADVANCE_PC:
        this.#advance(reader.count());
        return;
      case DW_LNS_ADVANCE_LINE:
        this.#line = Number(BigInt.asIntN(32, BigInt(this.#line) + reader.sleb128()));
        return;
      case DW_LNS_SET_FILE:
        this.#file = reader.count();
        return;
      case DW_LNS_SET_COLUMN:
        this.#column = reader.count();
        return;
      case DW_LNS_NEGATE_STMT:
        this.#isStatement = !this.#isStatement;
        return;
      case DW_LNS_CONST_ADD_PC:
        this.#advance(Math.floor((255 - this.#header.opcodeBase) / this.#header.lineRange));
        return;
      case DW_LNS_FIXED_ADVANCE_PC:
        this.#move(BigInt(reader.u16()));
        this.#operation = 0;
        return;
      default: // The registers of the others are not kept: only their operands are passed over.
        for (let operand = this.#header.standardOpcodeLengths[opcode - 1] ?? 0; operand > 0; operand -= 1) {
          reader.uleb128();
        }
    }
  }

  #extended(reader: ByteReader): void {
    const lengthBytes = reader.count();
    if (lengthBytes === 0) {
      return;
    }
    const end = reader.offset + lengthBytes;
    const opcode = reader.u8();
    if (opcode === DW_LNE_END_SEQUENCE) {
      this.#emit(true);
      this.#reset();
    } else if (opcode === DW_LNE_SET_ADDRESS) {
      this.#address = readAddress(reader, lengthBytes - 1);
      this.#operation = 0;
    } else if (opcode === DW_LNE_DEFINE_FILE) {
      const name = decodeText(reader.zeroTerminated());
      this.#header.files.push(readFileEntry(reader, name, this.#header.directories));
    }
    reader.seek(end);
  }

  /** An operation advance: section 6.2.5.1 "Special Opcodes". */
  #advance(operations: number): void {
    const { minimumInstructionLength, maximumOperationsPerInstruction } = this.#header;
    const total = this.#operation + operations;
    this.#move(BigInt(minimumInstructionLength * Math.floor(total / maximumOperationsPerInstruction)));
    this.#operation = total % maximumOperationsPerInstruction;
  }

  #move(bytes: bigint): void {
    this.#address = BigInt.asUintN(64, this.#address + bytes);
  }

  #emit(endSequence: boolean): void {
    this.#rows.push({
      address: this.#address,
      path: this.#header.files[this.#file] ?? '',
      line: this.#line,
      column: this.#column,
      isStatement: this.#isStatement,
      endSequence,
    });
    this.#inSequence = !endSequence;
  }

  #reset(): void {
    this.#address = 0n;
    this.#operation = 0;
    this.#file = 1;
    this.#line = 1;
    this.#column = 0;
    this.#isStatement = this.#header.defaultIsStatement;
  }
}

function readAddress(reader: ByteReader, lengthBytes: number): bigint {
  switch (lengthBytes) {
    case 8:
      return reader.u64();
    case 4:
      return BigInt(reader.u32());
    case 2:
      return BigInt(reader.u16());
    default:
      throw reader.error('Malformed line table', 'an address of 2, 4 or 8 bytes', `${lengthBytes}`);
  }
}
