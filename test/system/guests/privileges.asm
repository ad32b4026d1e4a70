; Far transfers between rings, by gates and returns; loads of segment registers; what looks at descriptors; segment limits.
;
; Intel SDM volume 3, "Protection".

%include "kit.inc"

GATE            equ FREE_SELECTOR       ; filled by each attempt
CONFORMING      equ FREE_SELECTOR + 8   ; code of ring 0
CODE_16         equ FREE_SELECTOR + 16  ; base: the image
ABSENT          equ FREE_SELECTOR + 24  ; data
ABSENT_CODE     equ FREE_SELECTOR + 32
EXECUTE_ONLY    equ FREE_SELECTOR + 40
READ_ONLY       equ FREE_SELECTOR + 48
SMALL_STACK     equ FREE_SELECTOR + 56  ; 512 bytes
EXPAND_DOWN     equ FREE_SELECTOR + 64  ; from 1000h to 0FFFFh
LDT             equ FREE_SELECTOR + 72
DATA_16         equ FREE_SELECTOR + 80  ; base: the image

CALL_GATE       equ 8C00h
CALL_GATE_16    equ 8400h
DPL_3           equ 6000h

; gate TYPE AND DPL, SELECTOR, OFFSET
%macro gate 3
        mov     eax, %3
        mov     [gdt + GATE], ax
        mov     word [gdt + GATE + 2], %2
        mov     word [gdt + GATE + 4], %1
        shr     eax, 16
        mov     [gdt + GATE + 6], ax
%endmacro

%macro in_ring_3 0
        push    dword USER_DATA
        push    dword user_stack
        push    dword FLAG_1 | IOPL_3
        push    dword USER_CODE
        push    dword %%code
        iretd
%%code: xor     eax, eax
        xor     ebx, ebx
%endmacro

; Loads a selector into a segment register and shows what comes of it.
%macro load 3
        attempt %1
        mov     eax, %3
        mov     %2, ax
        mov     eax, %2
        movzx   ebx, ax
        show    "  loaded ", ebx
        call    new_line
next:
%endmacro

%macro look 3
        attempt %1
        mov     ebx, %3
        xor     ecx, ecx
        %2
        pushfd
        and     dword [esp], 40h
        mov     edx, ecx
        show    "  ZF ", [esp]
        show    " value ", edx
        call    new_line
next:
%endmacro

main:
        mov     esi, descriptors
        mov     edi, gdt + CONFORMING
        mov     ecx, (descriptors_end - descriptors) / 4
        rep     movsd
        mov     eax, small_stack
        mov     edi, gdt + SMALL_STACK
        call    set_base
        mov     eax, ldt
        mov     edi, gdt + LDT
        call    set_base

        attempt "a call gate of 32 bits with two parameters"
        gate    CALL_GATE | DPL_3 | 2, CODE, gate_handler
        in_ring_3
        push    dword 11111111h
        push    dword 22222222h
        call    GATE:0
        int     20h
next:   attempt "a call gate of 16 bits with three parameters"
        gate    CALL_GATE_16 | DPL_3 | 3, CODE_16, gate_handler_16 - LOAD_ADDRESS
        in_ring_3
        push    word 1111h
        push    word 2222h
        push    word 3333h
        call    GATE:0
        int     20h
next:   attempt "a call gate within ring 0"
        gate    CALL_GATE | 2, CODE, gate_handler_0
        call    GATE:0
        int     20h
next:   attempt "a jump through a gate to an inner ring"
        gate    CALL_GATE | DPL_3, CODE, gate_handler
        in_ring_3
        jmp     GATE:0
next:   attempt "a jump through a gate to conforming code"
        gate    CALL_GATE | DPL_3, CONFORMING, tell_cs
        in_ring_3
        jmp     GATE:0
next:   attempt "a call of conforming code"
        in_ring_3
        call    CONFORMING:tell_cs
next:   attempt "a call of inner code"
        in_ring_3
        call    CODE:tell_cs
next:   attempt "a gate whose DPL is too small"
        gate    CALL_GATE, CODE, gate_handler
        in_ring_3
        call    GATE:0
next:   attempt "a gate by a selector of a higher RPL"
        gate    CALL_GATE, CODE, gate_handler
        call    GATE | 1:0
next:   attempt "a gate that is not present"
        gate    (CALL_GATE | DPL_3) & 7FFFh, CODE, gate_handler
        in_ring_3
        call    GATE:0
next:   attempt "a gate to code that is not present"
        gate    CALL_GATE | DPL_3, ABSENT_CODE, gate_handler
        in_ring_3
        call    GATE:0
next:   attempt "a gate to data"
        gate    CALL_GATE | DPL_3, DATA, gate_handler
        in_ring_3
        call    GATE:0
next:   attempt "a gate to nothing"
        gate    CALL_GATE | DPL_3, 0, gate_handler
        in_ring_3
        call    GATE:0
next:
        attempt "RETF to an inner ring"
        in_ring_3
        push    dword CODE
        push    dword gate_handler
        retf
