; Alignment checks in 64-bit mode: after what the address is not, before what its page does not allow. (So a real CPU does, too.)
;
; Bochs looks at the alignment of what ends beyond the canonical addresses first, a real CPU does not: test/mmu has this one.
;
; Intel SDM volume 3, "Priority Among Concurrent Events", which leaves this to the processor.

%include "kit-64.inc"

CR0_AM          equ 1 << 18
ABSENT          equ 1_0000_0000h

; ring_3 TITLE: the code up to the next attempt, with the address in RSI.
%macro ring_3 2
        attempt %1
        in_ring_3 FLAG_1 | FLAG_AC
        mov     rsi, %2
%endmacro
%macro found 0
        mov     ebx, 1
        int     20h
%endmacro

main:   mov     rax, cr0
        or      eax, CR0_AM
        mov     cr0, rax
        ring_3  "a page that is there", main + 1
        mov     rax, [rsi]
        found
next:   ring_3  "one that is absent", ABSENT + 1
        mov     eax, [rsi]
        found
next:   ring_3  "aligned", ABSENT
        mov     eax, [rsi]
        found
next:   ring_3  "one of the supervisor, a write", SUPERVISOR_PAGE + 2
        mov     [rsi], eax
        found
next:   ring_3  "the end of a page of the user and the begin of one of the supervisor", SUPERVISOR_PAGE - 2
        mov     eax, [rsi]
        found
next:   ring_3  "a read and a write", SUPERVISOR_PAGE + 2
        lock add [rsi], eax
        found
next:   ring_3  "what is not canonical", NOT_CANONICAL + 1
        mov     eax, [rsi]
        found
next:   ring_3  "a write", NOT_CANONICAL + 1
        mov     [rsi], eax
        found
next:   ring_3  "by the stack", NOT_CANONICAL + 1
        mov     rbp, rsi
        mov     eax, [rbp]
        found
next:   ring_3  "a push", NOT_CANONICAL + 17
        mov     rsp, rsi
        push    rax
        found
next:   ring_3  "CMPXCHG16B", main + 8
        mov     rbx, rax
        lock cmpxchg16b [rsi]
        found
next:   ring_3  "a string", ABSENT + 1
        mov     rdi, rsi
        mov     esi, main
        movsd
        found
next:   exit    0
        end_of_guest
