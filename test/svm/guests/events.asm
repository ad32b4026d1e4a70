; Interrupts, physical and virtual, what VMRUN injects, and what it refuses.
;
; AMD64 APM volume 2, "Event Injection", "Virtual Interrupts", "Global Interrupt Flag", "Canonicalization and Consistency
; Checks".

%include "svm-kit.inc"

APIC_EOI        equ 0FEE000B0h
APIC_SVR        equ 0FEE000F0h
APIC_ICR        equ 0FEE00300h
SELF            equ 4 << 16             ; shorthand of an IPI
PHYSICAL        equ 30h
VIRTUAL         equ 31h

V_IRQ           equ 1 << 8
V_PRIO_15       equ 15 << 16
V_IGN_TPR       equ 1 << 20
V_INTR_MASKING  equ 1 << 24
INJECT          equ 1 << 31
WITH_CODE       equ 1 << 11

%macro apic 2
        mov     esi, %1
        mov     dword [rsi], %2
%endmacro

; A guest with interrupts on, whose handlers call the host; exceptions are delivered.
%macro open_guest 1
        guest   %1
        mov     dword [rdi + STATE_RFLAGS], FLAG_1 | FLAG_IF
        mov     dword [rdi + INTERCEPT_EXCP], 0
%endmacro

; handler VECTOR: its gate leads to code that calls the host, with the vector in RBX.
%macro handler 1
        mov     eax, %%code
        mov     [idt + 16 * (%1)], ax
        shr     eax, 16
        mov     [idt + 16 * (%1) + 6], ax
        jmp     %%over
%%code: mov     ebx, %1
        vmmcall
%%over:
%endmacro

; Which handler ran, and what it found on its stack.
show_handler:
        show    "    handler ", rbx
        mov     rdx, [vmcb + STATE_RSP]
        mov     rbx, [rdx]
        show    " with ", rbx
        mov     rbx, [rdx + 8]
        sub     rbx, [guest_start]
        and     ebx, 0FFFh
        show    " or ", rbx
        mov     ebx, [vmcb + VIRTUAL_IRQ]
        show    " V_IRQ ", rbx
        call    new_line
        ret

main:
        call    enable_svm
        mov     al, 0FFh                ; firmware leaves the timer ticking
        out     21h, al
        out     0A1h, al
        apic    APIC_SVR, 1FFh
        handler PHYSICAL
        handler VIRTUAL
        handler 32h
        handler 33h
        handler 2
        handler 6
        handler 13
        clgi

        say     "a physical interrupt that is intercepted", 10
        open_guest sends
        or      dword [rdi + INTERCEPT_3], I_INTR
        call    enter
        say     "it is still pending: the next guest", 10
        open_guest waits
        or      dword [rdi + INTERCEPT_3], I_INTR
        call    enter
        say     "and one that is not intercepted", 10
        open_guest waits
        call    enter
        call    show_handler
        apic    APIC_EOI, 0
        say     "the host's RFLAGS.IF masks it, not the guest's", 10
        open_guest sends_and_calls
        mov     dword [rdi + VIRTUAL_IRQ], V_INTR_MASKING
        or      dword [rdi + INTERCEPT_3], I_INTR
        call    enter
        open_guest waits
        mov     dword [rdi + STATE_RFLAGS], FLAG_1
        mov     dword [rdi + VIRTUAL_IRQ], V_INTR_MASKING
        or      dword [rdi + INTERCEPT_3], I_INTR
        sti
        call    enter
        cli
        attempt "GIF lets it through in the host"
        mov     eax, stubs + 16 * PHYSICAL
        mov     [idt + 16 * PHYSICAL], ax
        shr     eax, 16
        mov     [idt + 16 * PHYSICAL + 6], ax
        stgi
        sti
        nop
        nop
