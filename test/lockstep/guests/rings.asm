; 32-bit protected mode in all its rings: interrupt, trap, call and task gates, task switches, 32-bit paging with 4-MiB
; pages, then PAE with 2-MiB pages and execute-disable. Page faults in every combination of who, what and why.
CODE0           equ 08h
DATA0           equ 10h
CODE3           equ 18h + 3
DATA3           equ 20h + 3
TSS_A           equ 28h
TSS_B           equ 30h
CALL_GATE       equ 38h + 3             ; to ring 0, two parameters
CONFORMING      equ 40h
CODE3_16        equ 48h + 3
TASK_GATE       equ 50h + 3
CODE1           equ 58h + 1
DATA1           equ 60h + 1
GATE_TO_1       equ 68h + 3             ; call gate to ring 1, no parameters
LDT_AT          equ 70h

TSS_A_AT        equ 5000h
TSS_B_AT        equ 5100h
KERNEL_STACK    equ 7000h
INTERRUPT_STACK equ 6800h
RING1_STACK     equ 7800h
USER_STACK      equ 8800h
TASK_STACK      equ 9800h
IDT             equ 0a000h
DIRECTORY       equ 10000h
TABLE           equ 11000h
PAE_POINTERS    equ 12000h
PAE_DIRECTORY   equ 13000h
PAE_TABLE       equ 14000h
FIRST           equ 20000h              ; pages of data: present, read-only, supervisor, absent, and one of both rights
PAGES           equ 6

%macro attempt 1
        mov     dword [resume], %1
%endmacro
%macro gate 3                           ; vector, handler, attributes
        mov     edi, IDT + %1 * 8
        mov     eax, %2
        mov     edx, %3
        call    write_gate
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
        jmp     dword CODE0:protected

        bits    32
protected:
        mov     eax, DATA0
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        xor     eax, eax
        mov     fs, eax
        mov     gs, eax
        mov     esp, KERNEL_STACK
        mov     edi, IDT                ; all vectors lead to the next attempt
        mov     ecx, 32
        xor     ebx, ebx
.gate:  mov     eax, no_code
        bt      dword [with_code], ebx
        jnc     .without
        mov     eax, with_code_entry
.without:
        mov     edx, 8e00h
        call    write_gate
        add     edi, 8
        inc     ebx
        loop    .gate
        gate    40h, count, 0ee00h      ; interrupt gate for ring 3
        gate    41h, count, 0ef00h      ; trap gate for ring 3
        gate    42h, to_kernel, 0ee00h  ; ends the part in ring 3
        gate    43h, count, 8e00h       ; for ring 0
        gate    44h, count, 6e00h       ; absent
        gate    45h, count_16, 0e600h   ; 16 bits
        mov     dword [IDT + 46h * 8], TSS_B << 16
        mov     dword [IDT + 46h * 8 + 4], 0e500h       ; task gate for ring 3
        lidt    [idt_pointer]

        mov     dword [TSS_A_AT + 4], INTERRUPT_STACK
        mov     dword [TSS_A_AT + 8], DATA0
        mov     dword [TSS_A_AT + 12], RING1_STACK
        mov     dword [TSS_A_AT + 16], DATA1
        mov     word [TSS_A_AT + 102], 104
        mov     eax, TSS_A
        ltr     ax
        mov     eax, LDT_AT
        lldt    ax

        mov     edi, TSS_B_AT           ; the other task
        mov     dword [edi + 20h], task
        mov     dword [edi + 24h], 2
        mov     dword [edi + 28h], 11111111h
        mov     dword [edi + 38h], TASK_STACK
        mov     dword [edi + 48h], DATA0
        mov     dword [edi + 4ch], CODE0
        mov     dword [edi + 50h], DATA0
        mov     dword [edi + 54h], DATA0
        mov     word [edi + 102], 104

        int     40h                     ; without change of ring
        int     41h
        int     45h
        attempt .a
        int     44h                     ; #NP
.a:     attempt .b
        int     60h                     ; beyond the table
.b:     call    CONFORMING:far_return
        call    CODE0:far_return
        call    TSS_B:0                 ; a task, and back by IRET
        jmp     TSS_B:0                 ; and by JMP
        call    TASK_GATE:0
        int     46h
        str     ebx
        smsw    ebx
        sldt    ebx

        mov     eax, user               ; down to ring 3
        call    run_user

        ; 32-bit paging: one table of 4-KiB pages, and a 4-MiB page
        mov     edi, TABLE
        mov     eax, 7
        mov     ecx, 40h
