/** The emulators that Ringside is measured beside, as Debian and npm package them. */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseElf } from '../../debug-adapter/program/elf.ts';
import { elfSegments } from '../../debug-adapter/program/load-elf.ts';
import { endOf } from '../../debug-adapter/program/loaded-program.ts';
import { assemble, inTemporaryFolder } from '../support/judges.ts';
import { type Emulator, type GuestImage, MEMORY_MIB, type RunSettings, runConsole } from './emulator.ts';

/**
 * QEMU loads Multiboot kernels itself. It has no VMX without hardware that has. It stays when the guest powers off, so that
 * its memory and time can still be read.
 */
export const qemu: Emulator = {
  name: 'QEMU TCG',
  programs: ['qemu-system-x86_64'],
  lacks: ['VMX'],
  run: ({ elf, commandLine }, settings) =>
    runConsole(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg', '-cpu', 'max', '-m', `${MEMORY_MIB}`],
        ...['-display', 'none', '-no-reboot', '-nodefaults', '-debugcon', 'stdio'],
        ...['-no-shutdown', '-kernel', elf, '-append', commandLine],
      ],
      settings,
    ),
};

/** Bochs boots the guest from a ROM that does what a Multiboot loader would. */
export function bochs(benchFolder: string): Emulator {
  return {
    name: 'Bochs',
    programs: ['bochs', 'nasm'],
    lacks: [],
    run: (guest, settings) => inTemporaryFolder((folder) => runBochs(guest, settings, benchFolder, folder)),
  };
}

/** v86 has neither VMX nor 64-bit code. It is WebAssembly in a process of node, as Ringside is. */
export function v86(benchFolder: string): Emulator {
  const script = path.join(benchFolder, 'v86-process.mjs');
  return {
    name: 'v86',
    programs: ['node'],
    lacks: ['64-bit code', 'VMX'],
    run: ({ elf, commandLine }, settings) =>
      runConsole(process.execPath, [script, elf, commandLine, `${MEMORY_MIB}`], settings),
  };
}

function runBochs(guest: GuestImage, settings: RunSettings, benchFolder: string, folder: string) {
  buildRom(guest, path.join(benchFolder, '..', 'support', 'bochs-rom.asm'), folder);
  writeFileSync(path.join(folder, 'vgarom'), new Uint8Array(32 * 1024));
  writeFileSync(path.join(folder, 'bochsrc'), configuration(folder));
  // Debian's Bochs has its debugger built in, which wants to be told to start.
  writeFileSync(path.join(folder, 'commands'), 'continue\n');
  const options = ['-q', '-f', path.join(folder, 'bochsrc'), '-rc', path.join(folder, 'commands')];
  return runConsole('bochs', options, settings);
}

function buildRom({ elf, commandLine }: GuestImage, source: string, folder: string): void {
  const file = parseElf(new Uint8Array(readFileSync(elf)));
  const segments = elfSegments(file);
  const start = Math.min(...segments.map(({ address }) => address));
  const image = new Uint8Array(Math.max(...segments.map(({ address, bytes }) => address + bytes.length)) - start);
  for (const { address, bytes } of segments) image.set(bytes, address - start);
  const imagePath = path.join(folder, 'image');
  writeFileSync(imagePath, image);
  const symbols = {
    IMAGE: `"${imagePath}"`,
    COMMAND_LINE: `"guest ${commandLine}"`,
    LOAD_ADDRESS: start,
    BSS_END: Math.max(...segments.map(endOf)),
    ENTRY: file.entry,
  };
  assemble(source, path.join(folder, 'rom'), ...Object.entries(symbols).map(([name, value]) => `-D${name}=${value}`));
}

/**
 * As fast as Debian's build can be made: nothing is drawn, and at this many instructions per simulated second the
 * devices' timers hardly ever run.
 */
function configuration(folder: string): string {
  return `
plugin_ctrl: biosdev=0, gameport=0, serial=0, parallel=0, extfpuirq=0, speaker=0
memory: guest=${MEMORY_MIB}, host=${MEMORY_MIB}
romimage: file=${folder}/rom
vgaromimage: file=${folder}/vgarom
cpu: model=corei7_sandy_bridge_2600k, ips=500000000, reset_on_triple_fault=0
port_e9_hack: enabled=1
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
panic: action=fatal
log: ${folder}/log
`;
}
