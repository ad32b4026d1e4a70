; Alignment checks: CR0.AM, EFLAGS.AC and ring 3 together.
;
; Intel SDM volume 3, "Interrupt 17—Alignment Check Exception (#AC)".

%include "kit.inc"

CR0_AM          equ 1 << 18

; ring_3 TITLE, FLAGS: the code up to the next attempt runs in ring 3 and ends by INT 20h, unless it faults.
%macro ring_3 2
        attempt %1
        push    dword USER_DATA
        push    dword user_stack
        push    dword (%2) | FLAG_1
        push    dword USER_CODE
        push    dword %%code
        mov     eax, USER_DATA
        mov     ds, eax
        mov     es, eax
        mov     ebx, datum
        mov     esi, datum
        mov     edi, datum + 64
        mov     ecx, 3
        iretd
%%code:
%endmacro

main:
        ring_3  "without CR0.AM", FLAG_AC
        mov     eax, [ebx + 1]
        int     20h
next:   mov     eax, cr0
        or      eax, CR0_AM
        mov     cr0, eax
        ring_3  "without EFLAGS.AC", 0
        mov     eax, [ebx + 1]
        int     20h
next:   attempt "in ring 0"
        pushfd
        or      dword [esp], FLAG_AC
        popfd
        mov     ebx, datum
        mov     eax, [ebx + 1]
        pushfd
        and     dword [esp], ~FLAG_AC
        popfd
        int     20h
next:   ring_3  "a byte", FLAG_AC
        mov     al, [ebx + 1]
        int     20h
next:   ring_3  "a word at an odd address", FLAG_AC
        mov     ax, [ebx + 3]
        int     20h
next:   ring_3  "a word at an even address", FLAG_AC
        mov     ax, [ebx + 2]
        int     20h
next:   ring_3  "a doubleword at an even address", FLAG_AC
        mov     eax, [ebx + 2]
        int     20h
next:   ring_3  "a doubleword at a multiple of four", FLAG_AC
        mov     eax, [ebx + 4]
        int     20h
next:   ring_3  "a write", FLAG_AC
        mov     [ebx + 2], eax
        int     20h
next:   ring_3  "a read and write", FLAG_AC
        add     [ebx + 2], eax
        int     20h
next:   ring_3  "a push", FLAG_AC
        dec     esp
        push    eax
        int     20h
next:   ring_3  "a call", FLAG_AC
        sub     esp, 2
        call    .here
.here:  int     20h
next:   ring_3  "over the end of a page", FLAG_AC
        mov     eax, [ebx + 4094]
        int     20h
next:   ring_3  "a string, in its second iteration", FLAG_AC
        rep     movsd
        add     edi, 2
        mov     ecx, 2
        rep     stosd
        int     20h
next:   ring_3  "AC set by POPFD", 0
        mov     eax, [ebx + 1]
        push    dword FLAG_AC | FLAG_1
        popfd
        mov     eax, [ebx + 1]
        int     20h
next:   ring_3  "PUSHFD", FLAG_AC
        dec     esp
        pushfd
        int     20h
next:   ring_3  "the handler of an interrupt is not checked", FLAG_AC
        dec     esp
        int     20h
next:   exit    0

        section .bss
        alignb  4096
datum:  resb    8192
user_stack:
        section .text

        end_of_guest
