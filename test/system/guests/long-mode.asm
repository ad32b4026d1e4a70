; 64-bit mode: events, returns, system calls, gates, segments, compatibility mode, addresses that are not canonical.
;
; Intel SDM volume 3, "Exception and Interrupt Handling in 64-bit Mode", "Call Gates", "Fast System Calls in 64-Bit Mode".

%include "kit-64.inc"

GATE            equ FREE_SELECTOR       ; 16 bytes, filled by each attempt
NARROW          equ FREE_SELECTOR + 16  ; 64-bit code with D = 1
ABSENT          equ FREE_SELECTOR + 24

NEVER_CANONICAL equ 8000_0000_0000_0000h ; with 57 bits neither, which the judge does not have

IA32_STAR       equ 0C0000081h
IA32_LSTAR      equ 0C0000082h
IA32_FMASK      equ 0C0000084h
IA32_FS_BASE    equ 0C0000100h

; gate TYPE, SELECTOR, OFFSET
%macro gate 3
        mov     rax, %3
        mov     [gdt + GATE], ax
        mov     word [gdt + GATE + 2], %2
        mov     word [gdt + GATE + 4], %1
        shr     rax, 16
        mov     [gdt + GATE + 6], ax
        shr     rax, 16
        mov     [gdt + GATE + 8], eax
        mov     dword [gdt + GATE + 12], 0
%endmacro

%macro wrmsr_value 2
        mov     ecx, %1
        mov     rax, %2
        mov     rdx, rax
        shr     rdx, 32
        wrmsr
%endmacro

main:
        mov     rax, 00EF9B000000FFFFh
        mov     [gdt + NARROW], rax
        mov     rax, 00CF13000000FFFFh
        mov     [gdt + ABSENT], rax

        attempt "an interrupt in ring 0 aligns the stack"
        sub     rsp, 3
        int     20h
next:   attempt "an interrupt in ring 3"
        in_ring_3 FLAG_1
        int     20h
next:   attempt "an exception with an error code"
        in_ring_3 FLAG_1
        mov     eax, 0FFF8h
        mov     fs, eax
next:   attempt "an interrupt through IST 1, in ring 0"
        mov     byte [idt + 16 * 21h + 4], 1
        int     21h
next:   attempt "and in ring 3"
        in_ring_3 FLAG_1
        int     21h
next:   attempt "INT n through a gate of DPL 0"
        mov     byte [idt + 16 * 22h + 5], 8Eh
        in_ring_3 FLAG_1
        int     22h
next:   attempt "a gate to compatibility mode"
        mov     word [idt + 16 * 23h + 2], CODE_32
        int     23h
next:   attempt "a gate of a type that there is not"
        mov     byte [idt + 16 * 24h + 5], 0E5h
        int     24h
next:   attempt "a gate to an address that is not canonical"
        mov     dword [idt + 16 * 25h + 8], 8000h
        int     25h
next:
        attempt "a read of an address that is not canonical"
        mov     rax, NOT_CANONICAL
        mov     rbx, [rax]
next:   attempt "the last canonical address of the lower half"
        mov     rax, NOT_CANONICAL - 4
        mov     rbx, [rax]
next:   attempt "a push there is a stack fault"
        mov     rcx, rsp
        mov     rax, NOT_CANONICAL + 8
        in_ring_3 FLAG_1
        mov     rsp, rax
        push    rax
next:   attempt "RBP as base is one as well"
        mov     rbp, NOT_CANONICAL
        mov     rbx, [rbp]
next:   attempt "a jump there"
        mov     rax, NOT_CANONICAL
        jmp     rax
next:   attempt "a return there"
        mov     rax, NOT_CANONICAL
        push    rax
        ret
next:   attempt "the supervisor's page from ring 3"
        in_ring_3 FLAG_1
        mov     rbx, [abs SUPERVISOR_PAGE]
next:
        attempt "IRETQ to ring 3 and back, with flags"
        in_ring_3 FLAG_1 | IOPL_3 | FLAG_IF
        pushfq
        pop     rbx
        int     20h
next:   attempt "IRETQ to an address that is not canonical"
        push    USER_DATA
        push    user_stack
        push    FLAG_1
        push    USER_CODE
        mov     rax, NOT_CANONICAL
        push    rax
        iretq
next:   attempt "IRETQ with a null SS in ring 0"
        push    0
        push    stack_top
        push    FLAG_1
        push    CODE
        push    .back
        iretq
.back:  mov     ebx, ss
        int     20h
next:   attempt "IRETQ with a null SS to ring 3"
        push    0
        push    user_stack
        push    FLAG_1
        push    USER_CODE
        push    .back
        iretq
next:   attempt "IRETQ with NT"
        pushfq
        or      dword [rsp], FLAG_NT
        popfq
        iretq
next:   pushfq
        and     dword [rsp], ~FLAG_NT
        popfq
        attempt "IRETQ to code with L and D"
        push    DATA
        push    stack_top
        push    FLAG_1
        push    NARROW
        push    .back
        iretq
next:   attempt "IRETQ to compatibility mode"
        push    USER_DATA
        push    user_stack
        push    FLAG_1
        push    USER_CODE_32
        push    .compatible
        iretq
        bits    32
.compatible:
        mov     ebx, 12345678h
        dec     ebx
        int     20h
        bits    64
next:   attempt "a far return from compatibility mode to 64-bit mode"
        push    CODE_32
        push    .narrow
        retfq
        bits    32
.narrow:
        mov     ebx, cs
        jmp     CODE:.wide
        bits    64
