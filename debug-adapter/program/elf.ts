import { UserError } from '../errors.ts';
import { hex, hexBytes } from '../hexadecimal.ts';
import { ByteReader } from './byte-reader.ts';
import { StringTable } from './string-table.ts';

/*
 * Executable and Linkable Format, System V ABI, chapter "Object Files", and its AMD64 and i386 supplements.
 *
 * Own reader: the npm package elfinfo reads correct files well, but needs Node's fs, path and querystring in the
 * browser, looks names that share a tail up by a linear scan, and did not come back within 100 s from a few hundred
 * mutated 1.5 KiB object files (counts of malformed headers drive its loops).
 */

/** e_type. */
export const ET_REL = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const ET_CORE = 4;

/** e_machine. */
export const EM_386 = 3;
export const EM_X86_64 = 62;

/** p_type. */
export const PT_LOAD = 1;
export const PT_INTERP = 3;

/** sh_type. */
const SHT_SYMTAB = 2;
export const SHT_RELA = 4;
const SHT_NOBITS = 8;
export const SHT_REL = 9;

/** sh_flags. */
export const SHF_COMPRESSED = 0x800n;

/** Special section indices. */
export const SHN_UNDEF = 0;
export const SHN_LORESERVE = 0xff00;
export const SHN_ABS = 0xfff1;
const SHN_XINDEX = 0xffff;

/** e_phnum when the number of program headers is in sh_info of section 0. */
const PN_XNUM = 0xffff;

/** st_info, low four bits. */
export const STT_NOTYPE = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;

/** st_info, high four bits. */
export const STB_LOCAL = 0;

export interface ElfProgramHeader {
  readonly type: number;
  readonly flags: number;
  /** p_offset, bytes from the start of the file. */
  readonly offset: number;
  readonly virtualAddress: bigint;
  readonly physicalAddress: bigint;
  /** p_filesz. */
  readonly fileBytes: number;
  /** p_memsz. */
  readonly memoryBytes: bigint;
}

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly address: bigint;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly link: number;
  readonly info: number;
  readonly entryBytes: number;
}

export interface ElfSymbol {
  readonly name: string;
  /** st_value: an address, in a relocatable file an offset in its section. */
  readonly value: bigint;
  readonly size: bigint;
  /** STT_*. */
  readonly type: number;
  /** STB_*. */
  readonly binding: number;
  /** st_shndx. */
  readonly section: number;
}

export interface ElfFile {
  readonly bytes: Uint8Array;
  /** EI_CLASS. */
  readonly bits: 32 | 64;
  /** ET_*. */
  readonly type: number;
  /** EM_*. */
  readonly machine: number;
  readonly entry: bigint;
  readonly programHeaders: readonly ElfProgramHeader[];
  readonly sections: readonly ElfSection[];
}

interface ElfHeader {
  readonly bits: 32 | 64;
  readonly type: number;
  readonly machine: number;
  readonly entry: bigint;
  readonly programHeaderOffset: number;
  readonly programHeaderBytes: number;
  readonly programHeaders: number;
  readonly sectionHeaderOffset: number;
  readonly sectionHeaderBytes: number;
  readonly sectionHeaders: number;
  readonly nameSection: number;
}

/** True if the bytes begin with the ELF magic number, whatever follows. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * Reads the headers, program headers and sections of a little-endian ELF file of any machine and type.
 *
 * @throws UserError with the offset for a file that is malformed.
 */
export function parseElf(bytes: Uint8Array): ElfFile {
  const reader = new ByteReader(bytes, 'ELF file');
  const header = readHeader(reader);
  const sections = readSections(reader, header);
  return {
    bytes,
    bits: header.bits,
    type: header.type,
    machine: header.machine,
    entry: header.entry,
    programHeaders: readProgramHeaders(reader, header),
    sections,
  };
}

/** The bytes of a section as they are in the file; none for SHT_NOBITS (.bss). */
export function sectionBytes(elf: ElfFile, section: ElfSection): Uint8Array {
  return section.type === SHT_NOBITS
    ? new Uint8Array(0)
    : new ByteReader(elf.bytes, `section ${section.name}`).seek(section.offset).slice(section.sizeBytes);
}

export function findSection(elf: ElfFile, name: string): ElfSection | undefined {
  return elf.sections.find((section) => section.name === name);
}

