/**
 * Code that one processor writes and others execute (SDM volume 3, "Handling Self- and Cross-Modifying Code"). The others
 * run it long enough before for it to be compiled.
 */
import { describe, expect, test } from 'vitest';
import { bootSource, type SourceGuest } from '../support/source-guests.ts';

const LIMIT = 20_000_000;

/** Three processors run `application` in 16-bit code, the first goes on with `bootstrap` after they have begun. */
function boot(application: string, bootstrap: string): SourceGuest {
  return bootSource(
    `org 8000h
bits 16
application:
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov cx, 1
  lock xadd [number], cx
  shl cx, 8
  mov sp, 7000h
  sub sp, cx
  jmp 0:.flat
.flat:
  ${application}
  lock inc byte [done]
  cli
  hlt
patched: mov al, 1
  ret
align 4
number: dw 0
flag: dw 0
done: db 0
align 4
counter: dd 0
bits 64
start:
  mov ebx, 0FEE00000h
  mov dword [rbx + 300h], 0C4500h
  mov dword [rbx + 300h], 0C4608h
  mov ecx, 2000000
.wait: dec ecx
  jnz .wait
  ${bootstrap}
.all: pause
  cmp byte [done], 3
  jne .all
  mov al, [patched + 1]
  out 0xf4, al`,
    { mode: 'long', cpus: 4 },
  );
}

function end({ machine, label }: SourceGuest, slice: number) {
  let stop = machine.run({ instructions: slice });
  while (stop.kind === 'limit' && machine.instructionCount < LIMIT) stop = machine.run({ instructions: slice });
  const done = machine.vcpus[0]?.peek('linear', label('done'), 1)[0];
  return { stop, done, hash: machine.stateHash(), registers: machine.vcpus.map((vcpu) => vcpu.readRegister('bx')) };
}

const SPIN = `.again: call patched
  cmp al, 1
  je .again
  mov bl, al`;
/** Waits for the flag, serializes, and calls what was written before the flag: BL is what it gave. */
const WAIT_FOR_FLAG = `.warm: call patched
  cmp word [flag], 0
  je .warm
  xor eax, eax
  cpuid
  call patched
  mov bx, 0
  mov bl, al`;

describe('cross-modifying code', () => {
  test.each([
    ['is seen by processors that execute it without a pause', SPIN, 'mov byte [patched + 1], 2'],
    ['is seen after the flag that tells of it', WAIT_FOR_FLAG, 'mov byte [patched + 1], 2 \n mov word [flag], 1'],
    ['is seen whatever writes it', WAIT_FOR_FLAG, 'mov al, 2 \n xchg [patched + 1], al \n lock inc word [flag]'],
    [
      'is seen through another name of its page',
      WAIT_FOR_FLAG,
      `mov rbx, cr3 \n mov qword [rbx + 0x2000 + 3 * 8], 0x83 \n mov rbx, cr3 \n mov cr3, rbx
       mov byte [patched + 1 + 0x600000], 2 \n mov word [flag], 1`,
    ],
  ])('%s', (_name, application, bootstrap) => {
    const whole = end(boot(application, bootstrap), LIMIT);
    expect(whole).toMatchObject({ stop: { kind: 'exited', code: 2 }, done: 3 });
    expect(whole.registers.slice(1).map((bx) => (bx ?? 0n) & 0xffn)).toEqual([2n, 2n, 2n]);
    expect(end(boot(application, bootstrap), 31_337)).toEqual(whole);
  });
});

describe('LOCK', () => {
  test.each([
    ['XADD', 'mov eax, 1 \n lock xadd [counter], eax'],
    ['CMPXCHG', 'mov eax, [counter] \n .try: lea edx, [eax + 1] \n lock cmpxchg [counter], edx \n jne .try'],
    ['BTS of a spinlock', '.take: lock bts word [flag], 0 \n jc .take \n inc dword [counter] \n mov word [flag], 0'],
    [
      'XCHG of a spinlock',
      '.take: mov ax, 1 \n xchg [flag], ax \n test ax, ax \n jnz .take \n inc dword [counter] \n mov word [flag], 0',
    ],
  ])('%s counts right, wherever turns end', (_name, increment) => {
    const application = `mov di, 20000 \n .next: nop \n ${increment} \n dec di \n jnz .next`;
    for (const slice of [LIMIT, 9973]) {
      const guest = boot(application, '');
      end(guest, slice);
      const bytes = guest.machine.vcpus[0]?.peek('linear', guest.label('counter'), 4) as Uint8Array;
      expect(new DataView(bytes.slice().buffer).getUint32(0, true)).toBe(60_000);
    }
  });
});
