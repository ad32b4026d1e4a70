/**
 * LOCKed operations of several vCPUs on the same memory: no count is lost, wherever their turns end. The same counting by loads
 * and stores loses some, so that this could fail.
 */
import { describe, expect, it } from 'vitest';
import type { MachineInternals } from '../../engine/machine/machine.ts';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

const COUNTERS = 0x40_0000;
/** In a line, over the end of one, of a page, and of a page of 2 MiB. */
const PLACES = [COUNTERS, COUNTERS + 0x7c, COUNTERS + 0x1ffd, COUNTERS + 0x1f_fffe];
/** Distance of the counters of one place. */
const APART = 0x4000;

const LOCKED: readonly (readonly [name: string, text: string])[] = [
  ['INC', 'lock inc qword [rdi]'],
  ['XADD', 'mov eax, 1 \n lock xadd [rdi], eax'],
  ['SUB', 'lock sub dword [rdi], -1'],
  [
    'CMPXCHG8B',
    `mov eax, [rdi] \n mov edx, [rdi + 4]
     .again8: mov ebx, eax \n mov ecx, edx \n add ebx, 1 \n adc ecx, 0 \n lock cmpxchg8b [rdi] \n jnz .again8`,
  ],
  ['CMPXCHG', 'mov eax, [rdi] \n .again: lea edx, [rax + 1] \n lock cmpxchg [rdi], edx \n jne .again'],
  // The counters of the last two are loaded and stored, under a lock 16 bytes above.
  ['BTS', '.taken: lock bts dword [rdi + 16], 3 \n jc .taken \n mov eax, [rdi] \n inc eax \n mov [rdi], eax \n lock btr dword [rdi + 16], 3'],
  ['XCHG', 'mov edx, 1 \n .held: xchg [rdi + 16], edx \n test edx, edx \n jnz .held \n mov eax, [rdi] \n inc eax \n mov [rdi], eax \n mov [rdi + 16], edx'],
]; // biome-ignore format: one row an instruction
const CMPXCHG16B = `mov rax, [rdi] \n mov rdx, [rdi + 8]
  .again16: mov rbx, rax \n mov rcx, rdx \n add rbx, 1 \n adc rcx, 1 \n lock cmpxchg16b [rdi] \n jnz .again16`;
const WITHOUT_LOCK = 'mov eax, [rdi] \n inc eax \n mov [rdi], eax';

interface Counting {
  readonly cpus: number;
  readonly rounds: number;
  readonly isLocked: boolean;
}

const atPlaces = (text: string, n: number): string[] =>
  PLACES.map((place, at) => `part_${n}_${at}: mov edi, ${place + n * APART} \n ${text}`);

/** All processors run `work` in 64-bit mode, by the tables of the first one, and halt. */
function boot({ cpus, rounds, isLocked }: Counting, internals: MachineInternals): SourceGuest {
  const parts = LOCKED.flatMap(([, text], n) => atPlaces(isLocked ? text : WITHOUT_LOCK, n));
  // CMPXCHG16B has to be aligned.
  const aligned = `part_16: mov edi, ${COUNTERS + LOCKED.length * APART} \n ${isLocked ? CMPXCHG16B : WITHOUT_LOCK}`;
  const text = `
        org     8000h
        bits    16
application:
        xor     ax, ax
        mov     ds, ax
        lgdt    [gdtr]
        mov     eax, [controls + 4]
        mov     cr4, eax
        mov     eax, [controls + 8]
        mov     cr3, eax
        mov     ecx, 0C0000080h
        rdmsr
        or      ah, 1
        wrmsr
        mov     eax, [controls]
        mov     cr0, eax
        jmp     dword 8:work
        bits    64
start:  mov     rax, cr0
        mov     [abs controls], eax
        mov     rax, cr4
        mov     [abs controls + 4], eax
        mov     rax, cr3
        mov     [abs controls + 8], eax
        mov     ebx, 0FEE00000h
        mov     dword [rbx + 300h], 0C4500h
        mov     dword [rbx + 300h], 0C4608h
work:   mov     ebp, ${rounds}
round:
        ${[...parts, aligned].join('\n')}
        dec     ebp
        jnz     round
        cli
        hlt
        align   8
gdt:    dq      0, 00AF9B000000FFFFh
gdtr:   dw      15
        dd      gdt
controls:
        dd      0, 0, 0
  `;
  return bootSource(text, { mode: 'long', cpus, internals });
}

const LIMIT = 20_000_000;
const HLT = 1;

/** Each vCPU in turn for so many instructions; or as the machine does it. */
function runInTurns({ machine }: SourceGuest, turn: number | undefined): void {
  if (turn === undefined) {
    expect(machine.run({ instructions: LIMIT }).kind).toBe('halted');
    return;
  }
  while (machine.instructionCount < LIMIT) {
    const running = machine.vcpus.filter(({ index }) => machine.host.activityState(index) !== HLT);
    if (running.length === 0) return;
    for (const { index } of running) machine.run({ instructions: turn, vcpu: index });
  }
  throw new Error('expected all processors to halt');
}

function counts(guest: SourceGuest): number[] {
  const read = (address: number): number => {
    const bytes = guest.machine.vcpus[0]?.peek('linear', BigInt(address), 4);
    return bytes ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : -1;
  };
  const parts = LOCKED.flatMap((_, n) => PLACES.map((place) => read(place + n * APART)));
  const wide = COUNTERS + LOCKED.length * APART;
  return [...parts, read(wide)];
}

const EXECUTIONS: readonly (readonly [name: string, internals: MachineInternals])[] = [
  ['interpreted', { hotSpots: { hotAfter: Number.POSITIVE_INFINITY, watchedBlocks: 0 } }],
  ['compiled', { hotSpots: { hotAfter: 1, watchedBlocks: 2 } }],
];
const TURNS: readonly (readonly [name: string, turn: number | undefined])[] = [
  ['the machine', undefined],
  ...[1, 7, 61, 997].map((turn) => [`${turn} instructions`, turn] as const),
];
const roundsOf = (turn: number | undefined): number => (turn === undefined ? 200 : Math.max(6, turn >> 4));

describe.each(EXECUTIONS)('%s', (name, internals) => {
  describe.each([2, 4])('of %i vCPUs', (cpus) => {
    it.each(TURNS)('no LOCKed count is lost, in turns of %s', (_name, turn) => {
      const rounds = roundsOf(turn);
      const guest = boot({ cpus, rounds, isLocked: true }, internals);
      runInTurns(guest, turn);
      expect(counts(guest)).toEqual(new Array(PLACES.length * LOCKED.length + 1).fill(cpus * rounds));
      expect(guest.machine.host.executor.regions.compiledSoFar > 0).toBe(name === 'compiled');
    });

    it('without LOCK some are, always the same', () => {
      const run = () => {
        const guest = boot({ cpus, rounds: 60, isLocked: false }, internals);
        runInTurns(guest, 997);
        return { counts: counts(guest), hash: guest.machine.stateHash() };
      };
      const first = run();
      expect(Math.min(...first.counts)).toBeLessThan(cpus * 60);
      expect(run()).toEqual(first);
    });
  });
});
