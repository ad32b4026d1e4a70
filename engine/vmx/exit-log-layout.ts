/**
 * Where the newest rows of the exit log and its sums lie in wasm memory: VM exits that compiled code makes
 * (exec/world-switch-emitter.ts) are logged there too.
 */
import { consecutive } from '../cpu/memory-layout.ts';
import { EXIT_LOG_ADDRESS } from '../cpu/memory-map.ts';

/** What is known of an exit: 32-bit words of the VMCS or VMCB, the vCPU, the guest's registers. */
export const logWords = [
  'reason',
  'ripLow',
  'ripHigh',
  /** Base of the code segment; 0 in 64-bit code. */
  'codeBase',
  'qualificationLow',
  'qualificationHigh',
  'guestPhysicalLow',
  'guestPhysicalHigh',
  'interruptionInformation',
  'vmcs',
  'vcpu',
  'rax',
  'raxHigh',
  'rcx',
  'rdx',
] as const;
/** And numbers, 64 bits each. */
export const logNumbers = [
  'instructions',
  'ownInstructions',
  'idleNs',
  'units',
  /** Instructions of the vCPU from the exit to its next VM entry; -1 before that. */
  'roundTripInstructions',
  /** Nanoseconds of waiting among that. */
  'roundTripIdleNs',
] as const;

export type LogWord = (typeof logWords)[number];
export type LogNumber = (typeof logNumbers)[number];

export const WORDS_OF_ROW = logWords.length;
export const NUMBERS_OF_ROW = logNumbers.length;
/** Rows come in chunks, of which the one that is being filled lies in wasm memory. */
export const CHUNK_ROWS = 128;
/** Stands for no exit, and for a round trip that is not over. */
export const PENDING = -1;
const VCPUS = 256;
/** There are fewer basic exit reasons, and fewer exit codes of AMD-V, whose exits are logged here too. */
export const MAX_REASONS = 192;

const sizes = {
  /** u32: rows of the chunk that are filled. */
  rows: 8,
  /** f64: number of the chunk's first exit. */
  first: 8,
  /** f64 each, by vCPU: number of its exit that no VM entry has followed, or `PENDING`. */
  open: 8 * VCPUS,
  /** f64 each, by reason: exits, round trips that are over, and the instructions of those. */
  counts: 8 * MAX_REASONS,
  roundTrips: 8 * MAX_REASONS,
  roundTripInstructions: 8 * MAX_REASONS,
  numbers: 8 * NUMBERS_OF_ROW * CHUNK_ROWS,
  words: 4 * WORDS_OF_ROW * CHUNK_ROWS,
} as const;
type Part = keyof typeof sizes;

/** Wasm addresses. */
export const exitLogPlace = consecutive(EXIT_LOG_ADDRESS, sizes);

/** Part of the log as an array. */
export const exitLogArray = (buffer: ArrayBuffer, part: Part): Float64Array =>
  new Float64Array(buffer, exitLogPlace[part], sizes[part] / 8);
