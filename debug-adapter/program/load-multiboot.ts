import { UserError } from '../errors.ts';
import { endOf, findFreeRange, formatBytes, type ProgramEntry, type ProgramSegment } from './loaded-program.ts';
import {
  buildMultibootInformation,
  MULTIBOOT_BOOTLOADER_MAGIC,
  type MultibootInformation,
  pcMemoryMap,
} from './multiboot.ts';

const BOOT_LOADER_NAME = 'Ringside';
const PAGE_BYTES = 4096;
const MIB = 1024 * 1024;
/** Multiboot addresses have 32 bits. */
const ADDRESS_LIMIT = 2 ** 32;
/** Behind the interrupt vectors and the firmware's data area, up to the extended data area of a PC. */
const LOW_MEMORY = { low: 0x1000, high: 0x9fc00 };

export interface MultibootBoot {
  readonly memoryBytes: number;
  /** The program's name first, as boot loaders pass it. */
  readonly commandLine: string;
  readonly module?: { readonly bytes: Uint8Array; readonly commandLine: string } | undefined;
}

/** What a boot loader adds to a kernel: the module, the information structure, and the registers that name it. */
export function bootByMultiboot(
  kernel: readonly ProgramSegment[],
  address: bigint,
  boot: MultibootBoot,
): { segments: ProgramSegment[]; entry: ProgramEntry } {
  const segments = [...kernel];
  const modules: MultibootInformation['modules'][number][] = [];
  if (boot.module !== undefined) {
    const segment = placeModule(segments, boot.module.bytes, boot.memoryBytes);
    segments.push(segment);
    modules.push({ start: segment.address, end: endOf(segment), commandLine: boot.module.commandLine });
  }
  const information = placeInformation(segments, boot.memoryBytes, {
    memoryMap: pcMemoryMap(boot.memoryBytes),
    commandLine: boot.commandLine,
    modules,
    bootLoaderName: BOOT_LOADER_NAME,
  });
  segments.push(information);
  const registers = { EAX: BigInt(MULTIBOOT_BOOTLOADER_MAGIC), EBX: BigInt(information.address) };
  return { segments, entry: { mode: 'protected', address, registers } };
}

/** At the top of memory, where it is out of the way of a kernel that takes memory behind itself. */
function placeModule(taken: readonly ProgramSegment[], bytes: Uint8Array, memoryBytes: number): ProgramSegment {
  const high = Math.min(memoryBytes, ADDRESS_LIMIT);
  const address = findFreeRange(taken, bytes.length, { low: MIB, high, alignment: PAGE_BYTES, fromTop: true });
  if (address === undefined) {
    throw new UserError('The initrd does not fit into memory', {
      expected: `${formatBytes(bytes.length)} free above 1 MiB`,
      found: `${formatBytes(memoryBytes)} of memory`,
      whatToDo: 'raise "memory"',
    });
  }
  return { address, bytes, zeroBytes: 0 };
}

function placeInformation(
  taken: readonly ProgramSegment[],
  memoryBytes: number,
  information: MultibootInformation,
): ProgramSegment {
  const size = buildMultibootInformation(information, 0).length;
  const high = { low: MIB, high: Math.min(memoryBytes, ADDRESS_LIMIT), alignment: PAGE_BYTES };
  const low = { ...LOW_MEMORY, high: Math.min(memoryBytes, LOW_MEMORY.high), alignment: PAGE_BYTES };
  const address = findFreeRange(taken, size, low) ?? findFreeRange(taken, size, high);
  if (address === undefined) {
    throw new UserError('The Multiboot information does not fit into memory', {
      expected: `${formatBytes(size)} free`,
      found: `${formatBytes(memoryBytes)} of memory, all taken`,
      whatToDo: 'raise "memory"',
    });
  }
  return { address, bytes: buildMultibootInformation(information, address), zeroBytes: 0 };
}
