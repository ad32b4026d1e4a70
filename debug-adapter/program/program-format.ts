/** Which format a program has, by its contents and its extension. */
import { UserError } from '../errors.ts';
import { isElf } from './elf.ts';
import type { EntryMode, ProgramKind } from './loaded-program.ts';
import { findMultibootHeader } from './multiboot.ts';
import { extensionOf } from './source-path.ts';

/** What else tells of the format. */
export interface FormatHints {
  /** Path of the program. */
  readonly program: string;
  readonly loadAddress?: number | undefined;
  readonly entryMode?: EntryMode | undefined;
}

const SHORTEST_TEXT_BYTES = 16;
const ASSEMBLY_EXTENSIONS = ['.asm', '.nasm'];
const SOURCE_EXTENSIONS = ['.c', '.cc', '.cpp', '.h', '.rs', '.zig', '.s', '.inc'];

const startsAt =
  (offset: number, text: string) =>
  (bytes: Uint8Array): boolean =>
    [...text].every((character, index) => bytes[offset + index] === character.charCodeAt(0));

/** Formats that would run as a flat binary for a moment and then fail in a way that helps nobody. */
const foreignFormats: readonly { readonly name: string; readonly isMet: (bytes: Uint8Array) => boolean }[] = [
  { name: 'a Linux bzImage', isMet: startsAt(0x202, 'HdrS') },
  { name: 'a PE or DOS executable', isMet: startsAt(0, 'MZ') },
  { name: 'a Mach-O executable', isMet: startsAt(0, '\xcf\xfa\xed\xfe') },
  { name: 'a text', isMet: isText },
];

/** @throws UserError for what no loader takes */
export function detectKind(bytes: Uint8Array, request: FormatHints): ProgramKind {
  const extension = extensionOf(request.program);
  if (ASSEMBLY_EXTENSIONS.includes(extension)) {
    return 'assembly';
  }
  if (isElf(bytes)) {
    return request.entryMode !== undefined || findMultibootHeader(bytes) === undefined ? 'elf' : 'multiboot';
  }
  if (SOURCE_EXTENSIONS.includes(extension)) {
    throw new UserError('The program is a source file', {
      expected: 'NASM source (.asm), a flat binary or an ELF executable',
      found: extension,
      whatToDo: 'build it in a preLaunchTask and set "program" to what that makes',
    });
  }
  if (request.loadAddress !== undefined || request.entryMode !== undefined) {
    return 'flat';
  }
  refuseForeignFormats(bytes);
  return findMultibootHeader(bytes)?.addresses === undefined ? 'flat' : 'multiboot';
}

function refuseForeignFormats(bytes: Uint8Array): void {
  const foreign = foreignFormats.find(({ isMet }) => isMet(bytes));
  if (foreign !== undefined) {
    throw new UserError('The format of the program is not supported', {
      expected: 'NASM source (.asm), a flat binary, a Multiboot kernel or an ELF executable',
      found: foreign.name,
      whatToDo: 'if it is a flat binary all the same, set "loadAddress" or "entryMode"',
    });
  }
}

/** Code of more than a few bytes has some that no text has. */
function isText(bytes: Uint8Array): boolean {
  const isControl = (byte: number) => byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(byte);
  if (bytes.length < SHORTEST_TEXT_BYTES || bytes.some(isControl)) {
    return false;
  }
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
