; A 64 KiB ROM in place of a BIOS, for running a multiboot sample under Bochs.
;
; Bochs knows no multiboot and has no -kernel option. This ROM does what a multiboot loader does for our samples:
; from the reset vector it enters 32-bit protected mode, copies the image to 1 MiB and jumps to its first byte.
; There is no BIOS call, no disk and no waiting in it, so a run takes milliseconds.
;
;   nasm -f bin -D IMAGE='"tiny-hypervisor.bin"' bochs-rom.asm -o rom.bin

ROM_SIZE        equ 65536
ROM_BASE        equ 0F0000h
LOAD_ADDRESS    equ 100000h

        org     0                       ; offsets in segment F000
        bits    32
image:
        incbin  IMAGE
image_end:

protected:
        mov     ax, 10h
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esi, ROM_BASE + image
        mov     edi, LOAD_ADDRESS
        mov     ecx, (image_end - image + 3) / 4
        cld
        rep     movsd
        mov     eax, 2BADB002h          ; the multiboot loader's magic number
        jmp     8:LOAD_ADDRESS

        bits    16
real:
        cli
        in      al, 92h                 ; A20 on
        or      al, 2
        out     92h, al
        o32 lgdt [cs:gdt_pointer]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 8:ROM_BASE + protected

        align   8
gdt:
        dq      0
        dq      00CF9A000000FFFFh       ; 08: 32-bit code, base 0, 4 GiB
        dq      00CF92000000FFFFh       ; 10: data, base 0, 4 GiB
gdt_pointer:
        dw      $ - gdt - 1
        dd      ROM_BASE + gdt

        times   ROM_SIZE - 16 - ($ - $$) db 0
        jmp     0F000h:real             ; the reset vector, F000:FFF0
        times   ROM_SIZE - ($ - $$) db 0
