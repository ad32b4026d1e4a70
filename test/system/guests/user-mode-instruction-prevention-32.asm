; UMIP in protected mode, where rings 1 and 2 are no supervisors either, and in virtual-8086 mode.
;
; Intel SDM volume 3, "Control Registers", of CR4.UMIP; "8086 Emulation", of what is not there.

%include "kit.inc"
%include "virtual-8086.inc"

UMIP            equ 1 << 11
CODE_1          equ FREE_SELECTOR | 1
DATA_1          equ FREE_SELECTOR + 8 | 1
CODE_2          equ FREE_SELECTOR + 16 | 2
DATA_2          equ FREE_SELECTOR + 24 | 2

; in_ring CODE, DATA
%macro in_ring 2
        push    dword %2
        push    dword stack_top - 1024
        push    dword FLAG_1
        push    dword %1
        push    dword %%code
        iretd
%%code: mov     eax, %2
        mov     ds, eax
%endmacro
; ask WHERE, TITLE, code, data, instruction
%macro ask 5+
        attempt %1, %2
        in_ring %3, %4
        %5
        int     20h
next:
%endmacro
%macro stores 3
        ask     %1, "SGDT", %2, %3, sgdt [result]
        ask     %1, "SIDT", %2, %3, sidt [result]
        ask     %1, "SLDT", %2, %3, sldt [result]
        ask     %1, "SLDT EAX", %2, %3, sldt eax
        ask     %1, "STR", %2, %3, str [result]
        ask     %1, "STR EAX", %2, %3, str eax
        ask     %1, "SMSW", %2, %3, smsw [result]
        ask     %1, "SMSW EAX", %2, %3, smsw eax
%endmacro
%macro stores_8086 1
        attempt_8086 {%1, "SGDT"}, 0
        sgdt    [bx]
        end_8086
        attempt_8086 {%1, "SIDT"}, 0
        sidt    [bx]
        end_8086
        attempt_8086 {%1, "SMSW"}, 0
        smsw    [bx]
        end_8086
        attempt_8086 {%1, "SMSW AX"}, IOPL_3
        smsw    ax
        end_8086
        attempt_8086 {%1, "SLDT"}, 0
        sldt    ax
        end_8086
        attempt_8086 {%1, "STR"}, 0
        str     ax
        end_8086
%endmacro

main:
        mov     eax, 00CFBB00h
        mov     ebx, 0000FFFFh
        mov     [gdt + (CODE_1 & ~3)], ebx
        mov     [gdt + (CODE_1 & ~3) + 4], eax
        mov     [gdt + (DATA_1 & ~3)], ebx
        mov     dword [gdt + (DATA_1 & ~3) + 4], 00CFB300h
        mov     [gdt + (CODE_2 & ~3)], ebx
        mov     dword [gdt + (CODE_2 & ~3) + 4], 00CFDB00h
        mov     [gdt + (DATA_2 & ~3)], ebx
        mov     dword [gdt + (DATA_2 & ~3) + 4], 00CFD300h
        stores  "ring 3 without UMIP: ", USER_CODE, USER_DATA
        stores_8086 "virtual-8086 mode without UMIP: "
        mov     eax, cr4
        or      eax, UMIP
        mov     cr4, eax
        stores  "ring 1: ", CODE_1, DATA_1
        stores  "ring 2: ", CODE_2, DATA_2
        stores  "ring 3: ", USER_CODE, USER_DATA
        stores_8086 "virtual-8086 mode: "
        attempt "before the operand is looked at: a null segment"
        in_ring USER_CODE, USER_DATA
        xor     eax, eax
        mov     ds, eax
        sgdt    [result]
next:   attempt "ring 0"
        sgdt    [result]
        sidt    [result]
        sldt    eax
        str     eax
        smsw    eax
        int     20h
next:   exit    0

        section .bss
        alignb  16
result: resb    16
        section .text
        end_of_guest
