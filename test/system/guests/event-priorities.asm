; Which of several events comes first where a task is entered with its T flag, after loads of SS, at the end of a code segment.
; Handlers note their events as they begin: one that begins before the first instruction of another's is noted first.
;
; Not asked is what Bochs forgets: TF at a task switch, and the data breakpoint of a load of SS where INT n or a fault follows.
;
; Intel SDM volume 3, "Priority Among Concurrent Events", "Debug Exceptions", "Masking Exceptions and Interrupts When Switching
; Stacks".

%include "kit.inc"

OTHER           equ FREE_SELECTOR       ; a TSS
NARROW          equ FREE_SELECTOR + 8   ; code from the image's begin to `edge`

TSS_EIP         equ 32
TSS_EFLAGS      equ 36
TSS_ESP         equ 56
TSS_ES          equ 72
TSS_CS          equ 76
TSS_SS          equ 80
TSS_DS          equ 84
TSS_TRAP        equ 100
AVAILABLE       equ 89h
BUSY            equ 8Bh

APIC            equ 0FEE00000h
VECTOR          equ 30h
GLOBAL_0        equ 2                   ; of DR7: a task switch leaves it
ON_ACCESS       equ 0F0000h             ; of 4 bytes
ON_PORT         equ 20000h
CR4_DE          equ 8
PORT            equ 0E0h

%macro get_interrupt 0
        mov     dword [APIC + 300h], 4000h + VECTOR
%endmacro
%macro get_nmi 0
        mov     dword [APIC + 300h], 4400h
%endmacro
%macro set_flag 1
        pushfd
        or      dword [esp], %1
        popfd
%endmacro
; breakpoint ADDRESS, kind
%macro breakpoint 2
        mov     eax, %1
        mov     dr0, eax
        mov     eax, GLOBAL_0 | %2
        mov     dr7, eax
%endmacro
; try TITLE: what comes of it is shown by the handlers until `finish`.
%macro try 1+
        attempt %1
        call    reset
%endmacro
; try_task FLAGS, T, TITLE: the other task begins at `entered`, which has to follow.
%macro try_task 3+
        try     %3
        mov     dword [other + TSS_EIP], %%entered
        mov     dword [other + TSS_EFLAGS], %1
        mov     word [other + TSS_TRAP], %2
%define entered %%entered
%endmacro
; To be followed by `next`.
%macro finish 0
        mov     ebx, dr6
        show    "  DR6 ", ebx
        mov     al, 10
        out     CONSOLE_PORT, al
        int     20h
%endmacro
; nmi_held: goes on where NMIs are blocked, with one that waits for IRET.
%macro nmi_held 0
        mov     dword [in_nmi], %%held
        get_nmi
        times 8 nop
%%held: mov     dword [in_nmi], 0
        get_nmi
%endmacro
; IRET to the other task.
%macro return_to_task 0
        mov     word [tss], OTHER
        mov     byte [gdt + OTHER + 5], BUSY
        set_flag FLAG_NT
        iretd
%endmacro

main:
        mov     eax, on_debug
        mov     edi, idt + 8
        call    set_handler
        mov     eax, on_nmi
        mov     edi, idt + 16
        call    set_handler
        mov     eax, on_interrupt
        mov     edi, idt + 8 * VECTOR
        call    set_handler
        mov     dword [APIC + 0F0h], 1FFh
        mov     dword [gdt + OTHER], TSS_BYTES - 1
        mov     dword [gdt + OTHER + 4], 0
        mov     eax, other
        mov     edi, gdt + OTHER
        call    set_base
        mov     dword [gdt + NARROW], edge - LOAD_ADDRESS - 1
        mov     dword [gdt + NARROW + 4], 00409B00h
        mov     eax, LOAD_ADDRESS
        mov     edi, gdt + NARROW
        call    set_base

        try_task FLAG_1, 1, "T"
        jmp     OTHER:0
entered:
        nop
        finish
next:   try_task FLAG_1 | FLAG_IF, 1, "T, an interrupt"
        get_interrupt
        jmp     OTHER:0
entered:
        nop
        finish
next:   try_task FLAG_1, 1, "T, an NMI"
        nmi_held
        return_to_task
entered:
        nop
        finish
next:   try_task FLAG_1 | FLAG_IF, 1, "T, an NMI, an interrupt"
        get_interrupt
        nmi_held
        return_to_task
entered:
        nop
        finish
