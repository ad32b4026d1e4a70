import { ByteReader } from './byte-reader.ts';
import {
  type ElfFile,
  type ElfSection,
  type ElfSymbol,
  ET_REL,
  findSection,
  SHF_COMPRESSED,
  SHT_REL,
  SHT_RELA,
  sectionBytes,
} from './elf.ts';

/** Bytes that a relocation of debug information writes, by its type: System V ABI, table "Relocation Types". */
const ABSOLUTE_X86_64 = new Map([
  [1, 8], // R_X86_64_64
  [10, 4], // R_X86_64_32
  [11, 4], // R_X86_64_32S
]);
const ABSOLUTE_386 = new Map([[1, 4]]); // R_386_32

interface Relocation {
  readonly offset: number;
  readonly type: number;
  readonly symbol: number;
  /** Undefined where the addend is in the place to be changed (SHT_REL). */
  readonly addend: bigint | undefined;
}

/**
 * The bytes of a debug section as a debugger needs them: in a relocatable file with its relocations applied, every
 * section lying at its sh_addr (0). Undefined if there is no such section or if it is compressed.
 */
export function debugSection(elf: ElfFile, name: string, symbols: readonly ElfSymbol[]): Uint8Array | undefined {
  const section = findSection(elf, name);
  if (section === undefined || (section.flags & SHF_COMPRESSED) !== 0n) {
    return undefined;
  }
  const bytes = sectionBytes(elf, section);
  if (elf.type !== ET_REL) {
    return bytes;
  }
  const relocated = bytes.slice();
  for (const table of elf.sections) {
    if (table.info === section.index && (table.type === SHT_RELA || table.type === SHT_REL)) {
      applyTable(elf, relocated, table, symbols);
    }
  }
  return relocated;
}

function applyTable(elf: ElfFile, bytes: Uint8Array, table: ElfSection, symbols: readonly ElfSymbol[]): void {
  const sizes = elf.bits === 64 ? ABSOLUTE_X86_64 : ABSOLUTE_386;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const relocation of readTable(elf, table)) {
    const size = sizes.get(relocation.type);
    const symbol = symbols[relocation.symbol];
    if (size === undefined || symbol === undefined || relocation.offset + size > bytes.length) {
      continue; // Other types (R_X86_64_NONE, …) do not occur in .debug_line; a bad one spoils a row, not the file.
    }
    const base = symbol.value + (elf.sections[symbol.section]?.address ?? 0n);
    if (size === 8) {
      view.setBigUint64(
        relocation.offset,
        base + (relocation.addend ?? view.getBigUint64(relocation.offset, true)),
        true,
      );
    } else {
      const addend = relocation.addend ?? BigInt(view.getUint32(relocation.offset, true));
      view.setUint32(relocation.offset, Number(BigInt.asUintN(32, base + addend)), true);
    }
  }
}

function readTable(elf: ElfFile, table: ElfSection): Relocation[] {
  const reader = new ByteReader(sectionBytes(elf, table), table.name, table.offset);
  const hasAddend = table.type === SHT_RELA;
  const entryBytes = (elf.bits === 64 ? 16 : 8) + (hasAddend ? elf.bits / 8 : 0);
  const count = Math.floor(reader.length / entryBytes);
  const read = elf.bits === 64 ? readRelocation64 : readRelocation32;
  return Array.from({ length: count }, () => read(reader, hasAddend));
}

function readRelocation64(reader: ByteReader, hasAddend: boolean): Relocation {
  const offset = reader.offset64();
  const type = reader.u32();
  const symbol = reader.u32();
  return { offset, type, symbol, addend: hasAddend ? BigInt.asIntN(64, reader.u64()) : undefined };
}

function readRelocation32(reader: ByteReader, hasAddend: boolean): Relocation {
  const offset = reader.u32();
  const info = reader.u32();
  return { offset, type: info & 0xff, symbol: info >>> 8, addend: hasAddend ? BigInt(reader.u32() | 0) : undefined };
}
