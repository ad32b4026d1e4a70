; rings: one CPU, five ways to be.
;
;     real mode ─► protected mode ─► compatibility mode ─► 64-bit mode, ring 0 ◄─► 64-bit mode, ring 3
;
; The program starts as every PC starts a boot sector: 16 bits wide, no protection, CS:IP = 0000:7C00. It climbs to
; 64-bit mode, builds a kernel of forty lines there, drops to ring 3, and comes back in each of the three ways there
; are: by SYSCALL, by a software interrupt, and by a fault. At every landing it prints where it is, by reading CS:
; the lowest two bits of CS are the Current Privilege Level, the ring.
;
; Put a breakpoint on any line marked "STOP HERE" and look at the CPU Mode view.
;
; Memory, by physical address (linear addresses are the same, paging maps them one to one):
;
;     1000  PML4         3000  page directory            6000  top of the kernel's stack for SYSCALL
;     2000  PDPT         5000  top of TSS.RSP0's stack   7000  top of the user's stack
;     7C00  this program; real mode's stack grows down from here
;
; Intel SDM volume 3: "Mode Switching", "Initializing IA-32e Mode", "Protection", "Interrupt and Exception Handling".

%include "../include/console.inc"

PML4            equ 1000h
PDPT            equ 2000h
PAGE_DIRECTORY  equ 3000h
INTERRUPT_STACK equ 5000h
SYSCALL_STACK   equ 6000h
USER_STACK      equ 7000h

; Bits of control registers and page-table entries
CR0_PE          equ 1 << 0
CR0_PG          equ 1 << 31
CR4_PAE         equ 1 << 5
EFER_SCE        equ 1 << 0              ; SYSCALL enable
EFER_LME        equ 1 << 8              ; long mode enable
PAGE_P          equ 1 << 0              ; present
PAGE_RW         equ 1 << 1              ; writable
PAGE_US         equ 1 << 2              ; user: ring 3 may use it
PAGE_PS         equ 1 << 7              ; in a page-directory entry: it maps a 2 MiB page itself

; Model-specific registers
IA32_EFER       equ 0C0000080h
IA32_STAR       equ 0C0000081h
IA32_LSTAR      equ 0C0000082h
IA32_FMASK      equ 0C0000084h

; The kernel's system calls, in EAX
CALL_REPORT     equ 0                   ; print the text at RSI, then the CS selector in EDX
CALL_EXIT       equ 1                   ; end the run

; ─────────────────────────────────────────────────────────────── real mode

        org     7C00h
        bits    16

        jmp     0:real_mode             ; some firmware starts us at 07C0:0000; from here on CS = 0
real_mode:
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 7C00h
        cld

        ; Firmware loads one sector, Ringside the whole program. If the program's last word is not in memory yet,
        ; the remaining sectors are fetched with the BIOS; where there is no BIOS they are there already.
        cmp     word [last_word], LAST_WORD
        je      .loaded
        mov     ax, 0200h + SECTORS - 1         ; AH = 02: read, AL = sectors
        mov     cx, 0002h                       ; cylinder 0, sector 2 (they count from 1)
        mov     dh, 0                           ; head 0; DL, the drive, is as the BIOS left it
        mov     bx, 7E00h
        int     13h
.loaded:
        mov     si, real_text
        mov     dx, cs
        call    report16                        ; STOP HERE: real mode

        ; Protected mode is a descriptor table and one bit. The far jump fetches CS anew from the table: until then
        ; the CPU goes on with the 16-bit segment that it has cached.
        cli
        lgdt    [gdt_pointer]
        mov     eax, cr0
        or      eax, CR0_PE
        mov     cr0, eax
        jmp     KERNEL_CODE_32:protected_mode

        define_print print16
        define_print_hex print_hex16, ax, 4
%macro define_report 3                  ; NAME, PRINT, PRINT_HEX: prints the text at SI, the ring and CS in DX
%1:
        call    %2
        mov     al, dl
        and     al, 3                   ; the ring is in the selector's lowest two bits
        add     al, '0'
        out     CONSOLE_PORT, al
        mov     al, ' '
        out     CONSOLE_PORT, al
        mov     al, 'C'
        out     CONSOLE_PORT, al
        mov     al, 'S'
        out     CONSOLE_PORT, al
        mov     al, '='
        out     CONSOLE_PORT, al
        mov     ax, dx
        call    %3
        mov     al, 10
        out     CONSOLE_PORT, al
        ret
%endmacro
        define_report report16, print16, print_hex16

; ─────────────────────────────────────────────────────────────── the descriptor table

; One table serves all modes. Base and limit matter to the 32-bit segments only; in 64-bit mode what counts is the L
; bit (this is 64-bit code) and the DPL (whose code it is). SYSCALL and SYSRET fix the order: SYSCALL takes the
; kernel's data segment right after its code segment; SYSRET the user's 64-bit code two places after its 32-bit code.
        align   8
