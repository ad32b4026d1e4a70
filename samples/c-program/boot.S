/*
 * The way into the C program: Ringside enters here, in 64-bit mode. `main` is called with a stack, and what it returns
 * ends the run.
 */

#define DEBUG_EXIT_PORT 0xF4

        .intel_syntax noprefix
        .globl  start_64

        .text
        .code64
start_64:
        cld
        mov     esp, offset stack_top
        xor     ebp, ebp                /* no caller: debuggers end the call stack here */
        call    main
        out     DEBUG_EXIT_PORT, al     /* what main returned */
        cli
.halt:  hlt
        jmp     .halt

        .bss
        .align  16
                .skip 8192
stack_top:

        .section .note.GNU-stack, "", @progbits
