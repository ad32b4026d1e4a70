/**
 * The process that runs one guest under v86: `node v86-process.mjs ELF COMMAND-LINE MEMORY-MIB`. v86 loads Multiboot kernels itself
 * if it has no BIOS, and its package has none. The guest's console is its first serial port.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { V86 } from 'v86';

const MIB = 1024 * 1024;
const [elf, commandLine, memoryMib] = process.argv.slice(2);

const emulator = new V86({
  wasm_path: fileURLToPath(new URL('v86.wasm', import.meta.resolve('v86'))),
  memory_size: Number(memoryMib) * MIB,
  vga_memory_size: MIB,
  multiboot: { buffer: Uint8Array.from(readFileSync(elf)).buffer },
  cmdline: `guest ${commandLine}`,
  disable_speaker: true,
  disable_keyboard: true,
  disable_mouse: true,
  log_level: 0,
  autostart: true,
});

let line = '';
emulator.add_listener('serial0-output-byte', (byte) => {
  line += String.fromCharCode(byte);
  if (!line.endsWith('\n')) return;
  process.stdout.write(line);
  line = '';
});
