; 64-bit mode in rings 0 and 3, and compatibility mode in ring 3: SYSCALL, interrupts with IST, call gate, IRETQ, SWAPGS,
; pages of 4 KiB, 2 MiB and 1 GiB, page faults of every kind with WP, and NX, and what is not canonical.
CODE0           equ 08h
DATA0           equ 10h
CODE3_32        equ 18h + 3
DATA3           equ 20h + 3
CODE3           equ 28h + 3
TSS             equ 30h
CALL_GATE       equ 40h + 3

TSS_AT          equ 5000h
KERNEL_STACK    equ 7000h
INTERRUPT_STACK equ 6800h
IST1            equ 8000h
SYSCALL_STACK   equ 8800h
USER_STACK      equ 9800h
IDT             equ 0a000h
PML4            equ 10000h
POINTERS        equ 11000h
DIRECTORY       equ 12000h
TABLE           equ 13000h
FIRST           equ 20000h              ; pages of data, each with rights of its own
PAGES           equ 6

%macro attempt 1
        mov     dword [abs resume], %1
%endmacro
%macro attempt32 1
        mov     dword [resume], %1
%endmacro
%macro gate 3                           ; vector, handler, attributes and IST
        mov     edi, IDT + %1 * 16
        mov     eax, %2
        mov     edx, %3
        call    write_gate
%endmacro

        org     1000h
        bits    16
start:
        xor     ax, ax
        mov     ds, ax
        mov     ax, PML4 >> 4
        mov     es, ax
        mov     dword [es:0], POINTERS + 7
        mov     dword [es:1000h], DIRECTORY + 7
        mov     dword [es:1008h], 87h           ; 1 GiB
        mov     dword [es:1010h], 85h           ; 1 GiB, read-only
        mov     dword [es:2000h], TABLE + 7
        mov     dword [es:2008h], 87h           ; 2 MiB
        mov     dword [es:2010h], 83h           ; 2 MiB, supervisor
        mov     dword [es:2018h], 87h           ; 2 MiB, not executable
        mov     dword [es:201ch], 80000000h
        mov     di, 3000h
        mov     eax, 7
        mov     cx, 40h
.page:  mov     [es:di], eax
        add     di, 8
        add     eax, 1000h
        loop    .page
        and     dword [es:3000h + (FIRST >> 9) + 8], ~2         ; read-only
        and     dword [es:3000h + (FIRST >> 9) + 16], ~4        ; supervisor
        and     dword [es:3000h + (FIRST >> 9) + 24], ~1        ; absent
        and     dword [es:3000h + (FIRST >> 9) + 32], ~6        ; supervisor, read-only
        mov     dword [es:3000h + (FIRST >> 9) + 44], 80000000h ; not executable
        lgdt    [gdt_pointer]
        mov     eax, cr4
        or      eax, 620h                       ; PAE, OSFXSR, OSXMMEXCPT
        mov     cr4, eax
        mov     eax, PML4
        mov     cr3, eax
        mov     ecx, 0c0000080h
        rdmsr
        or      eax, 901h                       ; NXE, LME, SCE
        wrmsr
        mov     eax, cr0
        or      eax, 80000001h
        mov     cr0, eax
        jmp     dword CODE0:long_mode

        bits    64
long_mode:
        mov     eax, DATA0
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        xor     eax, eax
        mov     fs, eax
        mov     gs, eax
        mov     rsp, KERNEL_STACK
        mov     edi, IDT
        mov     ecx, 32
        xor     ebx, ebx
.gate:  mov     eax, no_code
        bt      dword [abs with_code], ebx
        jnc     .without
        mov     eax, with_code_entry
