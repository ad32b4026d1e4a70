import { hex } from '../hexadecimal.ts';
import type { ByteReader } from './byte-reader.ts';
import { decodeText, type StringTable } from './string-table.ts';

/** The string sections that attribute forms point into. */
export interface DwarfStrings {
  /** .debug_str */
  readonly str: StringTable;
  /** .debug_line_str, DWARF 5 */
  readonly lineStr: StringTable;
}

/** What the size of a form depends on, from the header of the unit. */
export interface UnitFormat {
  readonly version: number;
  /** 4 in the 32-bit, 8 in the 64-bit DWARF format. */
  readonly offsetBytes: 4 | 8;
  readonly addressBytes: number;
}

/** What an attribute says; undefined where the form has a meaning that no line table needs. */
export type AttributeValue = string | number | undefined;

type FormReader = (reader: ByteReader, unit: UnitFormat, strings: DwarfStrings) => AttributeValue;

const skip =
  (lengthBytes: number): FormReader =>
  (reader) =>
    void reader.skip(lengthBytes);
const skipOffset: FormReader = (reader, unit) => void reader.skip(unit.offsetBytes);
const skipLeb128: FormReader = (reader) => void reader.uleb128();
const skipNothing: FormReader = () => undefined;

/** DW_FORM_*: DWARF 5, section 7.5.6 "Form Encodings". */
const FORMS = new Map<number, FormReader>([
  [0x01, (reader, unit) => void reader.skip(unit.addressBytes)], // addr
  [0x03, (reader) => void reader.skip(reader.u16())], // block2
  [0x04, (reader) => void reader.skip(reader.u32())], // block4
  [0x05, (reader) => reader.u16()], // data2
  [0x06, (reader) => reader.u32()], // data4
  [0x07, skip(8)], // data8
  [0x08, (reader) => decodeText(reader.zeroTerminated())], // string
  [0x09, (reader) => void reader.skip(reader.count())], // block
  [0x0a, (reader) => void reader.skip(reader.u8())], // block1
  [0x0b, (reader) => reader.u8()], // data1
  [0x0c, skip(1)], // flag
  [0x0d, skipLeb128], // sdata
  [0x0e, (reader, unit, strings) => strings.str.at(readOffset(reader, unit))], // strp
  [0x0f, (reader) => Number(reader.uleb128())], // udata
  [0x10, (reader, unit) => void reader.skip(unit.version === 2 ? unit.addressBytes : unit.offsetBytes)], // ref_addr
  [0x11, skip(1)], // ref1
  [0x12, skip(2)], // ref2
  [0x13, skip(4)], // ref4
  [0x14, skip(8)], // ref8
  [0x15, skipLeb128], // ref_udata
  [0x17, (reader, unit) => readOffset(reader, unit)], // sec_offset
  [0x18, (reader) => void reader.skip(reader.count())], // exprloc
  [0x19, skipNothing], // flag_present
  [0x1a, skipLeb128], // strx
  [0x1b, skipLeb128], // addrx
  [0x1c, skip(4)], // ref_sup4
  [0x1d, skipOffset], // strp_sup
  [0x1e, skip(16)], // data16
  [0x1f, (reader, unit, strings) => strings.lineStr.at(readOffset(reader, unit))], // line_strp
  [0x20, skip(8)], // ref_sig8
  [0x21, skipNothing], // implicit_const, its value is in the abbreviation
  [0x22, skipLeb128], // loclistx
  [0x23, skipLeb128], // rnglistx
  [0x24, skip(8)], // ref_sup8
  [0x25, skip(1)], // strx1
  [0x26, skip(2)], // strx2
  [0x27, skip(3)], // strx3
  [0x28, skip(4)], // strx4
  [0x29, skip(1)], // addrx1
  [0x2a, skip(2)], // addrx2
  [0x2b, skip(3)], // addrx3
  [0x2c, skip(4)], // addrx4
  [0x1f20, skipOffset], // GNU_ref_alt
  [0x1f21, skipOffset], // GNU_strp_alt
]);

/** DW_FORM_implicit_const: its abbreviation carries a value. */
export const DW_FORM_IMPLICIT_CONST = 0x21;

/** DW_FORM_indirect: the form itself stands before the value. */
const DW_FORM_INDIRECT = 0x16;

/**
 * Reads or passes over one attribute value.
 *
 * @throws UserError for an unknown form: nothing after it can be read.
 */
export function readForm(reader: ByteReader, form: number, unit: UnitFormat, strings: DwarfStrings): AttributeValue {
  const at = reader.offset;
  const actual = form === DW_FORM_INDIRECT ? reader.count() : form;
  const read = FORMS.get(actual);
  if (read === undefined) {
    throw reader.error('Unknown debug information', 'a form of DWARF 2 to 5', hex(actual), at);
  }
  return read(reader, unit, strings);
}

export function readOffset(reader: ByteReader, unit: Pick<UnitFormat, 'offsetBytes'>): number {
  return unit.offsetBytes === 8 ? reader.offset64() : reader.u32();
}

/** The extent of a unit, after its initial length. */
export interface UnitExtent {
  readonly offsetBytes: 4 | 8;
  /** Offset behind the unit; beyond the section if that is cut short. */
  readonly end: number;
}

/** DWARF 5, section 7.4 "32-Bit and 64-Bit DWARF Formats": 0xffffffff announces a 64-bit length. */
export function readUnitExtent(reader: ByteReader): UnitExtent {
  const first = reader.u32();
  if (first !== 0xffff_ffff) {
    return { offsetBytes: 4, end: reader.offset + first };
  }
  const lengthBytes = reader.offset64();
  return { offsetBytes: 8, end: reader.offset + lengthBytes };
}