next:   attempt "RETF to an outer ring drops the segments of the inner one"
        push    dword USER_DATA
        push    dword user_stack
        push    dword USER_CODE
        push    dword tell_segments
        retf
next:   attempt "RETF to an outer ring with a stack of the inner one"
        push    dword DATA
        push    dword user_stack
        push    dword USER_CODE
        push    dword tell_segments
        retf
next:   attempt "RETF to an outer ring without a stack"
        push    dword 0
        push    dword user_stack
        push    dword USER_CODE
        push    dword tell_segments
        retf
next:   attempt "RETF to a null selector"
        push    dword 0
        push    dword tell_segments
        retf
next:   attempt "RETF to data"
        push    dword DATA
        push    dword tell_segments
        retf
next:   attempt "RETF to code that is not present"
        push    dword ABSENT_CODE
        push    dword tell_segments
        retf
next:   attempt "IRETD to an outer ring with a stack that is not present"
        push    dword ABSENT | 3
        push    dword user_stack
        push    dword FLAG_1
        push    dword USER_CODE
        push    dword tell_segments
        iretd
next:   attempt "IRETD in ring 3 changes neither IF nor IOPL"
        push    dword USER_DATA
        push    dword user_stack
        push    dword FLAG_1
        push    dword USER_CODE
        push    dword .user_1
        iretd
.user_1:  push    dword FLAG_1 | FLAG_IF | IOPL_3 | 8D5h
        push    dword USER_CODE
        push    dword .back
        iretd
.back:  int     20h
next:   attempt "POPFD in ring 3 changes neither IF nor IOPL"
        push    dword USER_DATA
        push    dword user_stack
        push    dword FLAG_1
        push    dword USER_CODE
        push    dword .user_2
        iretd
.user_2:  push    dword FLAG_1 | FLAG_IF | IOPL_3 | 8D5h
        popfd
        int     20h
next:   attempt "CLI in ring 3 with IOPL 0"
        push    dword USER_DATA
        push    dword user_stack
        push    dword FLAG_1
        push    dword USER_CODE
        push    dword .user_3
        iretd
.user_3:  cli
next:
        attempt "an interrupt gate of 16 bits"
        mov     word [idt + 8 * 30h], gate_handler_16i - LOAD_ADDRESS
        mov     word [idt + 8 * 30h + 2], CODE_16
        mov     dword [idt + 8 * 30h + 4], 0E600h
        in_ring_3
        int     30h
        int     20h
next:   attempt "a trap gate to conforming code"
        mov     eax, tell_cs
        mov     [idt + 8 * 31h], ax
        mov     word [idt + 8 * 31h + 2], CONFORMING
        mov     word [idt + 8 * 31h + 4], 0EF00h
        in_ring_3
        int     31h
next:   attempt "INT n through a gate of DPL 0"
        mov     word [idt + 8 * 32h + 4], 8E00h
        in_ring_3
        int     32h
next:   attempt "INT n through a gate that is not present"
        mov     word [idt + 8 * 32h + 4], 6E00h
        in_ring_3
        int     32h
next:   attempt "INT n through no gate"
        mov     word [idt + 8 * 32h + 4], 0E200h
        in_ring_3
        int     32h
next:   attempt "INT n beyond the table"
        in_ring_3
        int     0FFh
next:
        load    "DS: null", ds, 0
        load    "DS: execute-only code", ds, EXECUTE_ONLY
        load    "DS: conforming code", ds, CONFORMING | 3
        load    "DS: data of ring 0 by a selector of RPL 3", ds, DATA | 3
        load    "DS: not present", ds, ABSENT
        load    "DS: beyond the table", ds, 7FF8h
        load    "DS: in the LDT, of which there is none", ds, 0Ch
        load    "DS: a TSS", ds, TSS
        load    "SS: null", ss, 0
        load    "SS: read-only data", ss, READ_ONLY
        load    "SS: not present", ss, ABSENT
        load    "SS: another RPL", ss, DATA | 3
        load    "SS: code", ss, CODE
        attempt "MOV CS does not exist"
        db      8Eh, 0C8h
next:
        look    "LAR: code", {lar ecx, ebx}, CODE
        look    "LAR: a call gate", {lar ecx, ebx}, GATE
        look    "LAR: a busy TSS", {lar ecx, ebx}, TSS
        look    "LAR: null", {lar ecx, ebx}, 0
        look    "LAR: beyond the table", {lar ecx, ebx}, 7FF8h
        look    "LAR: RPL 3 of data of ring 0", {lar ecx, ebx}, DATA | 3
        look    "LSL: data with granularity", {lsl ecx, ebx}, DATA
        look    "LSL: a call gate", {lsl ecx, ebx}, GATE
        look    "LSL: an LDT", {lsl ecx, ebx}, LDT
        look    "LSL: a TSS", {lsl ecx, ebx}, TSS
        look    "VERR: execute-only code", {verr bx}, EXECUTE_ONLY
        look    "VERR: data", {verr bx}, DATA
        look    "VERW: read-only data", {verw bx}, READ_ONLY
        look    "VERW: data", {verw bx}, DATA
        look    "VERW: not present", {verw bx}, ABSENT

        attempt "LLDT of data"
        mov     eax, DATA
        lldt    ax
