; A multiboot image that puts the segments of an ELF64 program where they belong, and enters it in 64-bit mode as Ringside
; does: for judges that know no ELF64.
;
;   nasm -f bin -D ENTRY=100000h -D SEGMENTS='"segments.inc"' elf-loader.asm
;
; SEGMENTS names a file of lines `load FILE, ADDRESS, ZERO_BYTES`. The program may lie where this image does, so that the
; copying is itself done from elsewhere, with page tables that are elsewhere too.

%include "../../samples/include/long-mode.inc"

ELSEWHERE       equ 2000000h
TABLES          equ 2100000h

main:
        mov     esi, copying
        mov     edi, ELSEWHERE
        mov     ecx, copying_end - copying
        rep     movsb
        mov     eax, ELSEWHERE
        jmp     rax

; load FILE, ADDRESS, ZERO_BYTES: all addresses in here are relative, so that it runs anywhere.
%macro load 3
        lea     rsi, [rel %%file]
        mov     edi, %2
        mov     ecx, %%file_end - %%file
        rep     movsb
        xor     eax, eax
        mov     ecx, %3
        rep     stosb
        jmp     %%file_end
%%file: incbin  %1
%%file_end:
%endmacro

copying:
        ; One gigabyte, mapped to itself
        mov     edi, TABLES
        mov     ecx, 2 * 4096
        xor     eax, eax
        rep     stosb
        mov     qword [TABLES], TABLES + 1000h + PAGE_RW + PAGE_P
        mov     qword [TABLES + 1000h], TABLES + 2000h + PAGE_RW + PAGE_P
        mov     eax, PAGE_PS + PAGE_RW + PAGE_P
        mov     ecx, 512
.map_2_mib:
        stosq
        add     eax, 200000h
        loop    .map_2_mib
        mov     eax, TABLES
        mov     cr3, rax
%include SEGMENTS
        mov     eax, ENTRY
        jmp     rax
copying_end:

        section .bss
bss_end:
