/**
 * Runs a sample on machines that are not ours (support/judges.ts), to hear from them what it prints: QEMU, and Bochs for
 * what needs VT-x.
 */
import { cpSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadProgram } from '../../debug-adapter/program/load-program.ts';
import {
  assemble,
  DEBUG_CONSOLE,
  inTemporaryFolder,
  type JudgedRun,
  runImageUnderBochs,
  runImageUnderQemu,
} from '../support/judges.ts';

const HERE = path.dirname(fileURLToPath(import.meta.url));
export const SAMPLES = path.join(HERE, '../../samples');

/** How QEMU is to start a sample: the machine, and the options that load the image. */
interface QemuSetup {
  readonly image: 'asm' | 'elf32';
  readonly options: (image: string, folder: string) => string[];
}

const KERNEL: QemuSetup = { image: 'asm', options: (image) => [...DEBUG_CONSOLE, '-kernel', image] };

const QEMU_SETUPS: Readonly<Record<string, QemuSetup>> = {
  'c-program': { ...KERNEL, image: 'elf32' },
  paging: KERNEL,
  rings: { image: 'asm', options: (image) => [...DEBUG_CONSOLE, '-drive', `format=raw,if=ide,file=${image}`] },
  sensitive: KERNEL,
  'tiny-svm': KERNEL,
  'virtio-block': { image: 'asm', options: microvmOptions },
};

export const QEMU_SAMPLES = Object.keys(QEMU_SETUPS);

/** Builds the sample with the real NASM, or takes its ELF32 as committed, and runs it to its end under QEMU. */
export function runUnderQemu(sample: string): Promise<JudgedRun> {
  const setup = QEMU_SETUPS[sample];
  if (setup === undefined) {
    throw new Error(`QEMU cannot judge the sample ${sample}; it can judge ${QEMU_SAMPLES.join(', ')}`);
  }
  return inTemporaryFolder(async (folder) => {
    const image = path.join(folder, 'image');
    if (setup.image === 'asm') {
      assemble(path.join(SAMPLES, sample, `${sample}.asm`), image);
    } else {
      cpSync(path.join(SAMPLES, sample, `${sample}.elf32`), image);
    }
    return await runImageUnderQemu(setup.options(image, folder));
  });
}

/** QEMU's "microvm" has virtio-mmio at the same places as Ringside. Both consoles go to standard output. */
function microvmOptions(image: string, folder: string): string[] {
  const disk = path.join(folder, 'disk');
  writeFileSync(disk, '');
  truncateSync(disk, 64 * 1024);
  return [
    ...['-M', 'microvm', '-global', 'virtio-mmio.force-legacy=false'],
    ...['-chardev', 'stdio,id=out,mux=on,signal=off', '-device', 'isa-debugcon,iobase=0xe9,chardev=out'],
    ...['-drive', `id=disk,if=none,format=raw,file=${disk}`, '-device', 'virtio-blk-device,drive=disk'],
    ...['-device', 'virtio-serial-device', '-device', 'virtconsole,chardev=out'],
    ...['-kernel', image],
  ];
}

/** Builds a multiboot sample, or a program `SAMPLE/PROGRAM`, with the real NASM and runs it under Bochs with an Intel CPU model. */
export function runUnderBochs(sample: string): Promise<JudgedRun> {
  return inTemporaryFolder(async (folder) => {
    const image = path.join(folder, 'image');
    const program = sample.includes('/') ? sample : `${sample}/${sample}`;
    assemble(path.join(SAMPLES, `${program}.asm`), image);
    return await runImageUnderBochs(image, folder);
  });
}

/** Runs a sample's ELF64 file under Bochs, by way of an image that loads it (support/elf-loader.asm). */
export async function runElfUnderBochs(sample: string): Promise<JudgedRun> {
  const program = path.join(SAMPLES, sample, `${sample}.elf`);
  const { segments, entry } = await loadProgram(
    { program, memoryBytes: 64 << 20 },
    { files: { read: (name) => readFile(name) }, assemble: () => Promise.reject(new Error('an ELF file')) },
  );
  return inTemporaryFolder(async (folder) => {
    const lines = segments.map(({ address, bytes, zeroBytes = 0 }, index) => {
      const file = path.join(folder, `segment-${index}`);
      writeFileSync(file, bytes);
      return `load "${file}", ${address}, ${zeroBytes}\n`;
    });
    const list = path.join(folder, 'segments.inc');
    writeFileSync(list, lines.join(''));
    const image = path.join(folder, 'image');
    const defines = [`-DENTRY=${entry.address}`, `-DSEGMENTS="${list}"`];
    assemble(path.join(HERE, '../support/elf-loader.asm'), image, ...defines);
    return await runImageUnderBochs(image, folder);
  });
}

/** What the sample's `expected.json` says. */
export function readExpected(sample: string): { exitCode: number } {
  return JSON.parse(readFileSync(path.join(SAMPLES, sample, 'expected.json'), 'utf8'));
}
