; sensitive: what an operating system in ring 3 could do before anybody noticed.
;
; Popek and Goldberg (1974): a CPU can be virtualised by trapping if every sensitive instruction — one that shows or
; changes the state of the machine, or behaves differently in another ring — is also privileged, so that it traps
; when a guest's kernel executes it outside ring 0. x86 was not built so. Robin and Irvine (2000) counted seventeen
; instructions that are sensitive and yet run silently in ring 3. They are why virtual machines on x86 needed binary
; translation, or a changed guest, until VT-x.
;
; The program executes all of them in ring 3, and then the privileged ones, and prints for each whether it trapped.
; The code is 32 bits wide: 64-bit mode has dropped some of these instructions, among them PUSH CS.
;
; How it works: `attempt` notes where to go on. If the instruction after it faults, the handler records vector and
; error code and returns there; if not, execution arrives there by itself. Text output is a
; system call (INT 40h), because ring 3 may not write to the console's port: OUT is one of the instructions tried.
;
; Set the exception filter "sensitive instruction" to stop at every one of them, trap or not.
;
; Intel SDM volume 3: "Privileged Instructions", "Privilege Levels", and in volume 2 each instruction's "Protected
; Mode Exceptions".

%include "../include/console.inc"

LOAD_ADDRESS    equ 100000h             ; 1 MiB
MULTIBOOT_MAGIC equ 1BADB002h
MULTIBOOT_FLAGS equ 1 << 16             ; the addresses are in this header

CR4_TSD         equ 1 << 2              ; RDTSC only in ring 0
FLAG_1          equ 1 << 1              ; always set
FLAG_IF         equ 1 << 9

IA32_APIC_BASE  equ 1Bh

CALL_PRINT      equ 0                   ; INT 40h, EAX = 0: print the text at ESI
CALL_PRINT_HEX  equ 1                   ; EAX = 1: print EBX
CALL_EXIT       equ 2                   ; EAX = 2: end the run
NO_FAULT        equ -1

        org     LOAD_ADDRESS
        bits    32

        section .text
image_start:
        jmp     start

        align   4
multiboot_header:
        dd      MULTIBOOT_MAGIC
        dd      MULTIBOOT_FLAGS
        dd      -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
        dd      multiboot_header, image_start, 0, bss_end, image_start

; ─────────────────────────────────────────────────────────────── the kernel: ring 0

start:
        cli
        cld
        lgdt    [gdt_pointer]
        jmp     KERNEL_CODE:.new_cs
.new_cs:
        mov     ax, KERNEL_DATA
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     esp, kernel_stack_top

        ; the descriptor of the TSS needs its address in three pieces, which the assembler cannot cut
        mov     eax, tss
        mov     [tss_descriptor + 2], ax
        shr     eax, 16
        mov     [tss_descriptor + 4], al
        mov     [tss_descriptor + 7], ah
        mov     dword [tss.esp0], kernel_stack_top
        mov     word [tss.ss0], KERNEL_DATA
        mov     word [tss.io_map_base], TSS_SIZE        ; past the limit: no port is open to ring 3
        mov     ax, TSS_SELECTOR
        ltr     ax

        mov     edi, idt
        mov     ebx, fault_entries
        mov     ecx, FAULT_VECTORS
.next_vector:
        mov     eax, [ebx]
        mov     edx, 8E00h              ; interrupt gate, DPL 0: by fault only, INT n may not use it
        call    set_gate
        add     ebx, 4
        loop    .next_vector
        mov     edi, idt + 40h * 8
        mov     eax, system_call
        mov     edx, 0EE00h             ; interrupt gate, DPL 3
        call    set_gate
        mov     eax, empty_call
        mov     edx, 0EE00h
        call    set_gate                ; 41h
        lidt    [idt_pointer]
        xor     eax, eax
        lldt    ax                      ; no local descriptor table

        mov     eax, cr4
        or      eax, CR4_TSD
        mov     cr4, eax

        ; IRET to an outer ring: SS, ESP, EFLAGS, CS and EIP from the stack
        push    dword USER_DATA
        push    dword user_stack_top
        push    dword FLAG_1            ; IF = 0, IOPL = 0
        push    dword USER_CODE
        push    dword user
        mov     ax, USER_DATA
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        iret                            ; STEP INTO: ring 0 → ring 3

; Writes a gate at EDI to handler EAX with type word DX, and moves EDI on.
set_gate:
        mov     [edi], ax
        mov     word [edi + 2], KERNEL_CODE
        mov     [edi + 4], dx
        shr     eax, 16
        mov     [edi + 6], ax
        add     edi, 8
        ret

