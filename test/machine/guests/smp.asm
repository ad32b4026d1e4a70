; smp: a bootstrap processor starts the others by INIT and start-up IPIs. They count under a spinlock, tell that they are
; done by an IPI each, halt, and are woken all at once by a broadcast. At last the timer of the local APIC wakes the
; bootstrap processor. What is printed does not depend on who came first.
;
; Intel SDM volume 3: "MP Initialization Protocol Algorithm for MP Systems", "Issuing Interprocessor Interrupts".

%include "../../../samples/include/console.inc"

LOAD_ADDRESS    equ 100000h
MULTIBOOT_MAGIC equ 1BADB002h
MULTIBOOT_FLAGS equ 1 << 16

TRAMPOLINE      equ 8000h               ; where application processors start: start-up vector 08
STACK_BYTES     equ 4096
ROUNDS          equ 1000

APIC            equ 0FEE00000h
APIC_ID         equ APIC + 20h
APIC_EOI        equ APIC + 0B0h
APIC_LDR        equ APIC + 0D0h
APIC_SVR        equ APIC + 0F0h
APIC_ICR_LOW    equ APIC + 300h
APIC_ICR_HIGH   equ APIC + 310h
APIC_LVT_TIMER  equ APIC + 320h
APIC_INITIAL    equ APIC + 380h
APIC_DIVIDE     equ APIC + 3E0h

ICR_INIT        equ 0C4500h             ; all excluding self, assert
ICR_STARTUP     equ 0C4600h + (TRAMPOLINE >> 12)
ICR_BROADCAST   equ 0C4000h             ; fixed
ICR_LOGICAL     equ 04800h              ; fixed, logical destination

DONE_VECTOR     equ 40h                 ; and one more for each application processor
WAKE_VECTOR     equ 60h
TIMER_VECTOR    equ 70h
SPURIOUS_VECTOR equ 0FFh

CODE            equ 08h
DATA            equ 10h

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

start:
        cli
        cld
        lgdt    [gdt_pointer]
        jmp     CODE:.new_cs
.new_cs:
        mov     ax, DATA
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, stacks + STACK_BYTES
        mov     al, 0FFh                ; the 8259s stay silent
        out     21h, al
        out     0A1h, al
        mov     eax, 1
        cpuid
        test    edx, 1 << 9
        jz      fail
        shr     ebx, 24                 ; initial APIC ID
        mov     eax, [APIC_ID]
        shr     eax, 24
        cmp     eax, ebx
        jne     fail
        call    build_idt
        lidt    [idt_pointer]
        mov     dword [APIC_SVR], 100h + SPURIOUS_VECTOR
        mov     dword [APIC_LDR], 80000000h

        mov     esi, trampoline
        mov     edi, TRAMPOLINE
        mov     ecx, trampoline_end - trampoline
        rep     movsb
        mov     dword [APIC_ICR_LOW], ICR_INIT
        call    delay
        mov     dword [APIC_ICR_LOW], ICR_STARTUP
        call    delay
        mov     dword [APIC_ICR_LOW], ICR_STARTUP

wait_for_all:
        cli
        cmp     dword [done_interrupts], 3
        je      .all
        sti                             ; the interrupt comes after HLT, or before CLI
        hlt
        jmp     wait_for_all
.all:
        say32   "application processors: "
        mov     eax, [started]
        call    print_hex
        say32   10, "APIC IDs: "
        mov     eax, [ids]
        call    print_hex
        say32   10, "counted under the lock: "
        mov     eax, [counter]
        call    print_hex
        say32   10, "counted atomically: "
        mov     eax, [atomic_counter]
        call    print_hex
        say32   10, "interrupts from them: "
        mov     eax, [done_interrupts]
        call    print_hex

        mov     dword [APIC_ICR_LOW], ICR_BROADCAST + WAKE_VECTOR
.woken:
        pause
        cmp     dword [woken], 3
        jne     .woken
        say32   10, "woken: "
        mov     eax, [woken]
        call    print_hex

        mov     dword [APIC_DIVIDE], 0Bh        ; by 1
        mov     dword [APIC_LVT_TIMER], TIMER_VECTOR
        mov     dword [APIC_INITIAL], 5000
