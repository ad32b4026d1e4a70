import { type DwarfLines, readDwarfLines } from './dwarf-line.ts';
import {
  type ElfFile,
  type ElfSymbol,
  ET_REL,
  findSection,
  SHF_COMPRESSED,
  SHN_ABS,
  SHN_LORESERVE,
  SHN_UNDEF,
  STB_LOCAL,
  STT_FUNC,
  STT_NOTYPE,
  STT_OBJECT,
} from './elf.ts';
import { debugSection } from './elf-relocation.ts';
import type { ProgramSymbol, SymbolKind } from './symbols.ts';

/** The named code, data and constants of an ELF symbol table; sections, files and undefined symbols left out. */
export function elfProgramSymbols(elf: ElfFile, symbols: readonly ElfSymbol[]): ProgramSymbol[] {
  return symbols.flatMap((symbol) => {
    const kind = kindOf(symbol);
    if (kind === undefined || symbol.name === '') {
      return [];
    }
    const base = elf.type === ET_REL ? (elf.sections[symbol.section]?.address ?? 0n) : 0n;
    const address = BigInt.asUintN(64, symbol.value + base);
    const isGlobal = symbol.binding !== STB_LOCAL;
    return [{ name: symbol.name, address, size: Number(symbol.size), kind, isGlobal }];
  });
}

function kindOf(symbol: ElfSymbol): SymbolKind | undefined {
  if (symbol.section === SHN_UNDEF || (symbol.section >= SHN_LORESERVE && symbol.section !== SHN_ABS)) {
    return undefined;
  }
  if (symbol.section === SHN_ABS) {
    return symbol.type === STT_NOTYPE || symbol.type === STT_OBJECT ? 'constant' : undefined;
  }
  switch (symbol.type) {
    case STT_FUNC:
      return 'function';
    case STT_OBJECT:
      return 'object';
    case STT_NOTYPE:
      return 'label';
    default:
      return undefined;
  }
}

/** The rows of .debug_line; none, without a problem, for a file that has no debug information. */
export function elfLines(elf: ElfFile, symbols: readonly ElfSymbol[]): DwarfLines {
  const lineSection = findSection(elf, '.debug_line');
  if (lineSection === undefined) {
    return { rows: [], problems: [] };
  }
  if ((lineSection.flags & SHF_COMPRESSED) !== 0n) {
    return { rows: [], problems: ['The debug information is compressed. Compile and link with -gz=none.'] };
  }
  const section = (name: string) => debugSection(elf, name, symbols);
  return readDwarfLines({
    line: section('.debug_line') ?? new Uint8Array(0),
    lineStr: section('.debug_line_str'),
    str: section('.debug_str'),
    info: section('.debug_info'),
    abbrev: section('.debug_abbrev'),
  });
}