next:   attempt "LTR of a busy TSS"
        mov     eax, TSS
        ltr     ax
next:   attempt "LTR of null"
        xor     eax, eax
        ltr     ax
next:   attempt "an expand-down segment below its limit"
        mov     eax, EXPAND_DOWN
        mov     fs, ax
        mov     al, [fs:1000h]
        mov     al, [fs:0FFFh]
next:   attempt "and above its end"
        mov     eax, EXPAND_DOWN
        mov     fs, ax
        mov     al, [fs:0FFFFh]
        mov     ax, [fs:0FFFFh]
next:   attempt "a write to a read-only segment"
        mov     eax, READ_ONLY
        mov     fs, ax
        mov     al, [fs:0]
        mov     [fs:0], al
next:   attempt "a write to a code segment"
        mov     [cs:datum], al
next:   attempt "a read through an execute-only segment"
        jmp     EXECUTE_ONLY:.execute_only
.execute_only:
        mov     al, [cs:datum]
next:   attempt "a read through a null segment"
        xor     eax, eax
        mov     fs, ax
        mov     al, [fs:0]
next:   attempt "a read beyond a small stack"
        mov     eax, SMALL_STACK
        mov     ss, ax
        mov     esp, 512
        mov     eax, [esp - 2]
next:   attempt "an instruction fetch beyond its segment"
        jmp     CODE_16:0FFFFh
next:
        attempt "SYSENTER and SYSEXIT"
        xor     edx, edx
        mov     ecx, 174h
        mov     eax, CODE
        wrmsr
        mov     ecx, 175h
        mov     eax, stack_top
        wrmsr
        mov     ecx, 176h
        mov     eax, .entered
        wrmsr
        in_ring_3
        sysenter
.entered:
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     ebx, cs
        show    "  CS ", ebx
        mov     ebx, ss
        show    " SS ", ebx
        call    new_line
        mov     edx, .left
        mov     ecx, user_stack
        sysexit
.left:  mov     ebx, cs
        mov     edx, ss
        int     20h
next:   attempt "SYSENTER without IA32_SYSENTER_CS"
        xor     eax, eax
        xor     edx, edx
        mov     ecx, 174h
        wrmsr
        in_ring_3
        sysenter
next:   attempt "SYSEXIT in ring 3"
        mov     eax, CODE
        xor     edx, edx
        mov     ecx, 174h
        wrmsr
        in_ring_3
        sysexit
next:   exit    0

; Prints its stack and returns, taking the parameters off.
gate_handler:
        mov     ebp, esp
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     edi, 6
        call    show_stack
        retf    8
gate_handler_0:
        mov     ebp, esp
        mov     edi, 2
        call    show_stack
        retf

        bits    16
gate_handler_16:
        mov     ebp, esp
        mov     ax, DATA
        mov     ds, ax
        mov     es, ax
        call    dword CODE:show_words
        retf    6
gate_handler_16i:
        mov     ebp, esp
        mov     ax, DATA
        mov     ds, ax
        mov     es, ax
        call    dword CODE:show_words
        iret
        bits    32

show_words:
        xor     edi, edi
.next:  movzx   ebx, word [ebp + edi * 2]
        show    " ", ebx
        inc     edi
        cmp     edi, 5
        jb      .next
        call    new_line
        retf

; EDI doublewords from EBP on.
show_stack:
        mov     ebx, [ebp]
        show    " ", ebx
        add     ebp, 4
        dec     edi
        jnz     show_stack
        call    new_line
        ret

tell_cs:
        mov     ebx, cs
        int     20h

tell_segments:
        mov     ax, ds
        mov     bx, es
        int     20h

new_line:
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

        section .data
        align   8
descriptors:
        dw      0FFFFh, 0, 9E00h, 00CFh
        dw      0FFFFh, LOAD_ADDRESS & 0FFFFh, 9B00h | LOAD_ADDRESS >> 16, 0
        dw      0FFFFh, 0, 1300h, 00CFh
        dw      0FFFFh, 0, 1B00h, 00CFh
        dw      0FFFFh, 0, 9900h, 00CFh
        dw      0FFFFh, 0, 9100h, 00CFh
        dw      511, 0, 9300h, 0040h
        dw      0FFFh, 0, 9700h, 0
        dw      15, 0, 8200h, 0
        dw      0FFFFh, LOAD_ADDRESS & 0FFFFh, 9300h | LOAD_ADDRESS >> 16, 0
descriptors_end:
ldt:    dq      0, 0
datum:  dd      0

        section .bss
        alignb  16
small_stack:
        resb    512
        resb    4096
user_stack:
        section .text

        end_of_guest
