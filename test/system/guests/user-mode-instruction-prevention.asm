; UMIP: SGDT, SIDT, SLDT, SMSW and STR are the supervisor's, in registers and memory, in 64-bit and in compatibility mode.
;
; Intel SDM volume 3, "Control Registers", of CR4.UMIP.

%define WITHOUT_RF              ; which QEMU does not save
%include "kit-64.inc"

UMIP            equ 1 << 11
LDT             equ FREE_SELECTOR       ; 16 bytes
ABSENT          equ 1_0000_0000h

; What is stored, and what remains of what was there; 32-bit code shows the half of it.
%macro prepare 0
        mov     rax, 1111_2222_3333_4444h
        mov     [result], rax
        mov     [result + 8], rax
%endmacro
%macro found 0
        mov     rbx, [result + 2]
        rol     rbx, 8
        add     rbx, [result]
        add     rbx, rax
        int     20h
%endmacro
%macro found_narrow 0
        mov     ebx, [result + 2]
        rol     ebx, 8
        add     ebx, [result]
        add     ebx, eax
        int     20h
%endmacro
%macro ring_0 0
%endmacro
%macro ring_3 0
        in_ring_3 FLAG_1
%endmacro
; ask WHERE, TITLE, ring_0 or ring_3, instruction
%macro ask 4+
        attempt %1, %2
        prepare
        %3
        %4
        found
next:
%endmacro
%macro ask_narrow 3+
        attempt %1, %2
        prepare
        push    USER_DATA
        push    user_stack
        push    FLAG_1
        push    USER_CODE_32
        push    %%code
        iretq
        bits    32
%%code: mov     eax, USER_DATA
        mov     ds, eax
        mov     eax, 1111_2222h
        %3
        found_narrow
        bits    64
next:
%endmacro
; stores TITLE, ring
%macro stores 2
        ask     %1, "SGDT to memory", %2, sgdt [result]
        ask     %1, "SIDT to memory", %2, sidt [result]
        ask     %1, "SLDT to memory", %2, sldt [result]
        ask     %1, "SLDT AX", %2, sldt ax
        ask     %1, "SLDT EAX", %2, sldt eax
        ask     %1, "SLDT RAX", %2, sldt rax
        ask     %1, "STR to memory", %2, str [result]
        ask     %1, "STR AX", %2, str ax
        ask     %1, "STR EAX", %2, str eax
        ask     %1, "STR RAX", %2, str rax
        ask     %1, "SMSW to memory", %2, smsw [result]
        ask     %1, "SMSW AX", %2, smsw ax
        ask     %1, "SMSW EAX", %2, smsw eax
        ask     %1, "SMSW RAX", %2, smsw rax
%endmacro
%macro stores_narrow 1
        ask_narrow %1, "SGDT to memory", sgdt [result]
        ask_narrow %1, "SIDT to memory", sidt [result]
        ask_narrow %1, "SLDT to memory", sldt [result]
        ask_narrow %1, "SLDT EAX", sldt eax
        ask_narrow %1, "STR to memory", str [result]
        ask_narrow %1, "STR EAX", str eax
        ask_narrow %1, "SMSW to memory", smsw [result]
        ask_narrow %1, "SMSW EAX", smsw eax
%endmacro

main:
        mov     rax, (LOAD_ADDRESS >> 16) << 32 | 8200_0000_000Fh
        mov     [gdt + LDT], rax
        mov     ecx, LDT
        lldt    cx
        stores  "ring 3 without UMIP: ", ring_3
        stores_narrow "compatibility mode without UMIP: "
        attempt "UMIP"
        mov     eax, 7
        xor     ecx, ecx
        cpuid
        and     ecx, 1 << 2
        mov     rax, cr4
        or      eax, UMIP
        mov     cr4, rax
        mov     rbx, cr4
        shl     rcx, 32
        or      rbx, rcx
        int     20h
next:   stores  "ring 0: ", ring_0
        stores  "ring 3: ", ring_3
        stores_narrow "compatibility mode: "
        attempt "before the operand is looked at: absent"
        in_ring_3 FLAG_1
        mov     rax, ABSENT
        sgdt    [rax]
next:   attempt "not canonical, by the stack"
        in_ring_3 FLAG_1
        mov     rbp, NOT_CANONICAL
        smsw    [rbp]
next:   attempt "in ring 0, absent"
        mov     rax, ABSENT
        sidt    [rax]
next:   exit    0

        section .bss
        alignb  16
result: resb    16
        section .text
        end_of_guest