.page:  stosd
        add     eax, 1000h
        loop    .page
        and     dword [TABLE + (FIRST >> 10) + 4], ~2   ; read-only
        and     dword [TABLE + (FIRST >> 10) + 8], ~4   ; supervisor
        and     dword [TABLE + (FIRST >> 10) + 12], ~1  ; absent
        and     dword [TABLE + (FIRST >> 10) + 16], ~6  ; supervisor, read-only
        mov     dword [DIRECTORY], TABLE + 7
        mov     dword [DIRECTORY + 4], 87h              ; 4 MiB, of which only the start is there
        mov     dword [DIRECTORY + 8], 85h              ; read-only
        mov     eax, cr4
        or      eax, 10h
        mov     cr4, eax
        mov     eax, DIRECTORY
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 80000000h
        mov     cr0, eax
        call    touch_pages             ; in ring 0 without WP
        mov     eax, cr0
        or      eax, 10000h
        mov     cr0, eax
        call    touch_pages             ; with WP
        mov     eax, [400000h + FIRST]
        mov     [400000h + FIRST], eax
        attempt .c
        mov     [800000h + FIRST], eax
.c:     mov     eax, user_pages
        call    run_user
        and     dword [TABLE + (FIRST >> 10)], ~60h     ; accessed and dirty again
        invlpg  [FIRST]
        mov     ebx, [FIRST]
        inc     dword [FIRST]
        and     dword [TABLE + (FIRST >> 10)], ~61h     ; gone
        mov     eax, cr3
        mov     cr3, eax
        attempt .d
        mov     [FIRST], eax
.d:     or      dword [TABLE + (FIRST >> 10)], 1
        inc     dword [FIRST]

        mov     eax, cr0                ; PAE
        and     eax, 7fffffffh
        mov     cr0, eax
        mov     edi, PAE_TABLE
        mov     eax, 7
        mov     ecx, 40h
.entry: mov     [edi], eax
        mov     dword [edi + 4], 0
        add     edi, 8
        add     eax, 1000h
        loop    .entry
        and     dword [PAE_TABLE + (FIRST >> 9) + 8], ~2
        and     dword [PAE_TABLE + (FIRST >> 9) + 16], ~4
        and     dword [PAE_TABLE + (FIRST >> 9) + 24], ~1
        and     dword [PAE_TABLE + (FIRST >> 9) + 32], ~6
        mov     dword [PAE_TABLE + (FIRST >> 9) + 44], 80000000h        ; not executable
        mov     dword [PAE_DIRECTORY], PAE_TABLE + 7
        mov     dword [PAE_DIRECTORY + 8], 87h          ; 2 MiB
        mov     dword [PAE_DIRECTORY + 16], 87h
        mov     dword [PAE_DIRECTORY + 20], 80000000h   ; not executable
        mov     dword [PAE_POINTERS], PAE_DIRECTORY + 1
        mov     eax, cr4
        or      eax, 20h
        mov     cr4, eax
        mov     ecx, 0c0000080h
        rdmsr
        or      eax, 800h
        wrmsr
        mov     eax, PAE_POINTERS
        mov     cr3, eax
        mov     eax, cr0
        or      eax, 80000000h
        mov     cr0, eax
        call    touch_pages
        attempt .e
        mov     eax, FIRST + 5000h
        call    eax                     ; not executable
.e:     mov     esp, KERNEL_STACK
        attempt .f
        mov     eax, 400000h + far_return
        call    eax
.f:     mov     esp, KERNEL_STACK
        mov     eax, 200000h + near_return
        call    eax
        mov     eax, user_pages
        call    run_user
        attempt .g
        mov     ebx, [40000000h]        ; no entry in the table of pointers
.g:     hlt

; ---- subroutines -----------------------------------------------------------------------------------------------------

write_gate:                             ; EDI: where, EAX: handler, EDX: attributes
        mov     [edi], ax
        mov     word [edi + 2], CODE0
        mov     [edi + 4], dx
        shr     eax, 16
        mov     [edi + 6], ax
        ret

touch_pages:                            ; reads and writes each of the pages, and tries to go on after a fault
        xor     esi, esi
.next:  attempt .read
        mov     eax, [esi + FIRST]
.read:  attempt .written
        mov     [esi + FIRST + 4], esi  ; QEMU takes what reads and writes for a read, if the page is absent
.written:
        add     esi, 1000h
        cmp     esi, PAGES * 1000h
        jb      .next
near_return:
        ret
far_return:
        retf

run_user:                               ; EAX: where to, in ring 3
        mov     [after_user], esp
        push    DATA3
        push    USER_STACK
        pushfd
        push    CODE3
        push    eax
        iret
