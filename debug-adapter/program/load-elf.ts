import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';
import { ByteReader } from './byte-reader.ts';
import {
  type ElfFile,
  type ElfProgramHeader,
  EM_386,
  EM_X86_64,
  ET_CORE,
  ET_DYN,
  ET_EXEC,
  ET_REL,
  PT_INTERP,
  PT_LOAD,
} from './elf.ts';
import type { ProgramSegment } from './loaded-program.ts';

const NOT_EXECUTABLE = new Map([
  [ET_REL, { found: 'a relocatable object file', whatToDo: 'link it with ld' }],
  [ET_DYN, { found: 'a position-independent or shared object', whatToDo: 'link with -static -no-pie' }],
  [ET_CORE, { found: 'a core dump', whatToDo: 'open the program that it came from' }],
]);

/** @throws UserError for a file that is not a static x86 executable */
export function checkExecutable(elf: ElfFile): void {
  if (elf.machine !== EM_386 && elf.machine !== EM_X86_64) {
    throw new UserError('The program is not for x86', {
      expected: 'e_machine 3 (EM_386) or 62 (EM_X86_64)',
      found: `${elf.machine}`,
    });
  }
  if (elf.programHeaders.some(({ type }) => type === PT_INTERP)) {
    throw new UserError('The program needs an operating system', {
      expected: 'a static, freestanding executable',
      found: 'one for a dynamic linker (PT_INTERP)',
      whatToDo: 'compile with -ffreestanding -nostdlib and link with -static -no-pie',
    });
  }
  if (elf.type !== ET_EXEC) {
    const known = NOT_EXECUTABLE.get(elf.type) ?? { found: `e_type ${elf.type}`, whatToDo: 'link an executable' };
    throw new UserError('The program is not an executable', { expected: 'e_type 2 (ET_EXEC)', ...known });
  }
}

function loadHeaders(elf: ElfFile): ElfProgramHeader[] {
  return elf.programHeaders.filter(({ type, memoryBytes }) => type === PT_LOAD && memoryBytes > 0n);
}

/** The segments to be loaded, each at its physical address (p_paddr). */
export function elfSegments(elf: ElfFile): ProgramSegment[] {
  return loadHeaders(elf).map((header) => {
    const { fileBytes, memoryBytes, physicalAddress } = header;
    if (BigInt(fileBytes) > memoryBytes) {
      throw new UserError('Malformed ELF file', {
        expected: `p_filesz up to p_memsz ${hex(memoryBytes)}`,
        found: hex(fileBytes),
        where: `segment at ${hex(physicalAddress)}`,
      });
    }
    const name = `segment at ${hex(physicalAddress)}`;
    const bytes = new ByteReader(elf.bytes, name).seek(header.offset).slice(fileBytes);
    return { address: Number(physicalAddress), bytes, zeroBytes: Number(memoryBytes) - fileBytes };
  });
}

/**
 * The entry for a start without paging or with RAM mapped to itself: e_entry, which must lie in a segment whose
 * virtual address is its physical one.
 */
export function identityEntry(elf: ElfFile): bigint {
  const { virtual, physical } = entrySegment(elf);
  if (virtual !== undefined && virtual.virtualAddress !== virtual.physicalAddress && physical === undefined) {
    throw new UserError('The entry is not mapped at the start', {
      expected: 'an entry in a segment whose virtual address is its physical address (RAM is mapped to itself)',
      found: `entry ${hex(elf.entry)} in a segment loaded at ${hex(virtual.physicalAddress)}`,
      whatToDo: 'link start code at its load address that turns on paging, or add a Multiboot header',
    });
  }
  return elf.entry;
}

/** The entry for a boot protocol that starts without paging: a virtual e_entry moved to where its segment is. */
export function physicalEntry(elf: ElfFile): bigint {
  const { virtual, physical } = entrySegment(elf);
  return virtual === undefined || physical !== undefined
    ? elf.entry
    : elf.entry - virtual.virtualAddress + virtual.physicalAddress;
}

/** The segments that the entry lies in, seen as a virtual and as a physical address. */
function entrySegment(elf: ElfFile) {
  const headers = loadHeaders(elf);
  const within = (start: bigint, header: ElfProgramHeader) =>
    elf.entry >= start && elf.entry < start + header.memoryBytes;
  const virtual = headers.find((header) => within(header.virtualAddress, header));
  const physical = headers.find((header) => within(header.physicalAddress, header));
  if (virtual === undefined && physical === undefined) {
    throw new UserError('The entry lies outside of the program', {
      expected: 'e_entry in a loaded segment',
      found: hex(elf.entry),
      whatToDo: 'name the first instruction by ENTRY in the linker script, or by ld -e',
    });
  }
  return { virtual, physical };
}