/** The entries of .symtab in file order, the null symbol at 0 included, so that relocations can index them. */
export function readSymbols(elf: ElfFile): ElfSymbol[] {
  const table = elf.sections.find((section) => section.type === SHT_SYMTAB);
  if (table === undefined) {
    return [];
  }
  const names = new StringTable(linkedBytes(elf, table));
  const reader = new ByteReader(sectionBytes(elf, table), '.symtab', table.offset);
  const symbolBytes = elf.bits === 32 ? 16 : 24;
  const count = Math.floor(reader.length / symbolBytes);
  return Array.from({ length: count }, () =>
    elf.bits === 32 ? readSymbol32(reader, names) : readSymbol64(reader, names),
  );
}

function linkedBytes(elf: ElfFile, section: ElfSection): Uint8Array {
  const linked = elf.sections[section.link];
  if (linked === undefined) {
    throw new UserError('Malformed ELF file', {
      expected: `sh_link of ${section.name} below ${elf.sections.length}`,
      found: `${section.link}`,
      where: `section ${section.index}`,
    });
  }
  return sectionBytes(elf, linked);
}

function readHeader(reader: ByteReader): ElfHeader {
  const bits = readIdentification(reader);
  reader.seek(16);
  const type = reader.u16();
  const machine = reader.u16();
  reader.skip(4);
  const entry = word(reader, bits);
  const programHeaderOffset = wordOffset(reader, bits);
  const sectionHeaderOffset = wordOffset(reader, bits);
  reader.skip(6);
  const header = {
    bits,
    type,
    machine,
    entry,
    programHeaderOffset,
    sectionHeaderOffset,
    programHeaderBytes: reader.u16(),
    programHeaders: reader.u16(),
    sectionHeaderBytes: reader.u16(),
    sectionHeaders: reader.u16(),
    nameSection: reader.u16(),
  };
  return sectionHeaderOffset === 0 ? { ...header, sectionHeaders: 0 } : extendedCounts(reader, header);
}

function readIdentification(reader: ByteReader): 32 | 64 {
  if (!isElf(reader.bytes)) {
    throw reader.error('Not an ELF file', '7f 45 4c 46', hexBytes(reader.bytes.subarray(0, 4)) || 'an empty file');
  }
  reader.seek(4);
  const fileClass = reader.u8();
  if (fileClass !== 1 && fileClass !== 2) {
    throw reader.error('Malformed ELF file', 'EI_CLASS 1 (32-bit) or 2 (64-bit)', `${fileClass}`, 4);
  }
  const encoding = reader.u8();
  if (encoding !== 1) {
    throw reader.error('Not an x86 ELF file', 'EI_DATA 1 (little-endian)', `${encoding}`, 5);
  }
  return fileClass === 1 ? 32 : 64;
}

/** Counts that do not fit the header's 16 bits are in the fields of section header 0. */
function extendedCounts(reader: ByteReader, header: ElfHeader): ElfHeader {
  if (header.sectionHeaders !== 0 && header.programHeaders !== PN_XNUM && header.nameSection !== SHN_XINDEX) {
    return header;
  }
  reader.seek(header.sectionHeaderOffset);
  const first = readSectionFields(reader, header.bits);
  return {
    ...header,
    sectionHeaders: header.sectionHeaders === 0 ? first.sizeBytes : header.sectionHeaders,
    programHeaders: header.programHeaders === PN_XNUM ? first.info : header.programHeaders,
    nameSection: header.nameSection === SHN_XINDEX ? first.link : header.nameSection,
  };
}

function readProgramHeaders(reader: ByteReader, header: ElfHeader): ElfProgramHeader[] {
  const entryBytes = header.bits === 32 ? 32 : 56;
  return readTable(reader, 'program header', {
    offset: header.programHeaderOffset,
    count: header.programHeaders,
    strideBytes: header.programHeaderBytes,
    entryBytes,
    read: () => (header.bits === 32 ? readProgramHeader32(reader) : readProgramHeader64(reader)),
  });
}

