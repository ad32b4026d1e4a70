; From real-address mode to protected mode and segment loads and faults with their error codes; then 64-bit mode with
; faults, accessed and dirty bits, and compatibility mode. Handlers go on at `resume` without IRET, which KVM does not emulate.
CODE            equ 08h
DATA            equ 10h
TSS             equ 28h
ABSENT          equ 30h
READ_ONLY       equ 38h
CODE_16         equ 40h
CODE_64         equ 50h

TSS_AT          equ 5000h
TABLES          equ 10000h
IDT             equ 8000h
KERNEL_STACK    equ 7000h

%macro attempt 1
        mov     dword [resume], %1
%endmacro

        org     1000h
        bits    16
start:
        xor     ax, ax
        mov     ds, ax
        lgdt    [gdt_pointer]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword CODE:protected

        bits    32
protected:
        mov     eax, DATA
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        xor     eax, eax
        mov     fs, eax
        mov     gs, eax
        mov     esp, KERNEL_STACK
        mov     edi, IDT
        mov     ecx, 32
.gate:  mov     eax, no_code
        bt      dword [with_code], edx
        jnc     .without
        mov     eax, with_code_entry
.without:
        inc     edx
        mov     [edi], ax
        mov     word [edi + 2], CODE
        mov     word [edi + 4], 0ee00h
        add     edi, 8
        loop    .gate
        mov     word [edi], no_code
        mov     word [edi + 2], CODE
        mov     word [edi + 4], 0ee00h
        lidt    [idt_pointer]
        mov     dword [TSS_AT + 4], KERNEL_STACK
        mov     dword [TSS_AT + 8], DATA
        mov     word [TSS_AT + 102], 104
        mov     eax, TSS
        ltr     ax
        str     ebx

        attempt .a                      ; faults without paging
        xor     ecx, ecx
        div     ecx
.a:     attempt .b
        ud2
.b:     attempt .c
        mov     eax, 0f8h
        mov     es, eax                 ; beyond the table
.c:     attempt .d
        mov     eax, ABSENT
        mov     es, eax                 ; #NP
.d:     attempt .e
        mov     ss, eax                 ; #SS
.e:     attempt .f
        mov     eax, READ_ONLY
        mov     ss, eax                 ; #GP
.f:     attempt .g
        mov     gs, eax
        mov     ebx, [gs:start]
        mov     [gs:start], ebx         ; not writable
.g:     attempt .h
        mov     ebx, [fs:0]             ; null
.h:     attempt .i
        jmp     DATA:0
.i:     attempt .k
        mov     eax, cr0
        and     eax, 7ffffffeh
        or      eax, 80000000h
        mov     cr0, eax                ; PG without PE
.k:     jmp     CODE_16:sixteen

        bits    16
sixteen:
        mov     ax, 0ffffh
        add     ax, 1
        push    ax
        pop     bx
        pushfd
        popfd
        jmp     dword CODE:finish

        bits    32
finish:
        mov     eax, DATA
        mov     ds, eax
        mov     eax, cr0                ; paging off, then 64-bit mode
        and     eax, 7fffffffh
        mov     cr0, eax
        mov     dword [TABLES], TABLES + 1000h + 7
        mov     dword [TABLES + 4], 0
        mov     dword [TABLES + 1000h], TABLES + 2000h + 7
        mov     dword [TABLES + 1004h], 0
        mov     dword [TABLES + 2000h], TABLES + 3000h + 7
        mov     dword [TABLES + 2004h], 0
        mov     edi, TABLES + 3000h
        mov     eax, 7
.page:  mov     [edi], eax
        mov     dword [edi + 4], 0
        add     edi, 8
        add     eax, 1000h
        cmp     eax, 40007h
        jb      .page
        mov     dword [TABLES + 3000h + 8 * 30h], 0     ; not present
        and     dword [TABLES + 3000h + 8 * 31h], ~2    ; read-only
        mov     eax, TABLES
        mov     cr3, eax
        mov     eax, cr4
        or      eax, 20h
        mov     cr4, eax
        mov     ecx, 0c0000080h
        rdmsr
        or      eax, 100h
        wrmsr
        mov     eax, cr0
        or      eax, 80010000h          ; PG, WP
        mov     cr0, eax
        mov     ebx, 12345678h
        shl     ebx, 5
        push    ebx
        pop     esi
        jmp     CODE_64:long_mode

        bits    64
long_mode:
        mov     rdi, IDT
        mov     ecx, 32
        xor     edx, edx
.gate:  mov     eax, no_code_64
        bt      dword [with_code], edx
        jnc     .without
        mov     eax, with_code_64
.without:
        inc     edx
        mov     [rdi], ax
        mov     word [rdi + 2], CODE_64
        mov     dword [rdi + 4], 0ee00h
        mov     qword [rdi + 8], 0
        add     rdi, 16
        loop    .gate
        lidt    [idt_pointer_64]
        mov     rsp, KERNEL_STACK
        mov     rax, 8000_0000_0000h
        attempt .a
        mov     rbx, [rax]              ; not canonical
.a:     attempt .b
        push    qword [rax]
.b:     attempt .c
        mov     rbx, [3fff_f000h]
.c:     attempt .h
        mov     rbx, [30000h]           ; #PF
.h:     attempt .i
        mov     [31000h], rbx           ; #PF
.i:     mov     rbx, [31000h]
        attempt .d
        mov     ecx, 77777777h
        rdmsr
.d:     attempt .e
        ud2
.e:     attempt .f
        xor     ecx, ecx
        div     rcx
.f:     attempt .g
        mov     rbp, rax
        mov     rbx, [rbp]              ; #SS
.g:     mov     rax, 123456789abcdef0h
        imul    rax, rax, 77h
        bswap   rax
        mov     r8, rax
        xchg    r8, [33000h]
        lock xadd [33000h], r9
        cmpxchg [33008h], r8
        mov     rsi, 33000h
        mov     rdi, 34000h
        mov     ecx, 4
        rep movsq
        pushfq
        pop     rax
        mov     ax, DATA
        mov     ss, ax
        mov     rbx, rsp
        push    CODE                    ; to compatibility mode
        push    compatibility
        o64 retf

        bits    32
compatibility:
        inc     eax
        push    eax
        pop     ebx
        jmp     CODE_64:end
        bits    64
end:    hlt

        bits    32
no_code:
        out     0e0h, al
        add     esp, 12
        jmp     [resume]
with_code_entry:
        out     0e0h, al
        add     esp, 16
        jmp     [resume]

        bits    64
no_code_64:
with_code_64:
        out     0e0h, al
        mov     rsp, KERNEL_STACK
        jmp     [resume]

        align   8
gdt     dq      0
        dq      00cf9a000000ffffh       ; accessed bits are for the processor to set
        dq      00cf92000000ffffh
        dq      00cffa000000ffffh
        dq      00cff2000000ffffh
        dq      0000890050000067h
        dq      00cf12000000ffffh
        dq      00cf90000000ffffh
        dq      00009a000000ffffh
        dq      0
        dq      00af9a000000ffffh
gdt_end:
gdt_pointer:
        dw      gdt_end - gdt - 1
        dd      gdt
idt_pointer:
        dw      33 * 8 - 1
        dd      IDT
idt_pointer_64:
        dw      32 * 16 - 1
        dq      IDT
resume  dq      0
; Vectors that push an error code: 8, 10 to 14, 17.
with_code dd    00027d00h