.without:
        mov     edx, 8e00h
        call    write_gate
        add     edi, 16
        inc     ebx
        loop    .gate
        gate    3, no_code, 0ee01h              ; IST 1, for ring 3
        gate    4, no_code, 0ee00h              ; and all others that a program may ask for: QEMU's error codes are wrong
        gate    40h, count, 0ee00h
        gate    41h, count, 0ef01h              ; trap gate, IST 1; without a change of ring QEMU makes SS null
        gate    42h, to_kernel, 0ee00h
        lidt    [abs idt_pointer]
        mov     qword [abs TSS_AT + 4], INTERRUPT_STACK
        mov     qword [abs TSS_AT + 36], IST1
        mov     word [abs TSS_AT + 102], 104
        mov     eax, TSS
        ltr     ax
        mov     ecx, 0c0000081h                 ; STAR, LSTAR, FMASK
        xor     eax, eax
        mov     edx, (CODE3_32 << 16) + CODE0
        wrmsr
        inc     ecx
        mov     eax, system_call
        xor     edx, edx
        wrmsr
        mov     ecx, 0c0000084h
        mov     eax, 0ed5h
        wrmsr

        int     40h
        push    rax
        int     40h                             ; from a stack that is not aligned
        pop     rax
        attempt .c
        ud2
.c:     attempt .d
        xor     ecx, ecx
        div     rcx
.d:     mov     rax, 800000000000h
        attempt .e
        mov     rbx, [rax]
.e:     attempt .f
        mov     rbp, rax
        mov     rbx, [rbp]                      ; #SS
.f:     attempt .g
        mov     rbx, [rax + 4]
.g:     mov     ecx, 0c0000101h                 ; GS_BASE and KERNEL_GS_BASE
        mov     eax, FIRST
        xor     edx, edx
        wrmsr
        inc     ecx
        mov     eax, FIRST + 100h
        wrmsr
        mov     rbx, [gs:8]
        mov     [gs:8], rcx
        swapgs
        mov     [gs:8], rcx
        swapgs
        call    touch_pages
        mov     rax, cr0
        or      eax, 10000h                     ; WP
        mov     cr0, rax
        call    touch_pages
        mov     rbx, [abs 200000h + FIRST]      ; 2 MiB
        mov     [abs 400000h + FIRST], rbx
        mov     rbx, [abs 40000000h + FIRST]    ; 1 GiB
        mov     [abs 40000008h + FIRST], rsp
        attempt .l
        mov     eax, 80000000h + FIRST
        mov     edx, [rax]                      ; QEMU marks what it then refuses as accessed
        mov     [rax], ebx
.l:     attempt .m
        mov     rax, 8000000000h
        mov     rbx, [rax]                      ; no entry in PML4
.m:     attempt .n
        mov     eax, 600000h + near_return      ; NX
        mov     edx, [rax]
        call    rax
.n:     mov     rsp, KERNEL_STACK
        mov     eax, 400000h + near_return
        call    rax
        mov     eax, user
        call    run_user
        mov     eax, user_pages
        call    run_user
        hlt

; ---- subroutines -----------------------------------------------------------------------------------------------------

write_gate:                                     ; RDI: where, EAX: handler, EDX: attributes and IST
        mov     [rdi], ax
        mov     word [rdi + 2], CODE0
        mov     [rdi + 4], dl
        mov     [rdi + 5], dh
        and     byte [rdi + 4], 7
        shr     eax, 16
        mov     [rdi + 6], eax
        mov     dword [rdi + 10], 0
        ret

touch_pages:
        xor     esi, esi
.next:  attempt .read
        mov     rax, [rsi + FIRST]
.read:  attempt .written
        mov     [rsi + FIRST + 8], rsi          ; QEMU takes what reads and writes for a read, if the page is absent
.written:
        add     esi, 1000h
        cmp     esi, PAGES * 1000h
        jb      .next
near_return:
        ret

run_user:                                       ; RAX: where to, in ring 3
        mov     [abs after_user], rsp
        push    DATA3
        push    USER_STACK
        pushfq
        push    CODE3
        push    rax
        iretq
to_kernel:
        mov     rsp, [abs after_user]
        ret

count:  inc     dword [abs counter]
        iretq
called: mov     rbx, [rsp + 8]
        mov     rdx, [rsp + 24]
        o64 retf

system_call:                                    ; RDX: 0 to return to 64-bit code
        swapgs
        mov     [gs:0], rsp
        mov     rsp, SYSCALL_STACK
        push    rcx
        push    r11
        inc     dword [abs counter]
        pop     r11
        pop     rcx
        mov     rsp, [gs:0]
        swapgs
        test    edx, edx
        jnz     .short
        o64 sysret
