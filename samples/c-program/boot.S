/*
 * The way into the C program, for both loaders.
 *
 * Ringside loads the ELF64 file and enters it at start_64, already in 64-bit mode. QEMU (-kernel) and GRUB load the
 * ELF32 copy by its multiboot header and enter it at start_32, in 32-bit protected mode: from there we go up first.
 * Either way `main` is called with a stack, and what it returns ends the run.
 *
 * What happens between start_32 and start_64 is explained in ../include/long-mode.inc.
 */

#define DEBUG_EXIT_PORT 0xF4
#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 0 /* ELF: the loader finds all it needs in the program headers */
#define PAGE_PRESENT_WRITABLE 3
#define PAGE_LARGE 0x80
#define IA32_EFER 0xC0000080

        .intel_syntax noprefix
        .globl  start_32, start_64

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

        .code64
start_64:
        cld
        mov     esp, offset stack_top
        xor     ebp, ebp                /* no caller: debuggers end the call stack here */
        call    main
        out     DEBUG_EXIT_PORT, al     /* what main returned */
        cli
.halt:  hlt
        jmp     .halt

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
                .skip 8192
stack_top:

        .section .note.GNU-stack, "", @progbits
