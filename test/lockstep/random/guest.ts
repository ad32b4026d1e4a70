/** Random guests: instructions of all groups, on random registers, at addresses that are mapped, read-only, absent, or beyond. */
import { CodeExt, Instruction, Mnemonic } from 'iced-x86';
import { assemble } from '../../../debug-adapter/assembler/index.ts';
import { decoderFeatures } from '../../../engine/isa/availability.ts';
import { type InstructionSample, instructionSamples } from '../../support/instruction-samples.ts';
import type { Mode } from '../../vectors/layout.ts';
import { Random } from '../../vectors/record/random.ts';
import { guestFromRam } from '../guest.ts';
import type { Guest } from '../state.ts';
import type { Judge } from '../traces.ts';
import { hasPaging, KINDS, type Kind } from './kinds.ts';
import { reasonLeftOut } from './left-out.ts';
import {
  ABSENT,
  boot,
  DATA,
  DATA_BYTES,
  READ_ONLY,
  SLOT_BYTES,
  SLOTS,
  SLOTS_AT,
  STACK,
  SUPERVISOR,
  selectors,
  tables,
} from './surroundings.ts';

const ENTRY = 0x1000;
const HLT = 0xf4;
const JMP_SHORT = 0xeb;
const ADDRESS_SIZE = 0x67;

const choices = new Map<string, InstructionSample[]>();

/** The forms that a guest of a kind is made of. */
function formsOf({ mode, ring }: Kind, judge: Judge): readonly InstructionSample[] {
  const key = `${mode} ${ring} ${judge}`;
  let forms = choices.get(key);
  if (!forms) {
    const [registers, memory] = [instructionSamples(mode, 'register'), instructionSamples(mode, 'memory')];
    // A segment of whatever selector could lie beyond RAM in real-address mode, and be null, which QEMU does not check.
    const isSegment = ({ form }: InstructionSample) => /^(Mov_Sreg|L[defgs]s_)/.test(form);
    const all = [
      ...registers.filter(({ form }) => !/^L[defgs]s_/.test(form)),
      ...memory.filter((sample) => !isSegment(sample)),
    ];
    forms = all.filter((sample) => isChosen(sample, ring, judge));
    choices.set(key, forms);
  }
  return forms;
}

function isChosen({ code, form, bytes }: InstructionSample, ring: number, judge: Judge): boolean {
  // With another address size, addresses would be in registers that are not set.
  if (bytes[0] === ADDRESS_SIZE) return false;
  const instruction = new Instruction();
  instruction.code = code;
  const info = CodeExt.opCode(code);
  try {
    const features = decoderFeatures(instruction);
    const mnemonic = Mnemonic[instruction.mnemonic] as string;
    return info.isInstruction && reasonLeftOut({ form, mnemonic, features }, ring, judge) === undefined;
  } finally {
    info.free();
    instruction.free();
  }
}

/** The guest of a seed, of the kind of that name. */
export function randomGuest(seed: number, name: string, judge: Judge): Guest {
  const kind = KINDS[name];
  if (!kind) throw new Error(`expected a kind of random guests, found ${name}`);
  const random = new Random(`lockstep ${seed}`);
  const ram = tables(kind);
  ram.set(assembled(boot(kind, judge)), ENTRY);
  for (let n = 0; n < DATA_BYTES; n++) ram[DATA + n] = random.below(256);
  for (let n = 0; n < SLOTS; n++) ram.set(slot(random, kind, judge), SLOTS_AT + n * SLOT_BYTES);
  ram[SLOTS_AT + SLOTS * SLOT_BYTES] = HLT;
  return guestFromRam(`random-${name} of seed ${seed}`, ram, ENTRY);
}

function assembled(text: string): Uint8Array {
  const { image, diagnostics } = assemble({ path: '/random.asm', text }, { readFile: () => new Uint8Array() });
  if (!image) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return image;
}

/** Registers, then the instruction, then a jump over what is left. */
function slot(random: Random, kind: Kind, judge: Judge): Uint8Array {
  const { form, bytes } = random.pick(formsOf(kind, judge));
  const isSegment = /^Mov_Sreg/.test(form);
  const own = isSegment ? withSegmentRegister(random, bytes) : bytes;
  const code = [...registers(random, kind, judge, form), ...own];
  const over = SLOT_BYTES - code.length - 2;
  const filled = new Uint8Array(SLOT_BYTES).fill(0x90);
  filled.set([...code, JMP_SHORT, over]);
  return filled;
}

/** MOV to ES, SS, DS, FS or GS: the middle of ModRM, which is the last byte of a form with registers. */
function withSegmentRegister(random: Random, bytes: Uint8Array): Uint8Array {
  const own = bytes.slice();
  const at = own.length - 1;
  own[at] = ((own[at] ?? 0) & 0xc7) | (random.pick([0, 2, 3, 4, 5]) << 3);
  return own;
}

const [AX, CX, DX, BX, SP, SI, DI] = [0, 1, 2, 3, 4, 6, 7];

/** Addresses in CX (SI in 16-bit code), small indices in DX (DI), the stack, and something for AX. */
function registers(random: Random, kind: Kind, judge: Judge, form: string): number[] {
  const { mode } = kind;
  const move = (register: number, value: number) => moveTo(mode, register, value);
  const isString = /^(Movs|Stos|Lods|Scas|Cmps|Xlat)/.test(form);
  const place = () => address(random, kind, judge);
  const value = /Sreg/.test(form) ? random.pick(selectors(kind)) : Number(random.interesting(32));
  const [pointer, index] = mode === 16 || isString ? [SI, DI] : [CX, DX];
  const second = isString ? place() : random.below(mode === 16 ? 8 : 16);
  const more = mode === 16 ? move(BX, place()) : [];
  return [
    ...moveTo(mode === 16 ? 16 : 32, SP, STACK - 8 * random.below(4)),
    ...move(pointer, place()),
    ...move(index, second),
    ...more,
    ...(random.oneIn(2) || /Sreg/.test(form) ? move(AX, value) : []),
  ];
}

/** Beyond RAM, and not mapped; in 64-bit code in the upper half. */
const HIGH = 0x8000_0000;

/** QEMU does not check limits, so that it has to be kept away from those of real-address mode. */
function address(random: Random, kind: Kind, judge: Judge): number {
  if (kind.mode === 16) {
    const inside = DATA + random.below(DATA_BYTES);
    return judge === 'qemu' ? inside : random.pick([inside, inside, 0xfff0 + random.below(9)]);
  }
  const apart = [DATA, DATA + 0x1000, READ_ONLY, ABSENT, ...(kind.ring === 3 ? [SUPERVISOR] : [])];
  // What crosses into a page that faults, this KVM stores half of.
  const edges =
    judge === 'kvm' ? [] : [READ_ONLY - 8, ABSENT - 8, ABSENT + 0xff8, ...(kind.ring === 3 ? [SUPERVISOR - 8] : [])];
  const base = random.pick([...apart, ...edges]);
  return random.oneIn(32) && hasPaging(kind, judge)
    ? HIGH
    : base + 8 * random.below(2) + random.below(random.pick([1, 16, 256]));
}

/** MOV of an immediate; sign-extended to 64 bits in 64-bit code, so that some addresses are not there. */
function moveTo(mode: Mode, register: number, value: number): number[] {
  const bytes = [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  if (mode === 16) return [0xb8 + register, ...bytes.slice(0, 2)];
  return mode === 32 || register === SP ? [0xb8 + register, ...bytes] : [0x48, 0xc7, 0xc0 + register, ...bytes];
}