to_kernel:
        mov     eax, DATA0
        mov     ds, eax
        mov     es, eax
        mov     esp, [after_user]
        ret

count:  inc     dword [counter]
        iret
count_16:
        inc     dword [counter]
        o16 iret

called: mov     ebx, [esp + 8]          ; parameters of the call gate
        add     ebx, [esp + 12]
        retf    8
called_1:
        mov     eax, ss
        push    eax
        pop     ebx
        retf

task:   inc     eax
        mov     dword [counter], eax
        iret
        inc     ecx
        jmp     TSS_A:0
        inc     edx
        iret
.again: inc     ebx
        iret
        jmp     .again

; ---- ring 3 ----------------------------------------------------------------------------------------------------------

user:   mov     eax, DATA3
        mov     ds, eax
        mov     es, eax
        int     40h
        int     41h
        attempt .a
        int     43h                     ; #GP: not for ring 3
.a:     attempt .b
        cli
.b:     attempt .c
        hlt
.c:     attempt .d
        mov     eax, cr0
.d:     attempt .e
        mov     eax, DATA0
        mov     fs, eax
.e:     attempt .f
        mov     eax, CONFORMING
        mov     fs, eax
.f:     push    0abcd1234h
        push    11110000h
        call    CALL_GATE:0
        call    GATE_TO_1:0
        call    CONFORMING:far_return
        attempt .g
        call    CODE0:far_return
.g:     attempt .h
        into
        mov     al, 7fh
        add     al, 1
        into                            ; #GP: its gate is for ring 0
.h:     attempt .i
        int3
.i:     attempt .j
        xor     ecx, ecx
        div     ecx
.j:     attempt .k
        ud2
.k:     attempt .l
        bound   ecx, [bounds]
.l:     pushfd
        or      dword [esp], 3200h      ; IOPL and IF stay
        popfd
        attempt .m
        in      al, 60h
.m:     attempt .n
        call    TSS_B:0                 ; #GP: DPL
.n:     call    TASK_GATE:0
        int     46h
        lar     bx, [selector_0]      ; 16 bits: four bits above them are undefined
        lsl     ebx, [selector_0]
        mov     eax, CODE3
        lar     bx, ax
        lsl     edx, eax
        mov     eax, DATA3
        verr    ax
        verw    ax
        mov     eax, CODE3
        verr    ax
        verw    ax
        mov     ax, 8
        mov     bx, 3
        arpl    ax, bx
        arpl    bx, ax
        call    CODE3_16:sixteen
        int     42h

        bits    16
sixteen:
        push    ax
        pop     bx
        add     ax, 7000h
        o32 retf

        bits    32
user_pages:
        mov     eax, DATA3
        mov     ds, eax
        mov     es, eax
        call    touch_pages
        attempt .a
        jmp     FIRST + 2000h           ; supervisor
.a:     attempt .b
        jmp     FIRST + 3000h           ; absent
.b:     mov     esi, FIRST - 8
        mov     edi, FIRST + 0ff8h
        mov     ecx, 4
        attempt .c
        rep movsd                       ; into the page that is read-only
.c:     attempt .d
        mov     esp, FIRST + 3004h
        push    eax
        push    eax                     ; absent
.d:     mov     esp, USER_STACK
        int     42h

; ---- handlers: on to the next attempt, in the ring of the fault --------------------------------------------------------

with_code_entry:
        add     esp, 4
no_code:
        push    eax
        mov     eax, [ss:resume]
        mov     [esp + 4], eax
        pop     eax
        iret

        align   8
gdt     dq      0                       ; accessed already, which QEMU's far transfers do not note
        dq      00cf9b000000ffffh
        dq      00cf93000000ffffh
        dq      00cffb000000ffffh
        dq      00cff3000000ffffh
        dq      0000890050000067h
        dq      0000890051000067h
        dw      called, CODE0, 0ec02h, 0
        dq      00cf9f000000ffffh
        dq      0000fb000000ffffh
        dw      0, TSS_B, 0e500h, 0
        dq      00cfbb000000ffffh
        dq      00cfb3000000ffffh
        dw      called_1, CODE1, 0ec00h, 0
        dw      ldt_end - ldt - 1, ldt, 8200h, 0
gdt_end:
ldt     dq      00cf93000000ffffh
ldt_end:
gdt_pointer:
        dw      gdt_end - gdt - 1
        dd      gdt
idt_pointer:
        dw      47h * 8 - 1
        dd      IDT
selector_0      dd CODE0
bounds          dd 5, 9
counter         dd 0
after_user      dd 0
resume          dd 0
; Vectors that push an error code: 8, 10 to 14, 17.
with_code       dd 00027d00h