.short: sysret

; ---- ring 3 ----------------------------------------------------------------------------------------------------------

user:   int     40h
        int     41h
        attempt .b
        hlt
.b:     attempt .c
        mov     rax, cr3
.c:     attempt .d
        swapgs
.d:     attempt .e
        int3
.e:     std
        stc
        xor     edx, edx
        syscall
        pushfq
        or      dword [rsp], 3200h
        popfq
        attempt .f
        in      al, 60h
.f:     call    far dword [abs far_gate]
        attempt .g
        mov     ds, [abs selector_0]
.g:     mov     eax, DATA3
        mov     ds, eax
        mov     r8, 123456789abcdef0h
        imul    r9, r8, 77h
        bswap   r9
        mov     eax, r9d
        movsx   rcx, al
        movsxd  rcx, eax
        xchg    al, ah
        shld    r8, r9, 13
        cmpxchg [abs counter], r8
        mov     rsi, user
        mov     rdi, FIRST
        mov     ecx, 5
        cld
        rep movsq
        movq    xmm0, r8
        movq    xmm9, r9
        paddd   xmm0, xmm9
        pshufd  xmm1, xmm0, 1bh
        movdqu  [abs FIRST + 40h], xmm1
        push    CODE3_32                        ; to compatibility mode
        push    compatibility
        o64 retf

        bits    32
compatibility:
        mov     eax, DATA3
        mov     es, eax
        inc     eax
        push    eax
        pop     ebx
        int     40h
        attempt32 .b
        xor     ecx, ecx
        div     ecx
.b:     attempt32 .c
        mov     eax, [40000000h * 3]            ; no entry
.c:     attempt32 .d
        into                                    ; nothing
        mov     al, 7fh
        inc     al
        into
.d:     aaa
        lea     esi, [FIRST]
        lodsd
        call    far [far_64]
        push    esp
        pop     eax
        jmp     CODE3:back
        bits    64
far_return:
        retf
back:   int     42h

user_pages:
        call    touch_pages
        attempt .a
        mov     eax, FIRST + 2000h              ; supervisor
        jmp     rax
.a:     attempt .b
        mov     eax, FIRST + 3000h              ; absent
        jmp     rax
.b:     attempt .c
        mov     eax, FIRST + 5000h              ; not executable
        jmp     rax
.c:     attempt .d
        mov     eax, 400000h
        mov     rbx, [rax]                      ; 2 MiB, supervisor
.d:     attempt .e
        mov     rsi, FIRST - 16
        mov     rdi, FIRST + 0ff0h
        mov     ecx, 4
        rep movsq                               ; into the page that is read-only
.e:     attempt .f
        mov     rsp, FIRST + 3008h
        push    rax
        push    rax                             ; absent
.f:     mov     rsp, 800000000000h
        attempt .g
        push    rax                             ; #SS
.g:     mov     rsp, USER_STACK
        int     42h

; ---- handlers: on to the next attempt, in the ring of the fault --------------------------------------------------------

with_code_entry:
        add     rsp, 8
no_code:
        push    rax
        mov     eax, [abs resume]
        mov     [rsp + 8], rax
        pop     rax
        iretq

        align   8
gdt     dq      0                               ; accessed already, which QEMU's far transfers do not note
        dq      00af9b000000ffffh
        dq      00cf93000000ffffh
        dq      00cffb000000ffffh
        dq      00cff3000000ffffh
        dq      00affb000000ffffh
        dq      0000890050000067h
        dq      0
        dw      called, CODE0, 0ec00h, 0
        dq      0
gdt_end:
gdt_pointer:
        dw      gdt_end - gdt - 1
        dd      gdt
idt_pointer:
        dw      43h * 16 - 1
        dq      IDT
selector_0      dw CODE0
far_gate        dd 0
                dw CALL_GATE
far_64          dd far_return
                dw CODE3
counter         dd 0
after_user      dq 0
resume          dq 0
; Vectors that push an error code: 8, 10 to 14, 17.
with_code       dd 00027d00h
