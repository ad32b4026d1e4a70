/** More instruction forms than there is room for handlers: these are forgotten, and the guest notices nothing. */
import { expect, test } from 'vitest';
import { bootSource } from '../support/source-guests.ts';

const ROOM = 160;
const SHUFFLES = 256;
const ROUNDS = 3;

/** Each shuffle is a form of its own, by its immediate; a loop that is compiled goes before them, and again in each round. */
const guest = (handlerRoom: number) =>
  bootSource(
    `bits 64
org 0x100000
  mov esp, 0x90000
  mov rax, cr4
  or eax, 1 << 9
  mov cr4, rax
  movdqa xmm1, [source]
  pxor xmm0, xmm0
  xor ebx, ebx
  mov esi, ${ROUNDS}
.again:
  mov ecx, 100000
.hot:
  lea ebx, [rbx + rcx]
  loop .hot
${Array.from({ length: SHUFFLES }, (_, immediate) => `  pshufd xmm2, xmm1, ${immediate}\n  paddd xmm0, xmm2`).join('\n')}
  dec esi
  jnz .again
  movdqa [sum], xmm0
  mov al, 0
  out 0xf4, al
align 16
source: dd 1, 20, 300, 4000
sum: dq 0, 0`,
    { mode: 'long', internals: { handlerRoom } },
  );

function run(handlerRoom: number, slice: number) {
  const { machine, label } = guest(handlerRoom);
  let stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit') stop = machine.run({ instructions: slice });
  expect(stop).toMatchObject({ kind: 'exited', code: 0 });
  const [vcpu] = machine.vcpus;
  const bytes = vcpu?.peek('linear', label('sum'), 16) ?? new Uint8Array();
  const lanes = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    lanes: [0, 4, 8, 12].map((at) => lanes.getUint32(at, true)),
    rbx: vcpu?.readRegister('rbx'),
    hash: machine.stateHash(),
  };
}

test.each([
  ['in one go', 10_000_000],
  ['in slices', 9973],
])('a guest that uses more forms than there is room for computes what it should, %s', (_name, slice) => {
  const result = run(ROOM, slice);
  // Of 256 shuffles, 64 put each of the four into each lane.
  const lane = ((1 + 20 + 300 + 4000) * SHUFFLES * ROUNDS) / 4;
  const sum = BigInt((ROUNDS * 100_000 * 100_001) / 2) & 0xffff_ffffn;
  expect(result).toMatchObject({ lanes: [lane, lane, lane, lane], rbx: sum });
  expect(result.hash).toBe(run(14_336, slice).hash);
});
