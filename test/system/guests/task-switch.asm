; Hardware task switches: by JMP, CALL, IRET, interrupts and exceptions, through TSSs and task gates, 32 and 16 bits wide;
; their checks, and faults in the task that is left and in the one that is entered.
;
; Intel SDM volume 3, "Task Management".

%include "kit.inc"

OTHER           equ FREE_SELECTOR       ; a 32-bit TSS
SMALL           equ FREE_SELECTOR + 8   ; a 16-bit TSS
GATE            equ FREE_SELECTOR + 16  ; a task gate to OTHER
LDT             equ FREE_SELECTOR + 24
ABSENT          equ FREE_SELECTOR + 32  ; data that is not present
CODE_16         equ FREE_SELECTOR + 40  ; 16-bit code, whose base is that of the image
ABSENT_CODE     equ FREE_SELECTOR + 48

TSS_CR3         equ 28
TSS_EIP         equ 32
TSS_EFLAGS      equ 36
TSS_EAX         equ 40
TSS_ESP         equ 56
TSS_ES          equ 72
TSS_CS          equ 76
TSS_SS          equ 80
TSS_DS          equ 84
TSS_FS          equ 88
TSS_GS          equ 92
TSS_LDT         equ 96
TSS_TRAP        equ 100

AVAILABLE       equ 89h
BUSY            equ 8Bh

; try TITLE: an attempt with all tasks as they are at first.
%macro try 1+
        attempt %1
        call    reset
%endmacro

main:
        try     "JMP to a TSS"
        jmp     OTHER:0
next:   call    show_tasks
        try     "CALL to a TSS and IRET back"
        mov     ebx, 0BBBBBBBBh
        mov     edi, 0DDDDDDDDh
        mov     eax, 3 << 12 | FLAG_1 | 1
        push    eax
        popfd
        call    OTHER:0
        pushfd
        push    ebx
        push    edi
        call    show_tasks
        show    "  EDI ", [esp]
        show    " EBX ", [esp + 4]
        show    " flags ", [esp + 8]
        call    new_line
next:   try     "the image that CALL left behind"
        mov     dword [tss + TSS_CR3], 12345678h
        mov     dword [tss + TSS_ES], 0AAAAAAAAh
        call    OTHER:0
        show    "  CR3 ", [tss + TSS_CR3]
        show    " ES ", [tss + TSS_ES]
        show    " EIP ", [tss + TSS_EIP]
        show    " flags ", [tss + TSS_EFLAGS]
        call    new_line
next:   try     "CALL to a task gate"
        call    GATE:12345678h
        call    show_tasks
next:   try     "JMP to a task gate"
        jmp     GATE:0
next:   try     "INT n through a task gate"
        mov     edi, idt + 8 * 31h
        call    make_task_gate
        int     31h
        call    show_tasks
next:   try     "an exception through a task gate pushes its error code"
        mov     edi, idt + 8 * 13
        call    make_task_gate
        mov     dword [other + TSS_EIP], with_code
        mov     ax, 0FFF8h
        mov     fs, ax
        nop
next:   call    build_idt
        try     "from ring 3 the TSS is out of reach"
        call    to_ring_3
        call    OTHER:0
next:   try     "but not a gate of its ring"
        or      byte [gdt + GATE + 5], 60h
        call    to_ring_3
        call    GATE:0
        int     20h
next:   try     "a 16-bit TSS"
        mov     ecx, 0CCCCCCCCh
        call    SMALL:0
        push    ecx
        call    show_tasks
        show    "  ECX ", [esp]
        call    new_line
next:
        try     "JMP to a busy TSS"
        mov     byte [gdt + OTHER + 5], BUSY
        jmp     OTHER:0
next:   try     "CALL to the own TSS"
        call    TSS:0
next:   try     "a TSS that is not present"
        mov     byte [gdt + OTHER + 5], 09h
        jmp     OTHER:0
next:   try     "a TSS that is too small"
        mov     word [gdt + OTHER], 102
        jmp     OTHER:0
next:   try     "a 16-bit TSS that is too small"
        mov     word [gdt + SMALL], 42
        jmp     SMALL:0
next:   try     "a task gate that is not present"
        and     byte [gdt + GATE + 5], 7Fh
        jmp     GATE:0
next:   try     "a task gate to no TSS"
        mov     word [gdt + GATE + 2], DATA
        jmp     GATE:0
next:   try     "a task gate into the LDT"
        mov     word [gdt + GATE + 2], OTHER | 4
        jmp     GATE:0
next:   try     "a task gate beyond the GDT"
        mov     word [gdt + GATE + 2], 7FF8h
        jmp     GATE:0
next:   try     "IRET with NT to a task that is not busy"
        mov     word [tss], OTHER
        call    set_nt
        iretd