next:   apic    APIC_EOI, 0
        clgi

        say     "a virtual interrupt", 10
        open_guest waits
        mov     dword [rdi + VIRTUAL_IRQ], V_IRQ | V_PRIO_15 | V_INTR_MASKING
        mov     dword [rdi + IRQ_VECTOR], VIRTUAL
        call    enter
        call    show_handler
        say     "one that is intercepted", 10
        open_guest waits
        mov     dword [rdi + VIRTUAL_IRQ], V_IRQ | V_PRIO_15 | V_INTR_MASKING
        mov     dword [rdi + IRQ_VECTOR], VIRTUAL
        or      dword [rdi + INTERCEPT_3], I_VINTR
        call    enter
        mov     ebx, [vmcb + VIRTUAL_IRQ]
        show    "    V_IRQ ", rbx
        call    new_line
        say     "one that waits for STI and the instruction after it", 10
        open_guest enables
        mov     dword [rdi + STATE_RFLAGS], FLAG_1
        mov     dword [rdi + VIRTUAL_IRQ], V_IRQ | V_PRIO_15 | V_INTR_MASKING
        mov     dword [rdi + IRQ_VECTOR], VIRTUAL
        or      dword [rdi + INTERCEPT_3], I_VINTR
        call    enter
        say     "one that the guest disables", 10
        open_guest calls
        mov     dword [rdi + STATE_RFLAGS], FLAG_1
        mov     dword [rdi + VIRTUAL_IRQ], V_IRQ | V_PRIO_15 | V_INTR_MASKING
        call    enter

        say     "CR8 is V_TPR", 10
        open_guest priority
        mov     dword [rdi + VIRTUAL_IRQ], V_INTR_MASKING | 3
        call    enter
        mov     ebx, [vmcb + VIRTUAL_IRQ]
        show    "    V_TPR ", rbx
        mov     rbx, cr8
        show    " the host's CR8 ", rbx
        call    new_line

%macro inject 3                         ; TITLE, EVENT, error code
        say     %1, 10
        open_guest waits
        mov     dword [rdi + NEXT_RIP], waits
        mov     dword [rdi + EVENTINJ], %2
        mov     dword [rdi + EVENTINJ + 4], %3
        call    enter
        call    show_handler
        mov     ebx, [vmcb + EVENTINJ]
        and     ebx, INJECT
        show    "    left to inject ", rbx
        call    new_line
%endmacro
        inject  "an interrupt", INJECT | 32h, 0
        inject  "an exception with an error code", INJECT | 3 << 8 | WITH_CODE | 13, 1234h
        inject  "an exception without", INJECT | 3 << 8 | 6, 0
        inject  "a software interrupt", INJECT | 4 << 8 | 33h, 0
        inject  "an NMI", INJECT | 2 << 8 | 2, 0
        say     "with interrupts disabled", 10
        open_guest waits
        mov     dword [rdi + STATE_RFLAGS], FLAG_1
        mov     dword [rdi + EVENTINJ], INJECT | 32h
        call    enter
        call    show_handler

%macro refused 3                        ; TITLE, field, value
        say     %1, 10
        guest   calls
        mov     dword [rdi + (%2)], %3
        call    show_code
%endmacro
        refused "ASID 0", GUEST_ASID, 0
        refused "no intercept of VMRUN", INTERCEPT_4, I_VMMCALL
        refused "EFER without SVME", STATE_EFER, 0D01h
        refused "CR0.NW without CR0.CD", STATE_CR0, 0A0010011h
        refused "CR0 with a high bit", STATE_CR0 + 4, 1
        refused "DR6 with a high bit", STATE_DR6 + 4, 1
        refused "DR7 with a high bit", STATE_DR7 + 4, 1
        refused "long mode without PAE", STATE_CR4, 0
        refused "long mode without protection", STATE_CR0, 80000010h
        refused "CS.L and CS.D", STATE_CS, CODE | 0E9Bh << 16
        refused "a reserved type to inject", EVENTINJ, INJECT | 1 << 8 | 32h
        refused "an NMI as an exception", EVENTINJ, INJECT | 3 << 8 | 2
        refused "an exception beyond 31", EVENTINJ, INJECT | 3 << 8 | 32

        exit    0

show_code:
        mov     eax, vmcb
        vmrun
        mov     ebx, [vmcb + EXITCODE]  ; the upper half is 0 with QEMU's TCG
        show    "    exit ", rbx
        call    new_line
        ret

sends:  apic    APIC_ICR, SELF | PHYSICAL
waits:  jmp     waits
sends_and_calls:
        apic    APIC_ICR, SELF | PHYSICAL
        jmp     calls
calls:  vmmcall
enables:
        sti
        nop
        nop
.wait:  jmp     .wait
priority:
        mov     rax, cr8
        add     eax, 2
        mov     cr8, rax
        vmmcall

        end_of_guest
