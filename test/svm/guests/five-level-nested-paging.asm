; Nested paging by a host with 5-level paging: its tables for the guest have five levels as well, those of the guest five or four.
;
; AMD64 APM volume 2, "Nested Paging", of N_CR3; "5-Level Paging".

%define FIVE_LEVELS
%include "svm-kit.inc"

PLAYGROUND      equ 800000h             ; 2 MiB of guest-physical memory in pages of 4 KiB
LA57            equ 1 << 12
; Two PML5Es of the guest that lead to the same tables.
LOW_TOP         equ 00FF_0000_0000_0000h
HIGH_BOTTOM     equ 0FF00_0000_0000_0000h

; entry PAGE, VALUE: the nested entry of a page of the playground.
%macro entry 2
        mov     rax, %2
        mov     [nested_table + 8 * (%1)], rax
%endmacro
; nested_guest LABEL: with five levels, as its host
%macro nested_guest 1
        guest   %1
        mov     qword [rdi + NP_ENABLE], 1
        mov     qword [rdi + N_CR3], nested_top
%endmacro
; narrow_guest LABEL: with four
%macro narrow_guest 1
        nested_guest %1
        mov     qword [rdi + STATE_CR3], tables
        and     dword [rdi + STATE_CR4], ~LA57
%endmacro

main:
        mov     dword [pml5 + 8 * 0FFh], tables + 7
        mov     dword [pml5 + 8 * 100h], tables + 7
        call    enable_svm
        map_nested
        mov     qword [nested_top], nested + 7
        map_playground
        mov     dword [PLAYGROUND + 123h], 11111111h
        mov     dword [PLAYGROUND + 1123h], 22222222h

        say     "five levels in five", 10
        nested_guest reads_low
        call    enter
        nested_guest reads_high
        call    enter
        mov     rbx, [nested_top]
        show    "  accessed ", rbx
        call    new_line
        say     "another page", 10
        entry   0, PLAYGROUND + 1007h
        nested_guest reads_high
        call    enter
        say     "a page that is not present", 10
        entry   0, 0
        nested_guest reads_low
        call    enter
        nested_guest reads_high
        call    enter
        say     "a page for reading only", 10
        entry   0, PLAYGROUND + 5
        nested_guest writes_high
        call    enter
        say     "what is not canonical with 48 bits is no page of the guest", 10
        nested_guest reads_middle
        call    enter
        say     "what is not canonical with 57 bits", 10
        nested_guest reads_nowhere
        call    enter
        say     "the guest's PML5 in a page that is not present", 10
        entry   3, 0
        nested_guest reads_low
        mov     qword [rdi + STATE_CR3], PLAYGROUND + 3000h
        call    enter
        say     "in one for reading only", 10
        mov     esi, pml5
        mov     edi, PLAYGROUND + 3000h
        mov     ecx, 4096 / 8
        rep     movsq
        entry   3, PLAYGROUND + 3005h
        nested_guest reads_low
        mov     qword [rdi + STATE_CR3], PLAYGROUND + 3000h
        call    enter

        say     "four levels in five", 10
        narrow_guest reads
        call    enter
        narrow_guest writes
        call    enter
        say     "what is not canonical with 48 bits", 10
        narrow_guest reads_low
        call    enter

        say     "a PML5E of the host that is not present", 10
        mov     qword [nested_top], 0
        nested_guest reads_low
        call    enter
        say     "of the supervisor", 10
        mov     qword [nested_top], nested + 3
        nested_guest reads_low
        call    enter
        say     "for reading only", 10
        mov     qword [nested_top], nested + 5
        narrow_guest reads
        call    enter
        exit    0

reads:  mov     eax, [PLAYGROUND + 123h]
        vmmcall
writes: mov     dword [PLAYGROUND + 123h], 0F4F4F4F4h
        vmmcall
reads_low:
        mov     rax, LOW_TOP + PLAYGROUND + 123h
        mov     eax, [rax]
        vmmcall
reads_high:
        mov     rax, HIGH_BOTTOM + PLAYGROUND + 123h
        mov     eax, [rax]
        vmmcall
writes_high:
        mov     rax, HIGH_BOTTOM + PLAYGROUND + 123h
        mov     dword [rax], 33333333h
        vmmcall
reads_middle:
        mov     rax, 0055_0000_0000_0000h
        mov     eax, [rax]
        vmmcall
reads_nowhere:
        mov     rax, 0100_0000_0000_0000h
        mov     eax, [rax]
        vmmcall

        section .bss
        alignb  4096
nested_top:
        resb    4096
nested: resb    3 * 4096
nested_table:
        resb    4096
        section .text

        end_of_guest