next:   try     "IRET with NT to what is no TSS"
        mov     word [tss], DATA
        call    set_nt
        iretd
next:   try     "IRET with NT to a TSS that is not present"
        mov     word [tss], OTHER
        mov     byte [gdt + OTHER + 5], 0Bh
        call    set_nt
        iretd
next:   try     "IRET with NT to a task that is busy"
        mov     word [tss], OTHER
        mov     byte [gdt + OTHER + 5], BUSY
        call    set_nt
        iretd
next:   call    show_tasks
        try     "the old TSS is too small"
        mov     word [gdt + TSS], 92
        mov     byte [gdt + TSS + 5], AVAILABLE
        mov     eax, TSS
        ltr     ax
        jmp     OTHER:0
next:   mov     word [gdt + TSS], TSS_BYTES - 1

        try     "CS of the new task: null"
        mov     dword [other + TSS_CS], 0
        jmp     OTHER:0
next:   call    show_tasks
        try     "CS: data"
        mov     dword [other + TSS_CS], DATA
        jmp     OTHER:0
next:   try     "CS: another DPL"
        mov     dword [other + TSS_CS], USER_CODE & ~3
        jmp     OTHER:0
next:   try     "CS: not present"
        mov     dword [other + TSS_CS], ABSENT_CODE
        jmp     OTHER:0
next:   try     "CS: beyond the GDT"
        mov     dword [other + TSS_CS], 7FF8h
        jmp     OTHER:0
next:   try     "SS: null"
        mov     dword [other + TSS_SS], 0
        jmp     OTHER:0
next:   try     "SS: code"
        mov     dword [other + TSS_SS], CODE
        jmp     OTHER:0
next:   try     "SS: another ring"
        mov     dword [other + TSS_SS], USER_DATA
        jmp     OTHER:0
next:   try     "SS: not present"
        mov     dword [other + TSS_SS], ABSENT
        jmp     OTHER:0
next:   try     "DS: beyond the GDT"
        mov     dword [other + TSS_DS], 7FF8h
        jmp     OTHER:0
next:   try     "ES: not present"
        mov     dword [other + TSS_ES], ABSENT
        jmp     OTHER:0
next:   try     "GS: a TSS"
        mov     dword [other + TSS_GS], TSS
        jmp     OTHER:0
next:   try     "LDT: data"
        mov     word [other + TSS_LDT], DATA
        jmp     OTHER:0
next:   try     "LDT: in itself"
        mov     word [other + TSS_LDT], LDT | 4
        jmp     OTHER:0
next:   try     "LDT: not present"
        and     byte [gdt + LDT + 5], 7Fh
        mov     word [other + TSS_LDT], LDT
        jmp     OTHER:0
next:   try     "a data segment of the new LDT"
        mov     word [other + TSS_LDT], LDT
        mov     dword [other + TSS_FS], 4
        jmp     OTHER:0
next:   try     "EIP beyond CS"
        mov     dword [other + TSS_CS], CODE_16
        mov     dword [other + TSS_EIP], 10000h
        jmp     OTHER:0
next:   try     "a fault in the new task of an interrupt"
        mov     edi, idt + 8 * 31h
        call    make_task_gate
        mov     dword [other + TSS_DS], 7FF8h
        int     31h
next:   try     "a task in ring 3"
        mov     dword [other + TSS_CS], USER_CODE
        mov     dword [other + TSS_SS], USER_DATA
        mov     dword [other + TSS_DS], USER_DATA
        mov     dword [other + TSS_EIP], .ring_3
        jmp     OTHER:0
.ring_3:
        int3
next:   try     "a task in virtual-8086 mode"
        mov     dword [20000h], 9090CCh
        mov     dword [other + TSS_EFLAGS], FLAG_VM | IOPL_3 | FLAG_1
        mov     dword [other + TSS_CS], 2000h
        mov     dword [other + TSS_EIP], 0
        mov     dword [other + TSS_SS], 3000h
        mov     dword [other + TSS_DS], 4000h
        mov     dword [other + TSS_ES], 5000h
        mov     dword [other + TSS_FS], 6000h
        mov     dword [other + TSS_GS], 7000h
        jmp     OTHER:0
next:   try     "the trap flag of the TSS"
        mov     word [other + TSS_TRAP], 1
        jmp     OTHER:0
next:   mov     ebx, dr6
        show    "  DR6 ", ebx
        call    new_line
        try     "what a switch does to DR7 and CR0"
        mov     eax, 755h
        mov     dr7, eax
        clts
        mov     dword [other + TSS_EIP], .debug
        jmp     OTHER:0
.debug: mov     ebx, dr7
        mov     edx, cr0
        and     edx, 8
        show    "  DR7 ", ebx
        show    " TS ", edx
        call    new_line
next:   exit    0

; ─────────────────────────────────────────────────────────────── the tasks

