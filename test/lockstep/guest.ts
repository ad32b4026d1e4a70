/** The bare guests: assembled from guests/NAME.asm, entered at 0000:1000 in real-address mode. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { assemble } from '../../debug-adapter/assembler/index.ts';
import { type Guest, SEGMENTS, type State } from './state.ts';

/** A few pages: each step compares them all. */
const RAM_BYTES = 0x4_0000;
const ENTRY = 0x1000;
const STACK = 0x7000;
const ACCESSED_DATA = 0x93n;
const ACCESSED_CODE = 0x9bn;
const LDT = 0x82n;
const BUSY_TSS = 0x8bn;

export function guestFromSource(name: string): Guest {
  const file = path.resolve(`test/lockstep/guests/${name}.asm`);
  const readFile = (wanted: string) => new Uint8Array(readFileSync(path.normalize(wanted)));
  const { image, origin, diagnostics } = assemble({ path: file, text: readFileSync(file, 'utf8') }, { readFile });
  if (!image) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return guestFromImage(name, image, origin);
}

export function guestFromImage(name: string, image: Uint8Array, origin = ENTRY): Guest {
  const ram = new Uint8Array(RAM_BYTES);
  ram.set(image, origin);
  return guestFromRam(name, ram, ENTRY);
}

export const guestFromRam = (name: string, ram: Uint8Array, entry: number): Guest => ({
  name,
  ram,
  start: { ...realMode(), rip: BigInt(entry) },
});

const attributesOf = (name: string): bigint => ({ cs: ACCESSED_CODE, ldtr: LDT, tr: BUSY_TSS })[name] ?? ACCESSED_DATA;

function realMode(): State {
  const state: Record<string, bigint> = { rip: BigInt(ENTRY), rsp: BigInt(STACK), rflags: 2n, cr0: 0x10n };
  for (const name of SEGMENTS) {
    state[`${name}.limit`] = 0xffffn;
    state[`${name}.attributes`] = attributesOf(name);
  }
  return { ...state, 'idtr.limit': 0x3ffn, fcw: 0x37fn, mxcsr: 0x1f80n };
}