; One entry per vector. Those that come with an error code have it on the stack already, the others push a zero.
%macro fault_without_code 1
fault_%1:
        push    dword 0
        push    dword %1
        jmp     fault
%endmacro
%macro fault_with_code 1
fault_%1:
        push    dword %1
        jmp     fault
%endmacro
        fault_without_code 0
        fault_without_code 1
        fault_without_code 2
        fault_without_code 3
        fault_without_code 4
        fault_without_code 5
        fault_without_code 6
        fault_without_code 7
        fault_with_code 8
        fault_without_code 9
        fault_with_code 10
        fault_with_code 11
        fault_with_code 12
        fault_with_code 13

; Notes what happened and returns to where the attempt goes on, on the stack it had. The fault may have come while a
; user's segment register held something odd, so DS is loaded anew.
fault:
        push    eax
        push    ds
        mov     ax, KERNEL_DATA
        mov     ds, ax
        mov     eax, [esp + 8]
        mov     [fault_vector], eax
        mov     eax, [esp + 12]
        mov     [fault_code], eax
        mov     eax, [resume_eip]
        mov     [esp + 16], eax         ; the saved EIP
        pop     ds
        pop     eax
        add     esp, 8                  ; vector and error code
        iret

system_call:
        push    ds
        push    eax
        mov     ax, KERNEL_DATA
        mov     ds, ax
        pop     eax
        cmp     eax, CALL_PRINT_HEX
        je      .print_hex
        cmp     eax, CALL_EXIT
        je      .exit
        call    print
        pop     ds
        iret
.print_hex:
        mov     eax, ebx
        push    ecx
        call    print_hex
        pop     ecx
        pop     ds
        iret
.exit:
        exit    0

empty_call:
        iret

        define_print print
        define_print_hex print_hex, eax, 8

; ─────────────────────────────────────────────────────────────── the user: ring 3

; user_print TEXT, …: a constant text, by system call. Changes EAX and ESI.
%macro user_print 1+
        section .data
%%text: db      %1, 0
        section .text
        mov     esi, %%text
        mov     eax, CALL_PRINT
        int     40h
%endmacro

; attempt LABEL, NAME: prints NAME. The instructions that follow, up to `outcome LABEL`, are tried out.
%macro attempt 2
        user_print %2
        mov     dword [resume_eip], resume_%1
        mov     dword [fault_vector], NO_FAULT
        mov     [saved_esp], esp
        mov     eax, KERNEL_CODE        ; a selector for those that want one in AX
%endmacro

; outcome LABEL, REMARK: prints what came of the attempt.
%macro outcome 2
resume_%1:
        mov     esp, [saved_esp]
        call    print_outcome
        user_print %2, 10
%endmacro