; Ends in INT3, or by IRET in the task that called.
other_task:
        push    eax
        pushfd
        say32   "  the other task:"
        show    " EAX ", [esp + 4]
        show    " flags ", [esp]
        str     bx
        movzx   ebx, bx
        show    " TR ", ebx
        movzx   ebx, word [other]
        show    " from ", ebx
        call    new_line
        test    dword [esp], FLAG_NT
        jz      .alone
        iretd
.alone: int3

with_code:
        show    "  error code ", [esp]
        mov     ebx, esp
        sub     ebx, other_stack
        show    " ESP ", ebx
        call    new_line
        mov     dword [tss + TSS_EIP], .resumed
        add     esp, 4
        iretd
.resumed:
        pushfd
        show    "  back, flags ", [esp]
        call    new_line
        jmp     [next_attempt]

        bits    16
small_task:
        mov     bx, cs
        mov     dx, sp
        mov     si, ds
        jmp     dword CODE:.flat
        bits    32
.flat:  movzx   esp, dx                 ; the upper halves of the registers are undefined
        movzx   ebx, bx
        movzx   edx, dx
        show    "  the small task: CS ", ebx
        show    " SP ", edx
        call    new_line
        pushfd
        show    "  flags ", [esp]
        call    new_line
        iretd

; ─────────────────────────────────────────────────────────────── what the attempts share

show_tasks:
        push    eax
        str     bx
        movzx   ebx, bx
        show    "  TR ", ebx
        movzx   ebx, byte [gdt + TSS + 5]
        show    " types ", ebx
        movzx   ebx, byte [gdt + OTHER + 5]
        show    " ", ebx
        movzx   ebx, byte [gdt + SMALL + 5]
        show    " ", ebx
        show    " saved EFLAGS ", [other + TSS_EFLAGS]
        call    new_line
        pop     eax
        ret

new_line:
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

set_nt: pushfd
        or      dword [esp], FLAG_NT
        popfd
        ret

to_ring_3:
        pop     eax
        push    dword USER_DATA
        push    dword 2F000h
        push    dword FLAG_1
        push    dword USER_CODE
        push    eax
        iretd

; The task gate at EDI, to OTHER.
make_task_gate:
        mov     word [edi + 2], OTHER
        mov     word [edi + 4], 0E500h
        ret

; The tasks and descriptors as they are at first; TR is that of the kit.
reset:
        pushfd
        and     dword [esp], ~FLAG_NT
        popfd
        mov     byte [gdt + TSS + 5], AVAILABLE
        mov     eax, TSS
        ltr     ax
        xor     eax, eax
        lldt    ax
        mov     esi, descriptors
        mov     edi, gdt + FREE_SELECTOR
        mov     ecx, (descriptors_end - descriptors) / 4
        rep     movsd
        mov     edi, other
        mov     ecx, 104 / 4
        rep     stosd
        mov     eax, other
        mov     edi, gdt + OTHER
        call    set_base
        mov     eax, small
        mov     edi, gdt + SMALL
        call    set_base
        mov     eax, ldt
        mov     edi, gdt + LDT
        call    set_base
        mov     dword [other + TSS_ESP0], stack_top
        mov     dword [other + TSS_SS0], DATA
        mov     dword [other + TSS_EIP], other_task
        mov     dword [other + TSS_EFLAGS], FLAG_1
        mov     dword [other + TSS_EAX], 0EA0EA0EAh
        mov     dword [other + TSS_ESP], other_stack
        mov     dword [other + TSS_CS], CODE
        mov     eax, DATA
        mov     [other + TSS_ES], eax
        mov     [other + TSS_SS], eax
        mov     [other + TSS_DS], eax
        mov     [other + TSS_FS], eax
        mov     [other + TSS_GS], eax
        mov     word [small + 14], small_task - LOAD_ADDRESS
        mov     word [small + 16], FLAG_1
        mov     word [small + 26], 0F000h
        mov     word [small + 34], DATA
        mov     word [small + 36], CODE_16
        mov     word [small + 38], DATA
        mov     word [small + 40], DATA
        ret

        section .data
        align   8
descriptors:
        dw      103, 0, 8900h, 0
        dw      43, 0, 8100h, 0
        dw      0, OTHER, 8500h, 0
        dw      15, 0, 8200h, 0
        dw      0FFFFh, 0, 1300h, 00CFh
        dw      0FFFFh, LOAD_ADDRESS & 0FFFFh, 9B00h | LOAD_ADDRESS >> 16, 0
        dw      0FFFFh, 0, 1B00h, 00CFh
descriptors_end:
ldt:    dq      00CF93000000FFFFh
        dq      0

        section .bss
        alignb  8
other:  resb    104
small:  resb    44
        alignb  16
        resb    1024
other_stack:
        section .text

        end_of_guest
