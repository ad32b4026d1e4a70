; 5-level paging: addresses of 57 bits for data, stacks, code, tables of the system and system calls, with all their low
; bits, and what is not canonical.
;
; QEMU leaves P out of the error code of reserved bits, and looks at the first of two pages before the second is canonical:
; these are not asked here.
;
; Intel SDM volume 3, "4-Level Paging and 5-Level Paging"; "5-Level Paging and 5-Level EPT" (white paper).

%define WITHOUT_RF              ; which QEMU does not save
%define FIVE_LEVELS
%include "kit-64.inc"

IA32_STAR       equ 0C0000081h
IA32_LSTAR      equ 0C0000082h
IA32_FMASK      equ 0C0000084h
IA32_GS_BASE    equ 0C0000101h
IA32_KERNEL_GS_BASE equ 0C0000102h
LA57            equ 1 << 12

; The last PML5E of the lower half, the first of the upper half, and one in between; all lead to the same tables.
LOW_TOP         equ 00FF_0000_0000_0000h
HIGH_BOTTOM     equ 0FF00_0000_0000_0000h
LOW_MIDDLE      equ 0055_0000_0000_0000h
LOW_END         equ 0100_0000_0000_0000h
AREA            equ 0A00000h            ; of 2 MiB each
OTHER_AREA      equ 0C00000h

%macro found 0
        int     20h
%endmacro
; To be followed by another attempt.
%macro its_address 0
        attempt "its address"
        mov     rbx, cr2
        found
next:
%endmacro
%macro wrmsr_value 2
        mov     ecx, %1
        mov     rax, %2
        mov     rdx, rax
        shr     rdx, 32
        wrmsr
%endmacro
; Goes on at the same place in another alias.
%macro continue_at 1
        mov     rax, %1 + %%here
        jmp     rax
%%here:
%endmacro

main:
        mov     dword [pml5 + 8 * 0FFh], tables + 7
        mov     dword [pml5 + 8 * 100h], tables + 7
        mov     dword [pml5 + 8 * 55h], tables + 7
        mov     rax, 8877665544332211h
        mov     [AREA], rax
        mov     rax, 0FFEEDDCCBBAA9988h
        mov     [AREA + 8], rax
        attempt "CPUID: LA57, and the width of linear addresses"
        mov     eax, 7
        xor     ecx, ecx
        cpuid
        shr     ecx, 16
        and     ecx, 1
        mov     esi, ecx
        mov     eax, 80000008h
        cpuid
        movzx   ebx, ah
        shl     esi, 8
        or      ebx, esi
        found
next:
%assign offset 0
%rep 8
        attempt "a read at the top of the lower half, low bits ", '0' + offset
        mov     rax, LOW_TOP + AREA + offset
        mov     rbx, [rax]
        found
next:
    %assign offset offset + 1
%endrep
        attempt "and of the upper half, of a byte"
        mov     rax, HIGH_BOTTOM + AREA + 13
        movzx   ebx, byte [rax]
        found
next:   attempt "a write there is seen here"
        mov     rax, HIGH_BOTTOM + AREA + 16 + 5
        mov     word [rax], 0ABCDh
        mov     rbx, [AREA + 16]
        found
next:   attempt "an access to two pages"
        mov     rax, LOW_MIDDLE + AREA + 4096 - 3
        mov     rcx, 0123456789ABCDEFh
        mov     [rax], rcx
        mov     rbx, [AREA + 4096]
        found
next:   attempt "a page that no entry maps: CR2 is exact"
        mov     rax, LOW_END - 11
        mov     rbx, [rax]
next:   its_address
        attempt "of a write in the upper half"
        mov     rax, HIGH_BOTTOM + 1_0000_0000h + 7
        mov     byte [rax], 1
next:   its_address
        attempt "beyond the lower half"
        mov     rax, LOW_END
        mov     rbx, [rax]
next:   attempt "before the upper half"
        mov     rax, HIGH_BOTTOM - 8
        mov     rbx, [rax]
next:   attempt "not canonical with 48 bits, but with 57"
        mov     rax, NOT_CANONICAL
        mov     rbx, [rax]
next:   its_address
        attempt "string instructions"
        mov     rdi, LOW_MIDDLE + AREA + 32
        mov     rsi, HIGH_BOTTOM + AREA + 1
        mov     ecx, 13
        rep     movsb
        mov     rbx, [AREA + 37]
        sub     rdi, rsi
        add     rbx, rdi
        found
next:   attempt "LA57 cannot be cleared in IA-32e mode"
        mov     rax, cr4
        and     rax, ~LA57
        mov     cr4, rax
next:   attempt "a PML5E of the supervisor"
        mov     qword [pml5 + 8 * 4], tables + 3
        in_ring_3 FLAG_1
        mov     rax, 0004_0000_0000_0000h + AREA + 3
        mov     rbx, [rax]
next:   its_address
        attempt "a PML5E that is read-only"
        mov     qword [pml5 + 8 * 5], tables + 5
        mov     rax, 0005_0000_0000_0000h + AREA + 1
        mov     byte [rax], 1
next:   attempt "accessed flags"
        mov     rbx, [pml5 + 8 * 4]
        shl     rbx, 8
        or      rbx, [pml5 + 8 * 5]
        and     rbx, 0FFFFh
        found
