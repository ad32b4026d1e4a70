import { isUserError } from '../errors.ts';
import { ByteReader } from './byte-reader.ts';
import {
  type AttributeValue,
  DW_FORM_IMPLICIT_CONST,
  type DwarfStrings,
  readForm,
  readOffset,
  readUnitExtent,
  type UnitFormat,
} from './dwarf-form.ts';

const DW_AT_STMT_LIST = 0x10;
const DW_AT_COMP_DIR = 0x1b;

/** Unit types of DWARF 5 whose header carries 8 more bytes, and those of type units. */
const DW_UT_TYPE = 0x02;
const DW_UT_SKELETON = 0x04;
const DW_UT_SPLIT_COMPILE = 0x05;
const DW_UT_SPLIT_TYPE = 0x06;

interface Attribute {
  readonly name: number;
  readonly form: number;
}

/**
 * The directories that compilations ran in, by the offset of their line table in .debug_line.
 *
 * Up to DWARF 4 the line table does not name it. Only the first entry of each unit is read, so what follows it may be
 * anything. A malformed unit is passed over: its paths then stay relative.
 */
export function compilationDirectories(
  info: Uint8Array,
  abbreviations: Uint8Array,
  strings: DwarfStrings,
): Map<number, string> {
  const directories = new Map<number, string>();
  const reader = new ByteReader(info, '.debug_info');
  try {
    while (!reader.atEnd) {
      const extent = readUnitExtent(reader);
      const end = Math.min(extent.end, info.length);
      readUnit(new ByteReader(info.subarray(0, end), '.debug_info').seek(reader.offset), extent.offsetBytes);
      reader.seek(end);
    }
  } catch (error) {
    if (!isUserError(error)) {
      throw error;
    }
  }
  return directories;

  function readUnit(unitReader: ByteReader, offsetBytes: 4 | 8): void {
    try {
      const root = readRootEntry(unitReader, offsetBytes, abbreviations, strings);
      const directory = root.get(DW_AT_COMP_DIR);
      const lineTable = root.get(DW_AT_STMT_LIST);
      if (typeof directory === 'string' && typeof lineTable === 'number') {
        directories.set(lineTable, directory);
      }
    } catch (error) {
      if (!isUserError(error)) {
        throw error;
      }
    }
  }
}

function readRootEntry(
  reader: ByteReader,
  offsetBytes: 4 | 8,
  abbreviations: Uint8Array,
  strings: DwarfStrings,
): Map<number, AttributeValue> {
  const { unit, abbreviationOffset } = readUnitHeader(reader, offsetBytes);
  const attributes = new Map<number, AttributeValue>();
  for (const { name, form } of findAbbreviation(abbreviations, abbreviationOffset, reader.uleb128())) {
    attributes.set(name, readForm(reader, form, unit, strings));
  }
  return attributes;
}

/** DWARF 5, section 7.5.1 "Unit Headers"; before version 5 the address size came last and there was no unit type. */
function readUnitHeader(reader: ByteReader, offsetBytes: 4 | 8): { unit: UnitFormat; abbreviationOffset: number } {
  const version = reader.u16();
  if (version < 5) {
    const abbreviationOffset = readOffset(reader, { offsetBytes });
    return { unit: { version, offsetBytes, addressBytes: reader.u8() }, abbreviationOffset };
  }
  const type = reader.u8();
  const addressBytes = reader.u8();
  const abbreviationOffset = readOffset(reader, { offsetBytes });
  if (type === DW_UT_SKELETON || type === DW_UT_SPLIT_COMPILE) {
    reader.skip(8);
  } else if (type === DW_UT_TYPE || type === DW_UT_SPLIT_TYPE) {
    reader.skip(8 + offsetBytes);
  }
  return { unit: { version, offsetBytes, addressBytes }, abbreviationOffset };
}

/** The attributes of an abbreviation code, by a scan from the start of the unit's table: the root entry's is first. */
function findAbbreviation(table: Uint8Array, offset: number, code: bigint): Attribute[] {
  const reader = new ByteReader(table, '.debug_abbrev').seek(offset);
  for (;;) {
    const at = reader.offset;
    const found = reader.uleb128();
    if (found === 0n) {
      throw reader.error('Malformed debug information', `abbreviation ${code}`, 'the end of the table', at);
    }
    reader.uleb128();
    reader.skip(1);
    const attributes = readAttributes(reader);
    if (found === code) {
      return attributes;
    }
  }
}

function readAttributes(reader: ByteReader): Attribute[] {
  const attributes: Attribute[] = [];
  for (;;) {
    const name = reader.count();
    const form = reader.count();
    if (name === 0 && form === 0) {
      return attributes;
    }
    if (form === DW_FORM_IMPLICIT_CONST) {
      reader.sleb128();
    }
    attributes.push({ name, form });
  }
}