gdt:
        dq      0                       ; 00: the null descriptor
        dq      00AF9A000000FFFFh       ; 08: kernel code, 64-bit (L = 1), DPL 0
        dq      00CF92000000FFFFh       ; 10: kernel data, DPL 0
        dq      00CF9A000000FFFFh       ; 18: kernel code, 32-bit (D = 1), DPL 0
        dq      00CFFA000000FFFFh       ; 20: user code, 32-bit, DPL 3: where SYSRET's selectors count from
        dq      00CFF2000000FFFFh       ; 28: user data, DPL 3
        dq      00AFFA000000FFFFh       ; 30: user code, 64-bit, DPL 3
tss_descriptor:
        dw      TSS_SIZE - 1            ; 38: the task-state segment, sixteen bytes long in 64-bit mode
        dw      tss                     ;     its base; the program lies below 64 KiB, so the rest is zero
        dw      8900h, 0                ;     present, DPL 0, type 9: an available 64-bit TSS
        dq      0
gdt_pointer:
        dw      gdt_pointer - gdt - 1
        dd      gdt

KERNEL_CODE_64  equ 08h
KERNEL_DATA     equ 10h
KERNEL_CODE_32  equ 18h
USER_CODE_32    equ 20h + 3             ; + 3: the requested privilege level, ring 3
USER_DATA       equ 28h + 3
USER_CODE_64    equ 30h + 3
TSS_SELECTOR    equ 38h

real_text:      db 'real mode           16-bit  ring ', 0

        times   510 - ($ - $$) db 0
        dw      0AA55h                  ; by this word firmware knows a boot sector

; ─────────────────────────────────────────────────────────────── protected mode

        bits    32
protected_mode:
        mov     ax, KERNEL_DATA
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, 7C00h
        mov     esi, protected_text
        mov     edx, cs
        call    report32                ; STOP HERE: protected mode

        ; Page tables: PML4[0] → PDPT[0] → page directory[0] → the first 2 MiB, a single page. It is a user page, so
        ; that the user's code below can live in the same image; a real kernel would keep its own pages to itself.
        mov     edi, PML4
        mov     ecx, 3 * 4096 / 4
        xor     eax, eax
        rep     stosd
        mov     dword [PML4], PDPT + PAGE_US + PAGE_RW + PAGE_P
        mov     dword [PDPT], PAGE_DIRECTORY + PAGE_US + PAGE_RW + PAGE_P
        mov     dword [PAGE_DIRECTORY], 0 + PAGE_PS + PAGE_US + PAGE_RW + PAGE_P

        ; Long mode becomes active when paging is switched on with PAE and EFER.LME set. The CPU sets EFER.LMA then.
        mov     eax, cr4
        or      eax, CR4_PAE
        mov     cr4, eax
        mov     eax, PML4
        mov     cr3, eax
        mov     ecx, IA32_EFER
        rdmsr
        or      eax, EFER_LME + EFER_SCE
        wrmsr
        mov     eax, cr0
        or      eax, CR0_PG
        mov     cr0, eax

        ; Long mode is active, but CS is still the 32-bit segment: this is compatibility mode.
        mov     esi, compatibility_text
        mov     edx, cs
        call    report32                ; STOP HERE: compatibility mode
        jmp     KERNEL_CODE_64:kernel

        define_print print32
        define_print_hex print_hex32, ax, 4
        define_report report32, print32, print_hex32

; ─────────────────────────────────────────────────────────────── 64-bit mode, ring 0: the kernel

        bits    64
kernel:
        mov     ax, KERNEL_DATA
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     rsp, SYSCALL_STACK
        lea     rsi, [rel kernel_text]
        mov     edx, cs
        call    report64                ; STOP HERE: 64-bit mode

        ; An interrupt from ring 3 switches to the stack in TSS.RSP0, so there must be a TSS.
        mov     ax, TSS_SELECTOR
        ltr     ax
        lidt    [rel idt_pointer]

        ; SYSCALL: where it goes, what selectors it loads, which flags it clears.
        mov     ecx, IA32_STAR
        xor     eax, eax
        mov     edx, USER_CODE_32 << 16 | KERNEL_CODE_64
        wrmsr
        mov     ecx, IA32_LSTAR
        mov     eax, syscall_entry
        xor     edx, edx
        wrmsr
        mov     ecx, IA32_FMASK
        mov     eax, 1 << 10 | 1 << 9 | 1 << 8  ; DF, IF and TF
        xor     edx, edx
        wrmsr

        ; Down to ring 3. SYSRET does not care that no SYSCALL came before: RIP from RCX, RFLAGS from R11.
        mov     ecx, user
        mov     r11d, 1 << 1                    ; RFLAGS: bit 1 is always set, IOPL = 0
        mov     esp, USER_STACK                 ; SYSRET leaves RSP alone, so it is ours to change
        o64 sysret                              ; STEP INTO: ring 0 → ring 3

