; Which fault a fetch has beyond the end of the code segment, where no page is mapped either: the segment's comes first, for
; the first byte of an instruction and for a later one.
;
; Intel SDM volume 3, "Priority Among Concurrent Events": faults from fetching the next instruction.

%include "kit.inc"

NARROW          equ FREE_SELECTOR       ; code from 0 to the last mapped page
LARGER          equ FREE_SELECTOR + 8   ; code from 0 to one byte beyond it
UNMAPPED        equ 800000h             ; no page from here on, for 4 MBytes
CR0_PG          equ 1 << 31
CR4_PSE         equ 1 << 4
PRESENT         equ 83h                 ; a writable page of 4 MBytes

; code_segment SELECTOR, limit
%macro code_segment 2
        mov     dword [gdt + %1], (%2) & 0FFFFh
        mov     dword [gdt + %1 + 4], 00409B00h | ((%2) & 0F0000h)
%endmacro

        section .text
main:
        code_segment NARROW, LIMIT
        code_segment LARGER, LIMIT + 1
        mov     eax, BASE
        mov     edi, gdt + NARROW
        call    set_base
        mov     eax, BASE
        mov     edi, gdt + LARGER
        call    set_base
        mov     dword [page_directory], PRESENT
        mov     dword [page_directory + 4], 400000h | PRESENT
        mov     eax, cr4
        or      eax, CR4_PSE
        mov     cr4, eax
        mov     eax, page_directory
        mov     cr3, eax
        mov     eax, cr0
        or      eax, CR0_PG
        mov     cr0, eax

BASE            equ 7F0000h
LIMIT           equ UNMAPPED - BASE - 1

; Puts up to four bytes of code at the end of the mapped pages. `last BYTES, count`
%macro last 2
        mov     dword [UNMAPPED - 4], (%1) << (8 * (4 - %2))
%endmacro

        attempt "NOP, then beyond both"
        last    90h, 1
        jmp     NARROW:LIMIT
next:   call    show_address
        attempt "two bytes, the second beyond both"
        last    0B0h, 1
        jmp     NARROW:LIMIT
next:   call    show_address
        attempt "three bytes, the third beyond both"
        last    0C083h, 2
        jmp     NARROW:LIMIT - 1
next:   call    show_address
        attempt "NOP, then in the segment, but not mapped"
        last    90h, 1
        jmp     LARGER:LIMIT
next:   call    show_address
        attempt "two bytes, the second in the segment, but not mapped"
        last    0B0h, 1
        jmp     LARGER:LIMIT
next:   call    show_address
        attempt "a jump to beyond both"
        last    01EBh, 2
        jmp     NARROW:LIMIT - 1
next:   call    show_address
        attempt "a far jump to beyond both"
        jmp     NARROW:LIMIT + 1
next:   call    show_address
        attempt "a far jump to what is in the segment, but not mapped"
        jmp     LARGER:LIMIT + 1
next:   call    show_address
        exit    0

show_address:
        mov     edx, cr2
        show    "  CR2 ", edx
        mov     al, 10
        out     CONSOLE_PORT, al
        xor     edx, edx
        mov     cr2, edx
        ret

        section .bss
        alignb  4096
page_directory:
        resb    4096
        section .text
        end_of_guest