next:   attempt "INVLPG"
        mov     rax, LOW_TOP + AREA
        mov     rbx, [rax]
        mov     rcx, 1234h
        mov     [OTHER_AREA], rcx
        mov     qword [tables + 2000h + 8 * (AREA / 200000h)], OTHER_AREA + 87h
        invlpg  [rax]
        mov     rbx, [rax]
        mov     qword [tables + 2000h + 8 * (AREA / 200000h)], AREA + 87h
        mov     rcx, cr3
        mov     cr3, rcx
        found
next:   attempt "a stack, not aligned"
        mov     rax, HIGH_BOTTOM + stack_top - 3
        mov     rsp, rax
        mov     rax, 1122334455667788h
        push    rax
        mov     rbx, [stack_top - 11]
        call    .called
        found
.called:
        add     rbx, [rsp]
        ret
next:   attempt "code, not aligned, with addresses relative to RIP"
        continue_at LOW_TOP
        lea     rbx, [rel main]
        add     rbx, [rel tables + 1]
        found
next:   attempt "code in the upper half, with calls"
        continue_at HIGH_BOTTOM
        mov     rax, HIGH_BOTTOM + stack_top
        mov     rsp, rax
        xor     ebx, ebx
        mov     ecx, 25000
.loop:  call    .add
        dec     ecx
        jnz     .loop
        found
.add:   lea     rdx, [rel .loop]
        add     rbx, rdx
        ret
next:   attempt "a loop over data in both halves"
        mov     rsi, LOW_TOP + AREA + 1
        mov     rdi, HIGH_BOTTOM + AREA + 3
        mov     ecx, 25000
        xor     ebx, ebx
.sum:   add     rbx, [rsi]
        xor     rbx, [rdi]
        rol     rbx, 3
        dec     ecx
        jnz     .sum
        found
next:   attempt "a fault in code there"
        continue_at HIGH_BOTTOM
        ud2
next:   attempt "an interrupt in ring 3: code and stacks"
        mov     rax, HIGH_BOTTOM + stack_top
        mov     [tss + TSS_RSP0], rax
        push    USER_DATA
        mov     rax, LOW_TOP + user_stack - 5
        push    rax
        push    FLAG_1
        push    USER_CODE
        mov     rax, LOW_TOP + .user
        push    rax
        iretq
.user:  push    7
        pop     rbx
        int     20h
next:   mov     qword [tss + TSS_RSP0], stack_top
        attempt "an interrupt stack"
        mov     rax, LOW_MIDDLE + ist_top - 8
        mov     [tss + TSS_IST1], rax
        mov     byte [idt + 16 * 21h + 4], 1
        in_ring_3 FLAG_1
        int     21h
next:   attempt "a gate"
        mov     rax, HIGH_BOTTOM + stubs + 16 * 22h
        shr     rax, 32
        mov     [idt + 16 * 22h + 8], eax
        int     22h
next:   attempt "SYSCALL and SYSRET"
        wrmsr_value IA32_EFER, 1 << 10 | 1 << 8 | 1
        wrmsr_value IA32_STAR, (20h << 48) | (CODE << 32)
        wrmsr_value IA32_LSTAR, LOW_MIDDLE + .entry
        wrmsr_value IA32_FMASK, 0
        mov     rcx, HIGH_BOTTOM + .outside
        mov     r11d, FLAG_1
        mov     rsp, user_stack
        o64     sysret
.outside:
        syscall
.entry: mov     rbx, rcx
        lea     rcx, [rel .entry]
        xor     rbx, rcx
        int     20h
next:   attempt "GS base"
        wrmsr_value IA32_GS_BASE, HIGH_BOTTOM + AREA + 1
        wrmsr_value IA32_KERNEL_GS_BASE, LOW_TOP + AREA + 6
        mov     rbx, [gs:1]
        swapgs
        add     rbx, [gs:-1]
        mov     ecx, IA32_GS_BASE
        rdmsr
        add     rbx, rax
        found
next:   attempt "GDT and IDT"
        mov     rax, LOW_TOP + gdt
        mov     [gdt_pointer + 2], rax
        lgdt    [gdt_pointer]
        mov     rax, HIGH_BOTTOM + idt
        mov     [idt_pointer + 2], rax
        lidt    [idt_pointer]
        sub     rsp, 16
        sgdt    [rsp]
        mov     rbx, [rsp + 2]
        sidt    [rsp]
        add     rbx, [rsp + 2]
        mov     eax, DATA
        mov     ds, eax
        found
next:   attempt "TR"
        mov     rax, HIGH_BOTTOM + tss
        shr     rax, 32
        mov     [gdt + TSS + 8], eax
        mov     byte [gdt + TSS + 5], 89h
        mov     eax, TSS
        ltr     ax
        in_ring_3 FLAG_1
        int     20h
next:   attempt "FXSAVE"
        mov     rax, cr4
        or      rax, 1 << 9
        mov     cr4, rax
        mov     rax, 0123456789ABCDEFh
        movq    xmm1, rax
        mov     rax, HIGH_BOTTOM + AREA + 100h
        fxsave  [rax]
        mov     rbx, [AREA + 100h + 160 + 16]
        found
next:   attempt "a return to an address that is not canonical with 48 bits"
        mov     rax, NOT_CANONICAL + 1
        push    rax
        ret
next:   its_address
        exit    0
        end_of_guest