next:   try_task FLAG_1 | FLAG_IF, 0, "an NMI, an interrupt, and no instruction in the other task"
        get_interrupt
        nmi_held
        return_to_task
entered:
        ud2
next:   try_task FLAG_1, 1, "T, a breakpoint on the first instruction"
        breakpoint entered, 0
        jmp     OTHER:0
entered:
        nop
        finish
next:   try_task FLAG_1, 1, "T, a data breakpoint of the jump"
        breakpoint pointer, ON_ACCESS
        jmp     far [pointer]
entered:
        nop
        finish
next:   try_task FLAG_1, 0, "a data breakpoint of the jump"
        breakpoint pointer, ON_ACCESS
        jmp     far [pointer]
entered:
        nop
        finish
next:   try_task FLAG_1 | FLAG_TF, 1, "T, TF of the other task"
        jmp     OTHER:0
entered:
        nop
        nop
        finish
next:   try_task FLAG_1, 1, "T, and no instruction"
        jmp     OTHER:0
entered:
        ud2
next:
        try     "POP SS: TF"
        push    DATA
        set_flag FLAG_TF
        pop     ss
        nop
        nop
        finish
next:   try     "POP SS: a breakpoint on the next instruction"
        push    DATA
        breakpoint .popped, 0
        pop     ss
.popped:
        nop
        nop
        finish
next:   try     "POP SS: an interrupt"
        push    DATA
        get_interrupt
        sti
        pop     ss
        nop
        nop
        finish
next:   try     "MOV SS: a data breakpoint, and another load of SS"
        mov     word [pointer], DATA
        breakpoint pointer, ON_ACCESS
        mov     ecx, DATA
        mov     ss, [pointer]
        mov     ss, ecx
        nop
        nop
        finish
next:
        try     "a breakpoint on a port, an interrupt after STI"
        mov     eax, cr4
        or      eax, CR4_DE
        mov     cr4, eax
        breakpoint PORT, ON_PORT
        get_interrupt
        sti
        out     PORT, al
        nop
        finish
next:   try     "TF, a breakpoint on a port"
        breakpoint PORT, ON_PORT
        set_flag FLAG_TF
        out     PORT, al
        nop
        finish
next:
        try     "a breakpoint beyond the code segment"
        breakpoint edge, 0
        jmp     NARROW:before_edge - LOAD_ADDRESS
before_edge:
        nop
edge:   nop
        finish
next:   exit    0

set_handler:
        mov     [edi], ax
        shr     eax, 16
        mov     [edi + 6], ax
        ret

; The tasks as they are at first; no events, no breakpoints.
reset:
        cli
        xor     eax, eax
        mov     dr7, eax
        mov     eax, 0FFFF0FF0h
        mov     dr6, eax
        mov     byte [gdt + TSS + 5], AVAILABLE
        mov     byte [gdt + OTHER + 5], AVAILABLE
        mov     eax, TSS
        ltr     ax
        mov     dword [pointer], 0
        mov     word [pointer + 4], OTHER
        mov     word [tss], 0
        mov     word [other], 0
        mov     dword [other + TSS_ESP], other_stack_top
        mov     dword [other + TSS_CS], CODE
        mov     eax, DATA
        mov     [other + TSS_SS], eax
        mov     [other + TSS_DS], eax
        mov     [other + TSS_ES], eax
        pushfd
        and     dword [esp], ~(FLAG_NT | FLAG_TF)
        popfd
        ret

on_debug:
        push    dword 1
        jmp     note
on_interrupt:
        mov     dword [APIC + 0B0h], 0
        push    dword VECTOR
        jmp     note
on_nmi:
        cmp     dword [in_nmi], 0
        je      .noted
        jmp     [in_nmi]
.noted: push    dword 2

; Shows the vector, what was interrupted and its flags; goes on there without TF, after #DB with RF.
note:
        pushad
        say32   "  vector "
        mov     eax, [esp + 32]
        call    print_hex
        show    " at ", [esp + 36]
        show    " flags ", [esp + 44]
        mov     al, 10
        out     CONSOLE_PORT, al
        and     dword [esp + 44], ~FLAG_TF
        cmp     dword [esp + 32], 1
        jne     .back
        or      dword [esp + 44], FLAG_RF
.back:  popad
        add     esp, 4
        iretd

        section .bss
        alignb  16
other:  resb    TSS_BYTES
        alignb  8
pointer:
        resb    8
in_nmi: resd    1
        alignb  16
        resb    4096
other_stack_top:
        section .text
        end_of_guest