user:
        mov     ecx, IA32_APIC_BASE     ; for RDMSR and WRMSR
        mov     edx, CONSOLE_PORT       ; for INS and OUTS
        mov     edi, scratch            ; for INS

        user_print 'Sensitive, but not privileged: in ring 3 they run, and nobody is told', 10

        ; The machine's tables and its control register, for all to read (UMIP, of 2017, can forbid it)
        attempt sgdt, 'SGDT        '
        sgdt    [scratch]
        outcome sgdt, 'shows the GDT register'

        attempt sidt, 'SIDT        '
        sidt    [scratch]
        outcome sidt, 'shows the IDT register'

        attempt sldt, 'SLDT        '
        sldt    ax
        outcome sldt, 'shows the LDT register'

        attempt str, 'STR         '
        str     ax
        outcome str, 'shows the task register'

        attempt smsw, 'SMSW        '
        smsw    ax
        outcome smsw, 'shows CR0'

        ; The flags: PUSHF shows them as they are; POPF keeps IF as it was, without a word
        attempt pushf, 'PUSHF       '
        pushfd
        outcome pushf, 'shows IF and IOPL'

        attempt popf, 'POPF        '
        push    dword FLAG_IF + FLAG_1
        popfd
        outcome popf, 'ignores the new IF'

        ; Segments: these show the ring, or come out differently in another one
        attempt lar, 'LAR         '
        lar     ebx, ax
        outcome lar, 'sees what the ring may see'

        attempt lsl, 'LSL         '
        lsl     ebx, ax
        outcome lsl, 'sees what the ring may see'

        attempt verr, 'VERR        '
        verr    ax
        outcome verr, 'sees what the ring may see'

        attempt verw, 'VERW        '
        verw    ax
        outcome verw, 'sees what the ring may see'

        attempt push, 'PUSH CS     '
        push    cs
        outcome push, 'shows the ring'

        attempt pop, 'POP DS      '
        push    dword USER_DATA
        pop     ds
        outcome pop, 'is checked against the ring'

        attempt mov_from, 'MOV r, CS   '
        mov     ax, cs
        outcome mov_from, 'shows the ring'

        attempt mov_to, 'MOV DS, r   '
        mov     ax, USER_DATA
        mov     ds, ax
        outcome mov_to, 'is checked against the ring'

        attempt call, 'CALL far    '
        call    USER_CODE:far_procedure
        outcome call, 'is checked against the ring'

        attempt jmp, 'JMP far     '
        jmp     USER_CODE:resume_jmp
        outcome jmp, 'is checked against the ring'

        attempt ret, 'RET far     '
        push    cs
        push    dword resume_ret
        retf
        outcome ret, 'is checked against the ring'

        attempt int, 'INT n       '
        int     41h
        outcome int, 'is checked against the ring'

        ; Not on Robin and Irvine's list, but of the same kind: to its own ring, IRET treats IF as POPF does
        attempt iret, 'IRET        '
        push    dword FLAG_IF + FLAG_1
        push    cs
        push    dword resume_iret
        iretd
        outcome iret, 'ignores the new IF'

        user_print 'EFLAGS after a POPF that sets IF: '
        push    dword FLAG_IF + FLAG_1
        popfd                           ; STOP HERE: IF does not change
        pushfd
        pop     ebx
        mov     eax, CALL_PRINT_HEX
        int     40h
        user_print 10, 10, 'Privileged: outside ring 0 they trap', 10

        attempt lgdt, 'LGDT        '
        lgdt    [gdt_pointer]
        outcome lgdt, ''

        attempt lidt, 'LIDT        '
        lidt    [idt_pointer]
        outcome lidt, ''

        attempt lldt, 'LLDT        '
        lldt    ax
        outcome lldt, ''

        attempt ltr, 'LTR         '
        ltr     ax
        outcome ltr, ''

        attempt lmsw, 'LMSW        '
        lmsw    ax
        outcome lmsw, ''

        attempt clts, 'CLTS        '
        clts
        outcome clts, ''

        attempt from_cr0, 'MOV r, CR0  '
        mov     eax, cr0
        outcome from_cr0, ''

        attempt to_cr0, 'MOV CR0, r  '
        mov     cr0, eax
        outcome to_cr0, ''

        attempt from_cr2, 'MOV r, CR2  '
        mov     eax, cr2
        outcome from_cr2, ''

        attempt to_cr2, 'MOV CR2, r  '
        mov     cr2, eax
        outcome to_cr2, ''

        attempt from_cr3, 'MOV r, CR3  '
        mov     eax, cr3
        outcome from_cr3, ''

        attempt to_cr3, 'MOV CR3, r  '
        mov     cr3, eax
        outcome to_cr3, ''

        attempt from_cr4, 'MOV r, CR4  '
        mov     eax, cr4
        outcome from_cr4, ''

        attempt to_cr4, 'MOV CR4, r  '
        mov     cr4, eax
        outcome to_cr4, ''

        attempt from_dr7, 'MOV r, DR7  '
        mov     eax, dr7
        outcome from_dr7, ''

        attempt to_dr7, 'MOV DR7, r  '
        mov     dr7, eax
        outcome to_dr7, ''

        attempt invlpg, 'INVLPG      '
        invlpg  [scratch]
        outcome invlpg, ''

        attempt invd, 'INVD        '
        invd
        outcome invd, ''

        attempt wbinvd, 'WBINVD      '
        wbinvd
        outcome wbinvd, ''

        attempt hlt, 'HLT         '
        hlt
        outcome hlt, ''

        attempt rdmsr, 'RDMSR       '
        rdmsr
        outcome rdmsr, ''

        attempt wrmsr, 'WRMSR       '
        wrmsr
        outcome wrmsr, ''

        attempt sysexit, 'SYSEXIT     '
        sysexit
        outcome sysexit, ''

        user_print 10, 'Privileged by IOPL, which is 0: they trap', 10

        attempt cli, 'CLI         '
        cli
        outcome cli, ''

        attempt sti, 'STI         '
        sti
        outcome sti, ''

        attempt in, 'IN          '
        in      al, CONSOLE_PORT
        outcome in, ''

        attempt out, 'OUT         '
        out     CONSOLE_PORT, al
        outcome out, ''

        attempt ins, 'INS         '
        insb
        outcome ins, ''

        attempt outs, 'OUTS        '
        outsb
        outcome outs, ''

        user_print 10, 'Privileged by CR4, where TSD = 1 and PCE = 0: they trap', 10

        attempt rdtsc, 'RDTSC       '
        rdtsc
        outcome rdtsc, ''

        attempt rdpmc, 'RDPMC       '
        rdpmc
        outcome rdpmc, ''

        user_print 10, 'Checked against the ring, and found wanting', 10

        attempt int_dpl_0, 'INT 0Dh     '
        int     0Dh
        outcome int_dpl_0, ''

        attempt pop_dpl_0, 'POP DS      '
        push    dword KERNEL_DATA
        pop     ds
        outcome pop_dpl_0, ''

        attempt mov_ss, 'MOV SS, r   '
        mov     ax, KERNEL_DATA
        mov     ss, ax
        outcome mov_ss, ''

        attempt jmp_dpl_0, 'JMP far     '
        jmp     KERNEL_CODE:resume_jmp_dpl_0
        outcome jmp_dpl_0, ''

        mov     eax, CALL_EXIT
        int     40h

