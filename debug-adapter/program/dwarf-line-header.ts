import type { ByteReader } from './byte-reader.ts';
import { type AttributeValue, type DwarfStrings, readForm, readOffset, type UnitFormat } from './dwarf-form.ts';
import { resolvePath } from './source-path.ts';
import { decodeText } from './string-table.ts';

const DW_LNCT_PATH = 1;
const DW_LNCT_DIRECTORY_INDEX = 2;

/** The header of a line number program: DWARF 5, section 6.2.4 "The Line Number Program Header". */
export interface LineProgramHeader {
  readonly version: number;
  readonly minimumInstructionLength: number;
  readonly maximumOperationsPerInstruction: number;
  readonly defaultIsStatement: boolean;
  readonly lineBase: number;
  readonly lineRange: number;
  readonly opcodeBase: number;
  /** Number of LEB128 operands of each standard opcode; index 0 is opcode 1. */
  readonly standardOpcodeLengths: readonly number[];
  /** Paths by the program's file register; DW_LNE_define_file adds to them. */
  readonly files: string[];
  /** The first file's number in `files` is 0 from DWARF 5 on, 1 before. */
  readonly directories: readonly string[];
}

/**
 * Reads a header from its version field on and leaves the reader at the first opcode.
 *
 * @param compilationDirectory what relative directories are resolved against up to DWARF 4, '' if unknown
 * @throws UserError if it is malformed or of a version other than 2 to 5
 */
export function readLineProgramHeader(
  reader: ByteReader,
  offsetBytes: 4 | 8,
  strings: DwarfStrings,
  compilationDirectory: string,
): LineProgramHeader {
  const version = reader.u16();
  if (version < 2 || version > 5) {
    throw reader.error('Unknown line table', 'DWARF version 2 to 5', `${version}`, reader.offset - 2);
  }
  const addressBytes = version >= 5 ? reader.u8() : 8;
  if (version >= 5) {
    reader.skip(1);
  }
  const headerBytes = readOffset(reader, { offsetBytes });
  const program = reader.offset + headerBytes;
  const fixed = readFixedFields(reader, version);
  const tables =
    version >= 5
      ? readTables5(reader, { version, offsetBytes, addressBytes }, strings, compilationDirectory)
      : readTables2(reader, compilationDirectory);
  reader.seek(program);
  return { version, ...fixed, ...tables };
}

function readFixedFields(reader: ByteReader, version: number) {
  const minimumInstructionLength = reader.u8();
  const maximumOperationsPerInstruction = version >= 4 ? Math.max(1, reader.u8()) : 1;
  const defaultIsStatement = reader.u8() !== 0;
  const lineBase = reader.i8();
  const lineRange = reader.u8();
  const opcodeBase = reader.u8();
  if (lineRange === 0 || opcodeBase === 0) {
    const found = `${lineRange} and ${opcodeBase}`;
    throw reader.error('Malformed line table', 'line_range and opcode_base above 0', found, reader.offset - 2);
  }
  return {
    minimumInstructionLength,
    maximumOperationsPerInstruction,
    defaultIsStatement,
    lineBase,
    lineRange,
    opcodeBase,
    standardOpcodeLengths: Array.from({ length: opcodeBase - 1 }, () => reader.u8()),
  };
}

type PathTables = Pick<LineProgramHeader, 'files' | 'directories'>;

function readTables2(reader: ByteReader, compilationDirectory: string): PathTables {
  const directories = [compilationDirectory];
  for (let name = reader.zeroTerminated(); name.length > 0; name = reader.zeroTerminated()) {
    directories.push(resolvePath(compilationDirectory, decodeText(name)));
  }
  const files = [''];
  for (let name = reader.zeroTerminated(); name.length > 0; name = reader.zeroTerminated()) {
    files.push(readFileEntry(reader, decodeText(name), directories));
  }
  return { files, directories };
}

/** What follows a file's name up to DWARF 4: directory index, time of modification, length. */
export function readFileEntry(reader: ByteReader, name: string, directories: readonly string[]): string {
  const directory = directories[reader.count()] ?? '';
  reader.uleb128();
  reader.uleb128();
  return resolvePath(directory, name);
}

function readTables5(
  reader: ByteReader,
  unit: UnitFormat,
  strings: DwarfStrings,
  compilationDirectory: string,
): PathTables {
  const directories: string[] = [];
  for (const entry of readEntries(reader, unit, strings)) {
    directories.push(resolvePath(directories[0] ?? compilationDirectory, asText(entry.get(DW_LNCT_PATH))));
  }
  const files: string[] = [];
  for (const entry of readEntries(reader, unit, strings)) {
    const index = entry.get(DW_LNCT_DIRECTORY_INDEX) ?? 0;
    const directory = typeof index === 'number' ? directories[index] : undefined;
    files.push(resolvePath(directory ?? '', asText(entry.get(DW_LNCT_PATH))));
  }
  return { files, directories };
}

function asText(value: AttributeValue): string {
  return typeof value === 'string' ? value : '';
}

/** A directory or file table of DWARF 5: the description of its entries, their number, the entries. */
function* readEntries(
  reader: ByteReader,
  unit: UnitFormat,
  strings: DwarfStrings,
): Generator<Map<number, AttributeValue>> {
  const formatCount = reader.u8();
  const format = Array.from({ length: formatCount }, () => ({ content: reader.count(), form: reader.count() }));
  const count = reader.count();
  for (let index = 0; index < count; index += 1) {
    const at = reader.offset;
    const entry = new Map<number, AttributeValue>();
    for (const { content, form } of format) {
      entry.set(content, readForm(reader, form, unit, strings));
    }
    if (reader.offset === at) {
      throw reader.error('Malformed line table', 'entries of at least one byte', `${count} empty entries`);
    }
    yield entry;
  }
}
