import { assembleProgram } from './assemble-program.ts';
import { createMachine } from './engine-target.ts';
import type { FileReader } from './program/loaded-program.ts';
import type { AdapterServices } from './session/session.ts';

/** The adapter's own assembler and engine with the host's files. */
export function servicesWith(files: FileReader): AdapterServices {
  return { files, assemble: assembleProgram, createTarget: createMachine };
}
