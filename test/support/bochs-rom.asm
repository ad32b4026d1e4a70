; A 64 KiB ROM in place of a BIOS, that boots a Multiboot guest with a command line under Bochs.
;
; Bochs knows no Multiboot and has no -kernel option. From the reset vector this enters 32-bit protected mode, copies the
; guest's flattened segments to LOAD_ADDRESS, zeroes up to BSS_END, and jumps to ENTRY with the registers that Multiboot
; demands. There is no BIOS call, no disk and no waiting in it, so a run takes milliseconds.
;
;   nasm -f bin -D IMAGE='"kernel.bin"' [-D COMMAND_LINE='"n=5"'] [-D LOAD_ADDRESS=… -D BSS_END=… -D ENTRY=…]
;
; Without the last three, the image lies at 1 MiB and starts with its first byte.

%ifndef LOAD_ADDRESS
%define LOAD_ADDRESS 100000h
%define ENTRY LOAD_ADDRESS
%define BSS_END LOAD_ADDRESS + (image_end - image)
%endif
%ifndef COMMAND_LINE
%define COMMAND_LINE ''
%endif

ROM_SIZE        equ 65536
ROM_BASE        equ 0F0000h
HAS_COMMAND_LINE equ 1 << 2

        org     0                       ; offsets in segment F000
        bits    32
image:
        incbin  IMAGE
image_end:
        align   4
information:                            ; the Multiboot information structure, as far as our guests read it
        dd      HAS_COMMAND_LINE
        dd      0, 0, 0                 ; mem_lower, mem_upper, boot_device
        dd      ROM_BASE + command_line
command_line:
        db      COMMAND_LINE, 0

protected:
        mov     ax, 10h
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        cld
        mov     esi, ROM_BASE + image
        mov     edi, LOAD_ADDRESS
        mov     ecx, image_end - image
        rep     movsb
        mov     ecx, BSS_END
        sub     ecx, edi
        xor     eax, eax
        rep     stosb
        mov     eax, 2BADB002h
        mov     ebx, ROM_BASE + information
        jmp     8:ENTRY

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
