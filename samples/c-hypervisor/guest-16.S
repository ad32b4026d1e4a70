/*
 * The guest of `real`: 16-bit real mode, at 0000:7C00 as a boot sector. EPT puts its addresses elsewhere (link.ld), so they
 * are its own; VT-x calls this an unrestricted guest, as CR0.PE and CR0.PG are 0.
 */

        .intel_syntax noprefix
        .globl  guest_16

        .equ    CONSOLE_PORT, 0xE9
        .equ    TIMER_VECTOR, 8
        .equ    TICKS, 3
        .equ    BUSY, 40000                     /* two instructions each, more than a time slice */
        .equ    VMCALL_POWER_OFF, 0

        .section .guest_16, "ax"
        .code16
guest_16:
        xor     ax, ax
        mov     ds, ax                          /* VM exit before: EPT violation by the very first fetch */
        mov     ss, ax
        mov     sp, 0xF000
        mov     word ptr [TIMER_VECTOR * 4], offset timer       /* VM exit: EPT violation by a write */
        mov     word ptr [TIMER_VECTOR * 4 + 2], 0

        mov     eax, 0x40000000
        cpuid                                   /* VM exit: CPUID */
        mov     [hypervisor], ebx
        mov     [hypervisor + 4], ecx
        mov     [hypervisor + 8], edx
        mov     si, offset hello
        call    print_16

        mov     ecx, BUSY
busy:   dec     ecx                             /* VM exit in between: the time slice is over, and a tick is pending */
        jnz     busy
        sti                                     /* VM exit, one instruction later: interrupt window. Now the tick can come */
        nop
sleep:  hlt                                     /* VM exit: HLT. The other vCPUs' turn, up to the next tick */
        cmp     byte ptr [ticks], TICKS
        jb      sleep
        mov     si, offset bye
        call    print_16
        mov     eax, VMCALL_POWER_OFF
        vmcall                                  /* VM exit: VMCALL */

/* Injected by the hypervisor */
timer:
        push    ax
        push    si
        inc     byte ptr [ticks]
        mov     al, [ticks]
        add     al, '0'
        mov     [tick_digit], al
        mov     si, offset tick
        call    print_16
        pop     si
        pop     ax
        iret

/* Prints the text at SI. */
print_16:
        lodsb
        test    al, al
        jz      1f
        out     CONSOLE_PORT, al                /* VM exit: I/O instruction */
        jmp     print_16
1:      ret

        .section .guest_16_data, "aw"
hello:  .ascii  "16-bit real mode under "
hypervisor:
        .skip   12
        .asciz  "\n"
tick:   .ascii  "tick "
tick_digit:
        .asciz  "0\n"
bye:    .asciz  "good night\n"
ticks:  .byte   0

        .section .note.GNU-stack, "", @progbits
