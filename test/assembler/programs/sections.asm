        bits 32
        org 0x1000
        section .data
value:  dd 1, 2, 3
pointer: dd value, code, buffer, tail
        section .text
code:   mov eax, [value]
        mov ebx, [buffer + eax*4]
        call far_away
        jmp in_other
        section .bss
        resb 3
buffer: resd 16
        alignb 16
tail:   resq 2
        section .other align=32 follows=.text
in_other: mov esi, message
        ret
        db 1
        section .rodata align=16
message: db `tab\tnew\nnul\0hex\x41oct\101uni\u20ac`, 0
        section .high vstart=0xc0000000 align=64
high:   dd high, $, $$
        mov eax, high
        call high
        jmp code
        section .text
far_away: ret
        dd section..high.start, section..high.vstart
        align 64
        nop
        section .bss
after:  resw 1
        section .data
        dd after
        section .placed start=0x1400
        dd $
        dw $ - $$
        absolute 0x500
bios:   resw 3
.word:  resb 1
ending:
        section .data
        dw bios, bios.word, ending
