/** Inputs of FXSAVE, XSAVE and their kin: something in all registers, a component mask, and what an area holds. */
import { Register } from 'iced-x86';
import type { InputBuilder } from './inputs.ts';
import { interestingFloat } from './interesting-floats.ts';
import type { Random } from './random.ts';

const LEGACY_BYTES = 512;
const AREA_BYTES = 832;
const COMPACTED = 1n << 63n;

export function stateSavingInputs(builder: InputBuilder): void {
  const { random, operandAddress, mnemonic } = builder;
  fillRegisters(builder);
  // Components that the recording machine may have enabled, and one bit that none has.
  builder.set(Register.EAX, BigInt(random.below(8) | (random.oneIn(3) ? 1 << 30 : 0)));
  builder.set(Register.EDX, 0n);
  if (operandAddress === undefined || operandAddress % 16 !== 0) return;
  const isFxsave = /^F/.test(mnemonic);
  patchRegisters(builder, operandAddress, isFxsave ? LEGACY_BYTES : AREA_BYTES);
  if (!isFxsave) patchHeader(builder, operandAddress);
}

/** The pointers stay 0: AMD processors save them only while an exception is pending. */
function fillRegisters({ random, state: { extended } }: InputBuilder): void {
  for (let n = 0; n < 8; n++) if (random.oneIn(2)) extended.fpr[n] = interestingFloat(random, 80);
  extended.ftw = random.below(256);
  extended.fsw = random.below(8) << 11;
  extended.fcw = 0x7f | (random.below(4) << 10);
  extended.mxcsr = 0x1f80 | random.below(64);
}

/** Control words that are possible, mostly, and something in each register. */
function patchRegisters(builder: InputBuilder, address: number, bytes: number): void {
  const { random } = builder;
  for (let at = 0; at < bytes; at += 16) builder.patch(address + at, random.bits(128), 16);
  builder.patch(address, BigInt(0x7f | (random.below(4) << 10)), 2);
  builder.patch(address + 2, BigInt((random.below(8) << 11) | random.below(64)), 2);
  builder.patch(address + 6, BigInt(random.below(0x800)), 2);
  for (const pointer of [8, 16]) builder.patch(address + pointer, random.bits(47), 8);
  builder.patch(address + 24, random.oneIn(10) ? random.bits(32) : random.bits(16), 4);
}

function patchHeader(builder: InputBuilder, address: number): void {
  const { random } = builder;
  const [held, compaction] = header(random);
  builder.patch(address + 512, held, 8);
  builder.patch(address + 520, compaction, 8);
  for (let at = 528; at < 576; at += 8) builder.patch(address + at, random.oneIn(60) ? 1n : 0n, 8);
}

/** XSTATE_BV and XCOMP_BV. */
function header(random: Random): [bigint, bigint] {
  const stray = random.oneIn(12) ? 1n << BigInt(20 + random.below(40)) : 0n;
  const held = BigInt(random.below(8)) | stray;
  if (random.oneIn(2)) return [held, random.oneIn(12) ? 1n : 0n];
  return [held, COMPACTED | (random.oneIn(4) ? BigInt(random.below(8)) : 7n) | (random.oneIn(12) ? 1n << 40n : 0n)];
}
