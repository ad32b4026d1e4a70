; Virtual-8086 mode without its enhancements: what is left to the monitor, and how it is told.
;
; Intel SDM volume 3, "8086 Emulation".

%include "kit.inc"
%include "virtual-8086.inc"

main:
        attempt_8086 "INT n goes to the monitor only with IOPL 3", 0
        int     30h
        end_8086
        attempt_8086 "INT n with IOPL 3", IOPL_3
        int     30h
        end_8086
        attempt_8086 "INT3 with IOPL 0", 0
        int3
        end_8086
        attempt_8086 "CLI with IOPL 0", 0
        cli
        end_8086
        attempt_8086 "STI with IOPL 0", 0
        sti
        end_8086
        attempt_8086 "PUSHF with IOPL 0", 0
        pushf
        end_8086
        attempt_8086 "POPF with IOPL 0", 0
        popf
        end_8086
        attempt_8086 "IRET with IOPL 0", 0
        iret
        end_8086
        attempt_8086 "CLI and STI with IOPL 3", IOPL_3
        sti
        cli
        sti
        int3
        end_8086
        attempt_8086 "POPF changes neither IOPL nor what is above FLAGS", IOPL_3
        push    word 0AD5h
        popf
        int3
        end_8086
        attempt_8086 "POPFD does not change VM, IOPL, VIF and VIP", IOPL_3
        push    dword 003A0AD5h
        popfd
        int3
        end_8086
        attempt_8086 "PUSHFD shows VM as 0", IOPL_3
        pushfd
        pop     eax
        mov     sp, ax
        shr     eax, 16
        mov     bp, ax
        push    ax
        pop     ds
        int3
        end_8086
        attempt_8086 "IRET within the mode loads IP, CS and FLAGS", IOPL_3
        push    word 0246h
        push    word CODE_8086 - 1
        push    word 16 + returned - begin_of_8086
        iret
returned:
        int3
        end_8086
        attempt_8086 "HLT", IOPL_3
        hlt
        end_8086
        attempt_8086 "MOV from CR0", IOPL_3
        mov     eax, cr0
        end_8086
        attempt_8086 "LGDT", IOPL_3
        lgdt    [0]
        end_8086
        attempt_8086 "SGDT executes", IOPL_3
        sgdt    [0]
        end_8086
        attempt_8086 "LAR does not exist", IOPL_3
        lar     ax, ax
        end_8086
        attempt_8086 "ARPL does not exist", IOPL_3
        arpl    ax, ax
        end_8086
        attempt_8086 "SLDT does not exist", IOPL_3
        sldt    ax
        end_8086
        attempt_8086 "SMSW executes", IOPL_3
        smsw    ax
        end_8086
        attempt_8086 "segment registers are paragraphs", IOPL_3
        mov     ax, 1234h
        mov     ds, ax
        mov     es, ax
        mov     word [8], 5678h
        mov     ax, 1230h
        mov     fs, ax
        mov     gs, [fs:48h]
        int3
        end_8086
        attempt_8086 "a far call pushes paragraphs", IOPL_3
        call    CODE_8086 - 1:16 + called - begin_of_8086
called: int3
        end_8086
        attempt_8086 "a divide error", IOPL_3
        xor     cx, cx
        div     cx
        end_8086
        attempt_8086 "an access beyond the segment", IOPL_3
        mov     ax, [0FFFFh]
        end_8086
        attempt_8086 "a push beyond the stack", IOPL_3
        mov     sp, 1
        push    ax
        end_8086
        attempt_8086 "an address of 32 bits beyond the segment", IOPL_3
        mov     ebx, 10000h
        mov     al, [ebx]
        end_8086
        attempt_8086 "ports by the bitmap, whatever IOPL is: one that is open", IOPL_3
        mov     dx, 80h
        out     dx, al
        end_8086
        mov     byte [tss + IO_MAP + 100h / 8], 2
        attempt_8086 "one that is closed", IOPL_3
        mov     dx, 101h
        out     dx, al
        end_8086
        attempt_8086 "two, of which one is closed", IOPL_3
        mov     dx, 100h
        out     dx, ax
        end_8086
        attempt_8086 "one beyond the bitmap", IOPL_3
        mov     dx, 400h
        in      al, dx
        end_8086
        attempt_8086 "an IRETD of 16 bits enters it at the low half of EIP", IOPL_3
        nop
        end_8086
        attempt "a handler of ring 3 cannot be entered from it"
        mov     word [idt + 8 * 31h + 2], USER_CODE
        as_8086 IOPL_3, .ring3, .ring3_end
        bits    16
.ring3: int     31h
        int     20h
.ring3_end:
        bits    32
next:
        attempt "nor one that conforms"
        mov     word [idt + 8 * 31h + 2], FREE_SELECTOR
        mov     dword [gdt + FREE_SELECTOR], 0000FFFFh
        mov     dword [gdt + FREE_SELECTOR + 4], 00CF9F00h
        as_8086 IOPL_3, .ring3, .ring3_end
next:
        attempt "a gate of 16 bits pushes words"
        mov     word [idt + 8 * 32h], word_handler - LOAD_ADDRESS
        mov     word [idt + 8 * 32h + 2], FREE_SELECTOR + 8
        mov     word [idt + 8 * 32h + 4], 0E600h
        mov     dword [gdt + FREE_SELECTOR + 8], (LOAD_ADDRESS & 0FFFFh) << 16 | 0FFFFh
        mov     dword [gdt + FREE_SELECTOR + 12], 00409B00h | LOAD_ADDRESS >> 16
        as_8086 IOPL_3, .word, .word_end
        bits    16
.word:  int     32h
        int     20h
.word_end:
        bits    32
next:
        exit    0

; Entered with its offset from the start of the image.
word_handler:
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     ebp, esp
        jmp     CODE:.flat
.flat:
        say32   "  words:"
        xor     edi, edi
.word:
        mov     al, ' '
        out     CONSOLE_PORT, al
        movzx   eax, word [ebp + edi * 2]
        call    print_hex
        inc     edi
        cmp     edi, 9
        jb      .word
        mov     al, 10
        out     CONSOLE_PORT, al
        mov     esp, stack_top
        jmp     [next_attempt]

        end_of_guest
