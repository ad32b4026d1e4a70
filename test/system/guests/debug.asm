; Debug exceptions: breakpoints of DR0 to DR3 on instructions, data and ports; single-stepping; general detection; RF.
;
; Intel SDM volume 3, "Debug Registers", "Debug Exceptions".

%include "kit.inc"

CR4_DE          equ 8
PORT            equ 0E0h

; what DR7 holds for breakpoint 0, and 1
EXECUTE         equ 0
WRITE           equ 1
PORTS           equ 2
ACCESS          equ 3
%define enable(which, kind, bytes)  (2 << 2 * (which) | (kind) << (16 + 4 * (which)) | (((bytes) - 1) << (18 + 4 * (which))))

; expect TITLE: the handler prints and returns.
%macro expect 1+
        xor     eax, eax
        mov     dr7, eax
        mov     eax, 0FFFF0FF0h
        mov     dr6, eax
        say32   %1, 10
%endmacro

%macro breakpoint 3                     ; index, address, DR7
        mov     eax, %2
        mov     dr%1, eax
        mov     eax, %3
        mov     dr7, eax
%endmacro

%macro set_tf 0
        pushfd
        or      dword [esp], FLAG_TF
        popfd
%endmacro

main:
        mov     eax, on_debug
        mov     [idt + 8], ax
        mov     word [idt + 10], CODE
        shr     eax, 16
        mov     [idt + 14], ax

        mov     dword [shown_flags], FLAG_RF | FLAG_TF
        expect  "an instruction: once before it, and RF lets it pass"
        breakpoint 0, .target, enable(0, EXECUTE, 1)
        mov     ecx, 2
.again: nop
.target:
        dec     ecx
        jnz     .again
        expect  "the second byte of an instruction is none"
        breakpoint 0, .long + 1, enable(0, EXECUTE, 1)
.long:  mov     eax, 12345678h
        expect  "two on one instruction"
        breakpoint 0, .two, 0
        breakpoint 1, .two, enable(0, EXECUTE, 1) | enable(1, EXECUTE, 1)
.two:   nop
        expect  "before an instruction that faults"
        mov     dword [goes_on], 0
        mov     dword [next_attempt], .faulted
        breakpoint 0, .fault, enable(0, EXECUTE, 1)
.fault: ud2
.faulted:
        expect  "a write of a byte"
        breakpoint 0, datum + 1, enable(0, WRITE, 1)
        mov     byte [datum], 1
        mov     byte [datum + 1], 2
        mov     byte [datum + 2], 3
        mov     al, [datum + 1]
        nop
        expect  "a write of four bytes that reaches into two"
        breakpoint 0, datum + 4, enable(0, WRITE, 2)
        mov     dword [datum], 1
        mov     dword [datum + 1], 1
        mov     dword [datum + 5], 1
        mov     dword [datum + 6], 1
        expect  "reads and writes of four bytes"
        breakpoint 1, datum, enable(1, ACCESS, 4)
        mov     al, [datum + 3]
        mov     al, [datum + 4]
        add     dword [datum], 1
        nop
        expect  "a push"
        lea     eax, [esp - 4]
        mov     dr0, eax
        mov     eax, enable(0, WRITE, 4)
        mov     dr7, eax
        push    eax
        pop     eax
        ; Bochs saves RF = 0 there and for general detection, against "Debug Exceptions".
        mov     dword [shown_flags], FLAG_TF
        expect  "a string, at each iteration that meets it"
        breakpoint 0, datum + 8, enable(0, WRITE, 4)
        mov     edi, datum
        mov     ecx, 5
        rep     stosd
        mov     dword [shown_flags], FLAG_RF | FLAG_TF
        expect  "a loop that meets it often"
        mov     dword [quiet], 1
        xor     ebp, ebp
        breakpoint 0, datum, enable(0, WRITE, 4)
        mov     ecx, 3000
.loop:  inc     dword [datum]
        inc     dword [datum + 64]
        loop    .loop
        mov     dword [quiet], 0
        xor     eax, eax
        mov     dr7, eax
        show    "  times ", ebp
        call    new_line
        expect  "ports, with CR4.DE"
        mov     eax, CR4_DE
        mov     cr4, eax
        breakpoint 0, PORT, enable(0, PORTS, 2)
        mov     dx, PORT + 1
        in      al, dx
        mov     dx, PORT + 2
        in      al, dx
        out     PORT, al
        nop
        xor     eax, eax
        mov     dr7, eax
        mov     cr4, eax
        expect  "single steps"
        set_tf
        nop
        jmp     .step
.step:  pushfd
        and     dword [esp], ~FLAG_TF
        popfd
        nop
        mov     dword [shown_flags], FLAG_TF
        expect  "single steps of a string"
        mov     edi, datum
        mov     ecx, 3
        set_tf
        rep     stosb
        call    clear_tf
        expect  "no single step between MOV SS and what follows"
        mov     ebx, DATA
        set_tf
        mov     ss, ebx
        nop
        call    clear_tf
        expect  "STI does not hold it off"
        set_tf
        sti
        call    clear_tf
        cli
        expect  "a software interrupt clears TF on its way"
        mov     dword [next_attempt], .software
        set_tf
        int     20h
.software:
        expect  "general detection"
        mov     eax, 1 << 13
        mov     dr7, eax
        mov     ebx, dr0
        mov     ebx, dr7
        show    "  DR7 ", ebx
        call    new_line
        mov     dword [shown_flags], FLAG_RF | FLAG_TF
        expect  "POPF that sets RF does nothing"
        breakpoint 0, .popped, enable(0, EXECUTE, 1)
        pushfd
        or      dword [esp], FLAG_RF
        popfd
.popped:
        nop
        expect  "IRETD that sets RF passes one breakpoint"
        breakpoint 0, .returned, enable(0, EXECUTE, 1)
        push    dword FLAG_RF | FLAG_1
        push    dword CODE
        push    dword .returned
        iretd
.returned:
        nop
        expect  "DR4 is DR6 without CR4.DE"
        mov     ebx, dr4
        show    "  ", ebx
        call    new_line
        expect  "and undefined with it"
        mov     eax, CR4_DE
        mov     cr4, eax
        mov     dword [next_attempt], .done
        mov     ebx, dr4
.done:  exit    0

clear_tf:
        pushfd
        and     dword [esp], ~FLAG_TF
        popfd
        ret

new_line:
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

; Prints where, RF and TF of the flags, and DR6; goes on.
on_debug:
        inc     ebp
        cmp     dword [quiet], 0
        jne     .quietly
        pushad
        mov     eax, dr6
        mov     edi, eax
        mov     eax, 0FFFF0FF0h
        mov     dr6, eax
        show    "  #DB at ", [esp + 32]
        mov     ebx, [esp + 40]
        and     ebx, [shown_flags]
        show    " flags ", ebx
        show    " DR6 ", edi
        mov     eax, [esp + 24]
        mov     edi, eax
        show    " ECX ", edi
        call    new_line
        popad
        test    dword [esp + 8], FLAG_TF
        jnz     .go_on
        or      dword [esp + 8], FLAG_RF
.go_on: iretd
.quietly:
        iretd

        section .bss
        alignb  4
quiet:  resd    1
shown_flags:
        resd    1
        alignb  4096
datum:  resb    128
        section .text

        end_of_guest