far_procedure:
        retf

; Prints what the attempt has come to: nothing was trapped, or the exception's name and error code.
print_outcome:
        mov     ebx, [fault_vector]
        cmp     ebx, NO_FAULT
        jne     .trapped
        user_print 'runs           '
        ret
.trapped:
        mov     esi, [fault_names + ebx * 4]
        mov     eax, CALL_PRINT
        int     40h
        mov     ebx, [fault_code]
        mov     eax, CALL_PRINT_HEX
        int     40h
        user_print ')'
        ret

; ─────────────────────────────────────────────────────────────── data

        section .data
        align   8
gdt:
        dq      0
        dq      00CF9A000000FFFFh       ; 08: kernel code, DPL 0
        dq      00CF92000000FFFFh       ; 10: kernel data, DPL 0
        dq      00CFFA000000FFFFh       ; 18: user code, DPL 3
        dq      00CFF2000000FFFFh       ; 20: user data, DPL 3
tss_descriptor:
        dw      TSS_SIZE - 1            ; 28: the task-state segment
        dw      0
        db      0, 89h, 0, 0            ; present, DPL 0, type 9: an available 32-bit TSS
gdt_pointer:
        dw      gdt_pointer - gdt - 1
        dd      gdt

KERNEL_CODE     equ 08h
KERNEL_DATA     equ 10h
USER_CODE       equ 18h + 3
USER_DATA       equ 20h + 3
TSS_SELECTOR    equ 28h

idt_pointer:
        dw      IDT_SIZE - 1
        dd      idt

        align   4
fault_entries:
        dd      fault_0, fault_1, fault_2, fault_3, fault_4, fault_5, fault_6
        dd      fault_7, fault_8, fault_9, fault_10, fault_11, fault_12, fault_13
FAULT_VECTORS   equ ($ - fault_entries) / 4

fault_names:
        dd      .de, .db, .nmi, .bp, .of, .br, .ud, .nm, .df, .cso, .ts, .np, .ss, .gp
.de:    db      '#DE(', 0
.db:    db      '#DB(', 0
.nmi:   db      'NMI(', 0
.bp:    db      '#BP(', 0
.of:    db      '#OF(', 0
.br:    db      '#BR(', 0
.ud:    db      '#UD(', 0
.nm:    db      '#NM(', 0
.df:    db      '#DF(', 0
.cso:   db      'CSO(', 0
.ts:    db      '#TS(', 0
.np:    db      '#NP(', 0
.ss:    db      '#SS(', 0
.gp:    db      '#GP(', 0

        section .bss align=16
IDT_SIZE        equ 42h * 8
idt:            resb IDT_SIZE

tss:
                resd 1                  ; previous task link
.esp0:          resd 1                  ; the stack of interrupts that come from an outer ring
.ss0:           resd 1
                resb 102 - ($ - tss)
.io_map_base:   resw 1
TSS_SIZE        equ $ - tss

                alignb 4
resume_eip:     resd 1                  ; where an attempt goes on if it faults
saved_esp:      resd 1                  ; ESP before the attempt
fault_vector:   resd 1                  ; what it faulted with, or NO_FAULT
fault_code:     resd 1
scratch:        resb 16

                alignb 16
                resb 4096
kernel_stack_top:
                resb 4096
user_stack_top:
bss_end:
