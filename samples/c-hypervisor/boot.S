/*
 * Where Ringside enters the hypervisor, in 64-bit mode with memory mapped to itself. It gets a stack and descriptor tables of
 * its own: a VM exit loads TR from the VMCS, and wants a task-state segment there.
 */

        .intel_syntax noprefix
        .globl  start_64, host_gdt, host_tss

        .text
        .code64
start_64:
        cld
        mov     esp, offset stack_top
        mov     eax, offset host_tss
        mov     [host_gdt + 0x18 + 2], ax       /* the TSS descriptor: base 15:0 */
        shr     eax, 16
        mov     [host_gdt + 0x18 + 4], al       /* base 23:16 */
        mov     [host_gdt + 0x18 + 7], ah       /* base 31:24 */
        lgdt    [gdt_pointer]
        mov     ax, 0x18
        ltr     ax
        xor     ebp, ebp                        /* no caller: debuggers end the call stack here */
        call    main

        .data
        .align  8
host_gdt:
        .quad   0
        .quad   0x00AF9A000000FFFF              /* 08: code, 64-bit; the same as where we come from */
        .quad   0x00CF92000000FFFF              /* 10: data */
        .quad   0x0000890000000067              /* 18: an available 64-bit TSS of 104 bytes, base to be filled in */
        .quad   0
gdt_pointer:
        .word   gdt_pointer - host_gdt - 1
        .quad   host_gdt

        .bss
        .align  16
host_tss:       .skip 104
        .align  16
        .skip   8192
stack_top:

        .section .note.GNU-stack, "", @progbits
