/** Guests of several processors. */
import { bootSource, type SourceGuest } from './source-guests.ts';

/**
 * The first processor, in 64-bit mode, starts the other three at 8000H in real-address mode with `application`, and goes
 * on with `bootstrap` once they all have run into the `hlt` at its end or wherever they wait.
 */
export function startAll(application: string, bootstrap = 'hlt'): SourceGuest {
  return bootSource(
    `
        org     8000h
        bits    16
application:
        ${application}
application_end:
        bits    64
start:  mov     ebx, 0FEE00000h
        mov     dword [rbx + 300h], 0C4500h
        mov     dword [rbx + 300h], 0C4608h
        mov     dword [rbx + 300h], 0C4608h
        mov     ecx, 100000
.wait:  dec     ecx
        jnz     .wait
going_on:
        ${bootstrap}
  `,
    { mode: 'long', cpus: 4 },
  );
}
