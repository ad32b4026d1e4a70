; The enhancements of virtual-8086 mode: VIF in place of IF, interrupts of the 8086 program to its own handlers; and VIF for
; protected-mode code in ring 3.
;
; Intel SDM volume 3, "Class 3—Software Interrupt Handling in Virtual-8086 Mode", "Protected-Mode Virtual Interrupts".

%include "kit.inc"
%include "virtual-8086.inc"

CR4_VME         equ 1
CR4_PVI         equ 2

%macro attempt_ring_3 2                 ; TITLE, FLAGS: then code up to end_ring_3
        attempt %1
        push    dword USER_DATA
        push    dword 2F000h
        push    dword (%2) | FLAG_1
        push    dword USER_CODE
        push    dword %%code
        iretd
%define next_of_ring_3 next
%%code:
%endmacro
%macro end_ring_3 0
        int     20h
next_of_ring_3:
%endmacro

main:
        mov     eax, CR4_VME
        mov     cr4, eax
        ; the 8086 program has a handler of its own at 2000:0100; vector 31h belongs to the monitor
        mov     dword [30h * 4], CODE_8086 << 16 | 100h
        mov     esi, own_handler
        mov     edi, CODE_8086 * 16 + 100h
        mov     ecx, own_handler_end - own_handler
        rep     movsb
        or      byte [tss + IO_MAP - 32 + 31h / 8], 1 << (31h & 7)

        attempt_8086 "CLI with IOPL 0 clears VIF", FLAG_IF | FLAG_VIF
        cli
        int3
        end_8086
        attempt_8086 "STI with IOPL 0 sets VIF", FLAG_IF
        sti
        int3
        end_8086
        attempt_8086 "STI with VIP goes to the monitor", FLAG_IF | FLAG_VIP
        sti
        end_8086
        attempt_8086 "CLI with VIP does not", FLAG_IF | FLAG_VIP
        cli
        int3
        end_8086
        attempt_8086 "PUSHF shows VIF as IF, and IOPL as 3", FLAG_IF
        pushf
        pop     ax
        sti
        pushf
        pop     bx
        mov     ds, ax
        mov     es, bx
        int3
        end_8086
        attempt_8086 "PUSHFD goes to the monitor", FLAG_IF
        pushfd
        end_8086
        attempt_8086 "POPFD goes to the monitor", FLAG_IF
        popfd
        end_8086
        attempt_8086 "POPF loads VIF", 0
        push    word 0AD7h
        popf
        int3
        end_8086
        attempt_8086 "POPF of IF = 1 with VIP goes to the monitor", FLAG_VIP
        push    word 0202h
        popf
        end_8086
        attempt_8086 "POPF of IF = 0 with VIP does not", FLAG_VIP
        push    word 0002h
        popf
        int3
        end_8086
        attempt_8086 "POPF of TF = 1 goes to the monitor", 0
        push    word 0102h
        popf
        end_8086
        attempt_8086 "IRET loads VIF", 0
        push    word 0246h
        push    word CODE_8086
        push    word 10h
        iret
        times   10h - ($ - begin_of_8086) nop
        int3
        end_8086
        attempt_8086 "IRET of IF = 1 with VIP goes to the monitor", FLAG_VIP
        push    word 0246h
        push    word CODE_8086
        push    word 10h
        iret
        end_8086
        attempt_8086 "IRETD goes to the monitor", 0
        iretd
        end_8086
        attempt_8086 "INT n with IOPL 0 to the program's own handler", FLAG_VIF | FLAG_IF
        int     30h
        int3
        end_8086
        attempt_8086 "the same with VIF = 0", FLAG_IF
        int     30h
        int3
        end_8086
        attempt_8086 "INT n with IOPL 3 to the program's own handler", IOPL_3 | FLAG_IF
        int     30h
        int3
        end_8086
        attempt_8086 "INT n that the bitmap gives to the monitor, with IOPL 0", 0
        int     31h
        end_8086
        attempt_8086 "the same with IOPL 3", IOPL_3
        int     31h
        end_8086

        mov     eax, CR4_PVI
        mov     cr4, eax
        attempt_ring_3 "protected mode, ring 3: CLI clears VIF", FLAG_IF | FLAG_VIF
        cli
        int3
        end_ring_3
        attempt_ring_3 "STI sets VIF", FLAG_IF
        sti
        int3
        end_ring_3
        attempt_ring_3 "STI with VIP", FLAG_IF | FLAG_VIP
        sti
        end_ring_3
        attempt_ring_3 "PUSHF is as ever", FLAG_IF
        sti
        pushfd
        pop     eax
        mov     esp, eax
        int3
        end_ring_3
        attempt_ring_3 "with IOPL 3 CLI clears IF", FLAG_IF | FLAG_VIF | IOPL_3
        cli
        int3
        end_ring_3
        attempt_8086 "in virtual-8086 mode PVI does nothing", 0
        cli
        end_8086
        exit    0

        bits    16
; Leaves in DS and ES what it finds as flags: on the stack, and in the register as far as PUSHF shows it.
own_handler:
        mov     bp, sp
        mov     ax, [bp + 4]
        mov     ds, ax
        pushf
        pop     ax
        mov     es, ax
        iret
own_handler_end:
        bits    32

        end_of_guest