; SYSCALL arrives here with the return address in RCX and the flags in R11, and still on the user's stack: nothing in
; memory has been touched. A kernel must fetch its own stack first of all.
syscall_entry:
        mov     [rel user_rsp], rsp
        mov     esp, SYSCALL_STACK
        push    rcx
        push    r11
        push    rax
        push    rdx
        push    rsi
        lea     rsi, [rel syscall_text]
        mov     edx, cs
        call    report64                ; STOP HERE: ring 0, by SYSCALL
        pop     rsi
        pop     rdx
        pop     rax
        cmp     eax, CALL_EXIT
        je      .exit
        call    report64                ; CALL_REPORT: what the user has to say
        pop     r11
        pop     rcx
        mov     rsp, [rel user_rsp]
        o64 sysret                      ; STEP INTO: ring 0 → ring 3
.exit:
        exit    0

; An interrupt has saved SS, RSP, RFLAGS, CS and RIP on TSS.RSP0's stack: IRETQ takes them all back.
interrupt_entry:
        push    rax
        push    rcx
        push    rdx
        push    rsi
        lea     rsi, [rel interrupt_text]
        mov     edx, cs
        call    report64                ; STOP HERE: ring 0, by INT 80h
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rax
        iretq                           ; STEP INTO: ring 0 → ring 3

; #GP also pushes an error code, which IRETQ does not expect: the handler removes it. It is a fault: the saved RIP
; is that of the guilty instruction, and returning there would only fault again. HLT is one byte long; skip it.
general_protection_entry:
        push    rax
        push    rcx
        push    rdx
        push    rsi
        lea     rsi, [rel fault_text]
        mov     edx, cs
        call    report64                ; STOP HERE: ring 0, by a fault
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rax
        add     rsp, 8                  ; the error code
        inc     qword [rsp]             ; RIP: past the HLT
        iretq

        define_print print64
        define_print_hex print_hex64, ax, 4
        define_report report64, print64, print_hex64

; ─────────────────────────────────────────────────────────────── 64-bit mode, ring 3: the user

; Ring 3 may not even print: IOPL is 0, so OUT would fault. All it can do is ask the kernel.
user:
        lea     rsi, [rel user_text]
        mov     edx, cs                 ; STOP HERE: ring 3. Reading CS is allowed everywhere
        mov     eax, CALL_REPORT
        syscall                         ; STEP INTO: ring 3 → ring 0

        int     80h                     ; STEP INTO: ring 3 → ring 0, with a stack switch

        hlt                             ; a privileged instruction: #GP, and the handler skips it

        lea     rsi, [rel user_again_text]
        mov     edx, cs
        mov     eax, CALL_REPORT
        syscall

        mov     eax, CALL_EXIT
        syscall

; ─────────────────────────────────────────────────────────────── data

; gate HANDLER, DPL: an interrupt gate of 64-bit mode. DPL is the outermost ring that may come here by INT n; faults
; and hardware interrupts do not ask. All handlers lie below 64 KiB, so the upper parts of the offset are zero.
%macro gate 2
        dw      %1                      ; offset 15:0
        dw      KERNEL_CODE_64
        dw      8E00h + (%2 << 13)      ; present, interrupt gate, no interrupt stack table
        dw      0                       ; offset 31:16
        dq      0                       ; offset 63:32
%endmacro

        align   16
idt:
        times   13 * 16 db 0            ; vectors 0 to 12 are not present
        gate    general_protection_entry, 0
        times   (80h - 14) * 16 db 0
        gate    interrupt_entry, 3      ; vector 80h is open to ring 3
idt_pointer:
        dw      idt_pointer - idt - 1
        dq      idt

        align   16
tss:
        dd      0                       ; reserved
        dq      INTERRUPT_STACK         ; RSP0: the stack of interrupts that come from an outer ring
        times   102 - ($ - tss) db 0    ; RSP1, RSP2 and the interrupt stack table are not used
        dw      TSS_SIZE                ; the I/O permission bitmap lies past the limit: there is none
TSS_SIZE        equ $ - tss

user_rsp:           dq 0

protected_text:     db 'protected mode      32-bit  ring ', 0
compatibility_text: db 'compatibility mode  32-bit  ring ', 0
kernel_text:        db '64-bit mode         64-bit  ring ', 0
syscall_text:       db '  kernel, by SYSCALL        ring ', 0
interrupt_text:     db '  kernel, by INT 80h        ring ', 0
fault_text:         db '  kernel, by #GP from HLT   ring ', 0
user_text:          db 'user code, by SYSRET        ring ', 0
user_again_text:    db 'user code, after IRETQ      ring ', 0

        align   2
LAST_WORD       equ 5AA5h
last_word:      dw LAST_WORD
SECTORS         equ ($ - $$ + 511) / 512
        times   SECTORS * 512 - ($ - $$) db 0   ; disks hold whole sectors
