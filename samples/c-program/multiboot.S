/*
 * The way into 64-bit mode, for loaders that know none: `qemu -kernel` and GRUB find the multiboot header, load the
 * ELF32 file and enter it at start_32, in 32-bit protected mode. The ELF64 file is linked without this.
 *
 * What happens here is explained in ../include/long-mode.inc.
 */

#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0 /* ELF: the loader finds all it needs in the program headers */
#define PAGE_PRESENT_WRITABLE 3
#define PAGE_LARGE 0x80
#define IA32_EFER 0xC0000080

        .intel_syntax noprefix
        .globl  start_32

        .section .multiboot, "a"
        .align  4
        .long   MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

        .text
        .code32
start_32:
        cli
        mov     dword ptr [pml4], offset pdpt + PAGE_PRESENT_WRITABLE
        mov     dword ptr [pdpt], offset directory + PAGE_PRESENT_WRITABLE
        mov     dword ptr [directory], 0 + PAGE_LARGE + PAGE_PRESENT_WRITABLE
        mov     dword ptr [directory + 8], 0x200000 + PAGE_LARGE + PAGE_PRESENT_WRITABLE
        mov     eax, 1 << 5             /* CR4.PAE */
        mov     cr4, eax
        mov     eax, offset pml4
        mov     cr3, eax
        mov     ecx, IA32_EFER
        rdmsr
        or      eax, 1 << 8             /* LME */
        wrmsr
        mov     eax, cr0
        or      eax, 1 << 31            /* PG */
        mov     cr0, eax
        lgdt    [gdt_pointer]
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        ljmp    8, offset start_64

        .section .rodata
        .align  8
gdt:
        .quad   0
        .quad   0x00AF9A000000FFFF      /* 08: code, 64-bit */
        .quad   0x00CF92000000FFFF      /* 10: data */
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt

        .bss
        .align  4096
pml4:           .skip 4096
pdpt:           .skip 4096
directory:      .skip 4096

        .section .note.GNU-stack, "", @progbits