function readProgramHeader32(reader: ByteReader): ElfProgramHeader {
  const type = reader.u32();
  const offset = reader.u32();
  const virtualAddress = BigInt(reader.u32());
  const physicalAddress = BigInt(reader.u32());
  const fileBytes = reader.u32();
  const memoryBytes = BigInt(reader.u32());
  return { type, flags: reader.u32(), offset, virtualAddress, physicalAddress, fileBytes, memoryBytes };
}

function readProgramHeader64(reader: ByteReader): ElfProgramHeader {
  const type = reader.u32();
  const flags = reader.u32();
  const offset = reader.offset64();
  const virtualAddress = reader.u64();
  const physicalAddress = reader.u64();
  return {
    type,
    flags,
    offset,
    virtualAddress,
    physicalAddress,
    fileBytes: reader.offset64(),
    memoryBytes: reader.u64(),
  };
}

type SectionFields = Omit<ElfSection, 'index' | 'name'> & { readonly nameOffset: number };

function readSections(reader: ByteReader, header: ElfHeader): ElfSection[] {
  const fields = readTable(reader, 'section header', {
    offset: header.sectionHeaderOffset,
    count: header.sectionHeaders,
    strideBytes: header.sectionHeaderBytes,
    entryBytes: header.bits === 32 ? 40 : 64,
    read: () => readSectionFields(reader, header.bits),
  });
  const names = sectionNames(reader, fields[header.nameSection]);
  return fields.map(({ nameOffset, ...section }, index) => ({ ...section, index, name: names.at(nameOffset) ?? '' }));
}

function sectionNames(reader: ByteReader, section: SectionFields | undefined): StringTable {
  if (section === undefined || section.type === SHT_NOBITS) {
    return new StringTable(new Uint8Array(0));
  }
  return new StringTable(reader.seek(section.offset).slice(section.sizeBytes));
}

function readSectionFields(reader: ByteReader, bits: 32 | 64): SectionFields {
  const nameOffset = reader.u32();
  const type = reader.u32();
  const flags = word(reader, bits);
  const address = word(reader, bits);
  const offset = wordOffset(reader, bits);
  const sizeBytes = wordOffset(reader, bits);
  const link = reader.u32();
  const info = reader.u32();
  wordOffset(reader, bits);
  return { nameOffset, type, flags, address, offset, sizeBytes, link, info, entryBytes: wordOffset(reader, bits) };
}

interface Table<Entry> {
  readonly offset: number;
  readonly count: number;
  /** Distance of two entries as the header says. */
  readonly strideBytes: number;
  /** Size of an entry that this reader understands. */
  readonly entryBytes: number;
  readonly read: () => Entry;
}

function readTable<Entry>(reader: ByteReader, what: string, table: Table<Entry>): Entry[] {
  if (table.count === 0) {
    return [];
  }
  if (table.strideBytes < table.entryBytes) {
    throw reader.error('Malformed ELF file', `${what}s of ${table.entryBytes} bytes`, `${table.strideBytes}`, 0);
  }
  const available = Math.floor((reader.length - table.offset) / table.strideBytes);
  if (table.count > available) {
    const found = `a file that ends after ${Math.max(0, available)}`;
    throw reader.error('Malformed ELF file', `${table.count} ${what}s at ${hex(table.offset)}`, found, table.offset);
  }
  return Array.from({ length: table.count }, (_, index) => {
    reader.seek(table.offset + index * table.strideBytes);
    return table.read();
  });
}

function readSymbol32(reader: ByteReader, names: StringTable): ElfSymbol {
  const name = names.at(reader.u32()) ?? '';
  const value = BigInt(reader.u32());
  const size = BigInt(reader.u32());
  const info = reader.u8();
  reader.skip(1);
  return { name, value, size, type: info & 0xf, binding: info >> 4, section: reader.u16() };
}

function readSymbol64(reader: ByteReader, names: StringTable): ElfSymbol {
  const name = names.at(reader.u32()) ?? '';
  const info = reader.u8();
  reader.skip(1);
  const section = reader.u16();
  return { name, value: reader.u64(), size: reader.u64(), type: info & 0xf, binding: info >> 4, section };
}

/** A word of the file's class. */
function word(reader: ByteReader, bits: 32 | 64): bigint {
  return bits === 32 ? BigInt(reader.u32()) : reader.u64();
}

function wordOffset(reader: ByteReader, bits: 32 | 64): number {
  return bits === 32 ? reader.u32() : reader.offset64();
}