.wide:  shl     rbx, 32
        int     20h
next:
        attempt "SYSCALL"
        wrmsr_value IA32_STAR, (USER_CODE_32 << 16 | CODE) << 32
        wrmsr_value IA32_LSTAR, .entry
        wrmsr_value IA32_FMASK, FLAG_IF | 4
        in_ring_3 FLAG_1 | FLAG_IF | 45h
        mov     ebx, 7
        syscall
.entry: mov     rbx, r11
        shl     rbx, 32
        or      rbx, rcx
        int     20h
next:   attempt "SYSRET to 64-bit code"
        mov     rcx, .user
        mov     r11, FLAG_1 | FLAG_IF | FLAG_RF | 1
        mov     rsp, user_stack
        o64 sysret
.user:  pushfq
        pop     rbx
        int     20h
next:   attempt "SYSRET to 32-bit code"
        mov     rcx, .compatible_user
        mov     r11, FLAG_1
        mov     rsp, user_stack
        sysret
        bits    32
.compatible_user:
        mov     ebx, cs
        int     20h
        bits    64
next:   attempt "SYSRET to an address that is not canonical"
        mov     rcx, NOT_CANONICAL
        mov     r11, FLAG_1
        o64 sysret
next:   attempt "SYSRET in ring 3"
        in_ring_3 FLAG_1
        o64 sysret
next:   attempt "SYSCALL without IA32_EFER.SCE"
        wrmsr_value IA32_EFER, 1 << 8
        syscall
next:   wrmsr_value IA32_EFER, 1 << 8 | 1
        attempt "IA32_LSTAR that is not canonical"
        wrmsr_value IA32_LSTAR, NEVER_CANONICAL
next:   attempt "CR4 without PAE"
        xor     eax, eax
        mov     cr4, rax
next:   attempt "IA32_EFER without LME"
        wrmsr_value IA32_EFER, 1
next:
        attempt "a call gate to ring 0"
        gate    0EC00h, CODE, .inner
        in_ring_3 FLAG_1
        call far [rel .pointer]
        int     20h
.pointer:
        dd      0
        dw      GATE
.inner: mov     rbx, [rsp + 16]
        shl     rbx, 16
        or      rbx, [rsp + 8]
        mov     edx, ss
        shl     rdx, 48
        or      rbx, rdx
        retfq
next:   attempt "a call gate within ring 0"
        gate    8C00h, CODE, .same
        call far [rel .pointer]
        int     20h
.same:  mov     rbx, [rsp + 8]
        retfq
next:   attempt "a call gate to an address that is not canonical"
        gate    8C00h, CODE, NOT_CANONICAL
        call far [rel .pointer]
next:   attempt "a call gate to compatibility mode"
        gate    8C00h, CODE_32, .same
        call far [rel .pointer]
next:   attempt "a call gate whose upper half has a type"
        gate    8C00h, CODE, .same
        mov     dword [gdt + GATE + 12], 1F00h
        call far [rel .pointer]
next:   attempt "a far jump to code with L and D"
        jmp far [rel .narrow_pointer]
.narrow_pointer:
        dd      0
        dw      NARROW
next:   attempt "a far jump to data"
        jmp far [rel .data_pointer]
.data_pointer:
        dd      0
        dw      DATA
next:   attempt "a far jump to a TSS"
        jmp far [rel .tss_pointer]
.tss_pointer:
        dd      0
        dw      TSS
next:
        attempt "SS: null in ring 0"
        xor     eax, eax
        mov     ss, eax
        mov     ebx, ss
        int     20h
next:   attempt "SS: null in ring 3"
        in_ring_3 FLAG_1
        mov     eax, 3
        mov     ss, eax
next:   attempt "DS: not present"
        mov     eax, ABSENT
        mov     ds, eax
next:   attempt "data through a null DS"
        xor     eax, eax
        mov     ds, eax
        mov     rbx, [rel .datum]
        int     20h
.datum: dq      1122334455667788h
next:   attempt "FS with a base"
        wrmsr_value IA32_FS_BASE, .datum
        mov     rbx, [fs:0]
        int     20h
next:   attempt "a base that is not canonical"
        wrmsr_value IA32_FS_BASE, NEVER_CANONICAL
next:   attempt "loading FS clears the upper half of its base"
        wrmsr_value IA32_FS_BASE, -1
        mov     eax, DATA
        mov     fs, eax
        mov     ecx, IA32_FS_BASE
        rdmsr
        mov     ebx, edx
        shl     rbx, 32
        or      rbx, rax
        int     20h
next:   attempt "SWAPGS in ring 3"
        in_ring_3 FLAG_1
        swapgs
next:   attempt "CR8"
        mov     eax, 5
        mov     cr8, rax
        mov     rbx, cr8
        xor     eax, eax
        mov     cr8, rax
        int     20h
next:   attempt "a reserved bit of CR8"
        mov     eax, 16
        mov     cr8, rax
next:   attempt "the upper half of CR0"
        mov     rax, cr0
        bts     rax, 40
        mov     cr0, rax
next:   attempt "the upper half of DR7"
        mov     rax, 1 << 40
        mov     dr7, rax
next:   attempt "CR1"
        db      0Fh, 20h, 0C8h
next:   attempt "PUSH ES"
        db      6
next:   attempt "LDS is VEX"
        db      0C5h, 0, 0, 0, 0
next:   attempt "an instruction of more than 15 bytes"
        times   15 db 66h
        nop
next:   exit    0

        end_of_guest