.timer:
        cli
        cmp     dword [timer_interrupts], 1
        je      .end
        sti
        hlt
        jmp     .timer
.end:
        say32   10, "the timer expired", 10
        exit    0

fail:
        say32   "no local APIC", 10
        exit    1

; A while: some hundred thousand instructions.
delay:
        mov     ecx, 200000
.again: pause
        dec     ecx
        jnz     .again
        ret

build_idt:
        mov     edi, idt
        mov     ecx, 256
        mov     eax, unexpected
        call    fill
        mov     edi, idt + DONE_VECTOR * 8
        mov     ecx, 8
        mov     eax, on_done
        call    fill
        mov     edi, idt + WAKE_VECTOR * 8
        mov     ecx, 1
        mov     eax, on_wake
        call    fill
        mov     edi, idt + TIMER_VECTOR * 8
        mov     ecx, 1
        mov     eax, on_timer

; ECX interrupt gates at EDI, for the handler at EAX.
fill:
        mov     ebx, eax
        and     ebx, 0FFFFh
        or      ebx, CODE << 16
        mov     edx, eax
        and     edx, 0FFFF0000h
        or      edx, 8E00h
.gate:  mov     [edi], ebx
        mov     [edi + 4], edx
        add     edi, 8
        loop    .gate
        ret

on_done:
        lock inc dword [done_interrupts]
        mov     dword [APIC_EOI], 0
        iret
on_wake:
        lock inc dword [woken]
        mov     dword [APIC_EOI], 0
        iret
on_timer:
        lock inc dword [timer_interrupts]
        mov     dword [APIC_EOI], 0
        iret
unexpected:
        say32   "unexpected interrupt", 10
        exit    2

define_print print
define_print_hex print_hex, eax, 8

; ─────────────────────────────────────────────────────────────── an application processor

; From wait-for-SIPI: real-address mode, CS = 0800h, IP = 0. Position-independent but for the far jump.
trampoline:
        bits    16
        cli
        xor     ax, ax
        mov     ds, ax
        o32 lgdt [TRAMPOLINE + trampoline_gdt - trampoline]
        mov     eax, cr0
        and     eax, ~60000000h         ; INIT leaves the caches off
        or      al, 1
        mov     cr0, eax
        jmp     dword CODE:application_processor
trampoline_gdt:
        dw      gdt_end - gdt - 1
        dd      gdt
trampoline_end:

        bits    32
application_processor:
        mov     ax, DATA
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     ebp, 1
        lock xadd [started], ebp        ; which one this is: 0, 1, 2
        mov     esp, ebp
        add     esp, 2
        imul    esp, esp, STACK_BYTES
        add     esp, stacks
        lidt    [idt_pointer]
        mov     dword [APIC_SVR], 100h + SPURIOUS_VECTOR
        mov     ecx, [APIC_ID]
        shr     ecx, 24
        lock bts [ids], ecx

        mov     ecx, ROUNDS
.round:
        mov     edx, 1
.acquire:
        xor     eax, eax
        lock cmpxchg [spinlock], edx
        je      .acquired
        pause
        jmp     .acquire
.acquired:
        mov     eax, [counter]          ; would lose counts without the lock
        inc     eax
        mov     [counter], eax
        mov     dword [spinlock], 0
        mov     eax, 2
        lock xadd [atomic_counter], eax
        loop    .round

        mov     dword [APIC_ICR_HIGH], 80000000h
        lea     eax, [ebp + ICR_LOGICAL + DONE_VECTOR]
        mov     [APIC_ICR_LOW], eax
        sti
.halted:
        hlt
        jmp     .halted

        section .data
        align   8
gdt:
        dq      0
        dq      00CF9B000000FFFFh
        dq      00CF93000000FFFFh
gdt_end:
gdt_pointer:
        dw      gdt_end - gdt - 1
        dd      gdt
idt_pointer:
        dw      256 * 8 - 1
        dd      idt
started:          dd 0
ids:              dd 0
spinlock:         dd 0
counter:          dd 0
atomic_counter:   dd 0
done_interrupts:  dd 0
woken:            dd 0
timer_interrupts: dd 0

        section .bss
        alignb  16
idt:            resb 256 * 8
stacks:         resb 4 * STACK_BYTES
bss_end:
