; Real-address mode: events through the vector table, segment limits, what exists and what does not, the way to protected
; mode and back, segments that keep their limits.
;
; Intel SDM volume 3, "8086 Emulation".

%include "kit.inc"

REAL_CODE       equ 2000h               ; segment, and that of the data
REAL_STACK      equ 3000h
CODE_16         equ FREE_SELECTOR       ; 64 KiB from REAL_CODE
DATA_16         equ FREE_SELECTOR + 8   ; 64 KiB

main:
        mov     esi, real_image
        mov     edi, REAL_CODE * 16
        mov     ecx, real_image_end - real_image
        rep     movsb
        ; vectors 0 to 3Fh, all to stubs of four bytes
        xor     edi, edi
        mov     eax, REAL_CODE << 16 | (real_stubs - real_image)
.vector:
        mov     [edi], eax
        add     edi, 4
        add     eax, 4
        cmp     edi, 40h * 4
        jb      .vector
        mov     dword [gdt + CODE_16], 0000FFFFh
        mov     dword [gdt + CODE_16 + 4], 00009B02h
        mov     dword [gdt + DATA_16], 0000FFFFh
        mov     dword [gdt + DATA_16 + 4], 00009300h
        lidt    [real_idt]
        jmp     CODE_16:to_real - real_image

        section .data
real_idt:
        dw      40h * 4 - 1
        dd      0
        section .text

        align   16
        bits    16
real_image:
%define at(label) (label - real_image)

; The stub of a vector: CALL pushes where it is, which tells the vector.
real_stubs:
%rep 40h
        call    near real_report
        nop
%endrep

to_real:
        mov     ax, DATA_16
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     eax, cr0
        and     al, ~1
        mov     cr0, eax
        jmp     REAL_CODE:at(.real)
.real:  mov     ax, REAL_CODE
        mov     ds, ax
        jmp     attempts

; real TITLE: as attempt.
%macro real 1+
        jmp     %%start
%%title: db     %1, 10, 0
%%start:
        mov     ax, REAL_CODE
        mov     ds, ax
        mov     ax, REAL_STACK
        mov     ss, ax
        mov     esp, 1000h
        mov     si, at(%%title)
        call    real_print
        mov     word [at(real_next)], at(%%next)
        mov     ax, 4000h
        mov     ds, ax
        mov     es, ax
        xor     eax, eax
        xor     ebx, ebx
        xor     ecx, ecx
        xor     edx, edx
%define next %%next
%endmacro

attempts:
        real    "INT n"
        int     20h
next:   real    "INT3"
        int3
next:   real    "INTO"
        mov     al, 7Fh
        inc     al
        into
next:   real    "a divide error"
        div     cl
next:   real    "BOUND"
        mov     dword [0], 00050002h
        mov     ax, 6
        bound   ax, [0]
next:   real    "UD2"
        ud2
next:   real    "flags: IF and TF are cleared, the others pushed"
        push    word 7AD7h
        popf
        int     20h
next:   real    "a word at the end of the segment"
        mov     ax, [0FFFFh]
next:   real    "a byte at the end of the segment"
        mov     bl, [0FFFFh]
        int     20h
next:   real    "an offset beyond 64 KiB"
        mov     ebx, 10000h
        mov     al, [ebx]
next:   real    "LLDT does not exist"
        lldt    ax
next:   real    "ARPL does not exist"
        arpl    ax, ax
next:   real    "LAR does not exist"
        lar     ax, ax
next:   real    "VERR does not exist"
        verr    ax
next:   real    "LGDT, LIDT and SMSW exist"
        smsw    bx
        sgdt    [0]
        int     20h
next:   real    "MOV to CR0 of PG without PE"
        mov     eax, cr0
        or      eax, 80000000h
        mov     cr0, eax
next:   real    "IRET loads all flags but those above"
        push    word 7AD7h
        push    cs
        push    word at(.returned)
        iret
.returned:
        int     20h
next:   real    "IRETD"
        push    dword 00277AD7h
        push    dword REAL_CODE
        push    dword at(.returned_d)
        iretd
.returned_d:
        int     20h
next:   real    "IRETD to an offset beyond the segment"
        push    dword 2
        push    dword REAL_CODE
        push    dword 10000h
        iretd
next:   real    "a far call and return"
        call    REAL_CODE - 1:at(.called) + 16
        int     20h
.called:
        mov     bx, cs
        retf
next:   real    "a far jump of 32 bits beyond the segment"
        jmp     dword REAL_CODE:10000h
next:   real    "a vector beyond the limit of the IDTR"
        int     0FFh
next:   real    "a limit that protected mode left: 4 GiB"
        cli
        mov     bx, ds
        push    cs
        pop     ds
        o32 lgdt [at(real_gdt)]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     .in_protected
.in_protected:
        mov     cx, DATA
        mov     fs, cx
        and     al, ~1
        mov     cr0, eax
        jmp     REAL_CODE:at(.flat)
.flat:  xor     cx, cx
        mov     fs, cx
        mov     ebx, [fs:dword LOAD_ADDRESS + 4]
        int     20h
next:   mov     al, 0
        out     DEBUG_EXIT_PORT, al
        cli
.halt:  hlt
        jmp     .halt

real_gdt:
        dw      15 * 8 - 1
        dd      gdt

; The stack: where the stub is, IP, CS, FLAGS.
real_report:
        push    ds
        push    cs
        pop     ds
        mov     bp, sp
        push    bx
        mov     bx, [bp + 2]
        sub     bx, at(real_stubs) + 3
        shr     bx, 2
        mov     si, at(text_vector)
        call    show_real
        mov     bx, [bp + 6]
        mov     si, at(text_at)
        call    show_real
        mov     bx, [bp + 4]
        mov     si, at(text_ip)
        call    show_real
        mov     bx, [bp + 8]
        mov     si, at(text_flags)
        call    show_real
        lea     bx, [bp + 10]
        mov     si, at(text_sp)
        call    show_real
        pushf
        pop     bx
        and     bx, 0FF00h
        mov     si, at(text_now)
        call    show_real
        pop     bx
        mov     si, at(text_bx)
        call    show_real
        mov     al, 10
        out     CONSOLE_PORT, al
        jmp     [at(real_next)]

show_real:
        call    real_print
        mov     ax, bx
        jmp     real_print_hex

define_print real_print
define_print_hex real_print_hex, ax, 4

text_vector: db "  vector ", 0
text_at: db     " at ", 0
text_ip: db     ":", 0
text_flags: db  " flags ", 0
text_sp: db     " SP ", 0
text_now: db    " in the handler ", 0
text_bx: db     " BX ", 0
        align   2
real_next:
        dw      0
real_image_end:
        bits    32

        end_of_guest
