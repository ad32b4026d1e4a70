; With SMAP, what the processor reads and writes of its own accord in pages of the user: tables of the system, stacks of inner
; rings. EFLAGS.AC does not allow it, neither that of the user.
;
; QEMU lets AC allow it in ring 0, which is not asked. (Bochs lets it in all rings, and is no judge.)
;
; Intel SDM volume 3, "Access Rights", of implicit supervisor-mode accesses.

%define WITHOUT_RF              ; which QEMU does not save
%define WITHOUT_SS              ; which it makes null with an interrupt stack
%include "kit-64.inc"
%include "user-pages.inc"

BORDER          equ SMALL + 1000h       ; of a supervisor's page and a user's
LDT             equ FREE_SELECTOR       ; 16 bytes
GATE            equ FREE_SELECTOR + 16  ; 16 bytes
USER_DESCRIPTOR equ 8 | 4 | 3           ; in the LDT
TSS_IST2        equ 44

; by_ring 0 or 3, AC, TITLE
%macro by_ring 3
    %if %1 == 0
        attempt "in ring 0, AC ", '0' + %2 / FLAG_AC, ": ", %3
        push    %2 | FLAG_1
        popfq
    %else
        attempt "in ring 3, AC ", '0' + %2 / FLAG_AC, ": ", %3
        in_user %2 | FLAG_1
    %endif
%endmacro
; As its_address, where INT 20H will not do.
%macro its_address_of_exception 0
        attempt "its address"
        mov     rbx, cr2
        ud2
next:
%endmacro

main:   set_up_pages
        pte     BORDER - 1000h, border_pages + 3
        pte     BORDER, border_pages + 1000h + 7
        flush
        control cr4, 0, SMAP
        mov     rcx, 00CFF3000000FFFFh
        stac
        mov     [USER_AREA + 8], rcx
        clac
        mov     rax, (USER_AREA >> 16) << 32 | 8200_0000_000Fh
        mov     [gdt + LDT], rax
        mov     qword [gdt + LDT + 8], 0
        mov     ecx, LDT
        lldt    cx
        by_ring 0, 0, "descriptors"
        mov     ecx, USER_DESCRIPTOR
        mov     es, ecx
next:   its_address
        by_ring 3, 0, "descriptors"
        mov     ecx, USER_DESCRIPTOR
        mov     es, ecx
next:   by_ring 3, FLAG_AC, "descriptors"
        mov     ecx, USER_DESCRIPTOR
        mov     es, ecx
next:   by_ring 3, FLAG_AC, "LAR"
        mov     ecx, USER_DESCRIPTOR
        lar     ebx, ecx
next:
; The vectors from 20H on
        mov     esi, idt
        mov     rdi, [user_idt + 2]
        mov     ecx, 16 * VECTORS / 8
        stac
        rep     movsq
        lidt    [user_idt]
        by_ring 0, 0, "gates"
        int     20h
next:   its_address_of_exception
        by_ring 3, FLAG_AC, "gates"
        int     20h
next:   lidt    [idt_pointer]
; IST2 and the bitmap of ports
        mov     esi, tss
        mov     edi, BORDER - TSS_IST2
        mov     ecx, TSS_BYTES / 8
        stac
        rep     movsq
        mov     edi, BORDER - TSS_IST2
        mov     rax, gdt + TSS
        mov     word [rax], TSS_BYTES + 255
        mov     [rax + 2], di
        shr     edi, 16
        mov     [rax + 4], dil
        mov     byte [rax + 5], 89h
        mov     ecx, TSS
        ltr     cx
        mov     byte [idt + 16 * 21h + 4], 2
        by_ring 0, 0, "stacks of interrupts"
        int     21h
next:   its_address
        by_ring 3, FLAG_AC, "stacks of interrupts"
        int     21h
next:   by_ring 3, FLAG_AC, "ports"
        in      al, 80h
next:   its_address
; The stack of ring 0
        mov     qword [BORDER - TSS_IST2 + TSS_RSP0], USER_AREA + 100h
        by_ring 3, 0, "the stack of an interrupt"
        int     20h
next:   its_address
        by_ring 3, FLAG_AC, "the stack of an interrupt"
        int     20h
next:   mov     rcx, gated
        mov     rax, 0000_EC00_0000_0000h | CODE << 16
        mov     [gdt + GATE], rax
        mov     [gdt + GATE], cx
        shr     ecx, 16
        mov     [gdt + GATE + 6], cx
        mov     qword [gdt + GATE + 8], 0
        by_ring 3, 0, "the stack of a call gate"
        call    far [rel gate_pointer]
next:   its_address
        by_ring 3, FLAG_AC, "the stack of a call gate"
        call    far [rel gate_pointer]
next:   exit    0

gated:  int     20h

        section .data
gate_pointer:
        dd      0
        dw      GATE
user_idt:
        dw      16 * VECTORS - 1
        dq      BORDER - 16 * 20h
        section .bss
        alignb  4096
border_pages:
        resb    2 * 4096
        section .text
        end_of_guest
