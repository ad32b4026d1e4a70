; When MMX and SSE instructions execute: CR0.EM, CR0.TS, CR4.OSFXSR, alignment; and what MMX does to the x87 FPU.
;
; Intel SDM volume 3, "System Programming for Instruction Set Extensions and Processor Extended States", "Intel MMX
; Technology System Programming".

%include "kit.inc"

CR0_MP          equ 1 << 1
CR0_EM          equ 1 << 2
CR0_TS          equ 1 << 3
CR0_NE          equ 1 << 5
CR4_OSFXSR      equ 1 << 9

; under TITLE, CR0 bits, CR4 bits: sets these bits, of those that matter here, for what follows.
%macro under 3
        attempt %1
        mov     eax, cr0
        and     eax, ~(CR0_MP | CR0_EM | CR0_TS)
        or      eax, CR0_NE | (%2)
        mov     cr0, eax
        mov     eax, cr4
        and     eax, ~CR4_OSFXSR
        or      eax, %3
        mov     cr4, eax
        mov     ebx, datum
%endmacro

main:
        under   "SSE enabled", 0, CR4_OSFXSR
        pxor    xmm1, xmm1
        int     20h
next:   under   "MMX enabled", 0, CR4_OSFXSR
        paddb   mm1, mm2
        int     20h
next:   under   "CR0.TS, SSE", CR0_TS, CR4_OSFXSR
        pxor    xmm1, xmm1
        int     20h
next:   under   "CR0.TS, MMX", CR0_TS, CR4_OSFXSR
        paddb   mm1, mm2
        int     20h
next:   under   "CR0.TS, a misaligned operand", CR0_TS, CR4_OSFXSR
        movaps  xmm1, [ebx + 1]
        int     20h
next:   under   "CR0.EM, SSE", CR0_EM, CR4_OSFXSR
        pxor    xmm1, xmm1
        int     20h
next:   under   "CR0.EM, MMX", CR0_EM, CR4_OSFXSR
        paddb   mm1, mm2
        int     20h
next:   under   "CR0.EM and TS, SSE", CR0_EM | CR0_TS, CR4_OSFXSR
        pxor    xmm1, xmm1
        int     20h
next:   under   "CR0.EM and TS, MMX", CR0_EM | CR0_TS, CR4_OSFXSR
        paddb   mm1, mm2
        int     20h
next:   under   "no CR4.OSFXSR, SSE", 0, 0
        pxor    xmm1, xmm1
        int     20h
next:   under   "no CR4.OSFXSR and CR0.TS, SSE", CR0_TS, 0
        pxor    xmm1, xmm1
        int     20h
next:   under   "no CR4.OSFXSR, MMX", 0, 0
        paddb   mm1, mm2
        int     20h
next:   under   "no CR4.OSFXSR, both files", 0, 0
        movq2dq xmm1, mm2
        int     20h
next:   under   "CR0.EM, MOVNTI", CR0_EM, 0
        movnti  [ebx], eax
        int     20h
next:   under   "CR0.EM, CRC32", CR0_EM, 0
        crc32   eax, bl
        int     20h
next:   under   "aligned", 0, CR4_OSFXSR
        movaps  xmm1, [ebx + 16]
        movaps  [ebx + 32], xmm1
        paddd   xmm1, [ebx]
        int     20h
next:   under   "a misaligned load", 0, CR4_OSFXSR
        movaps  xmm1, [ebx + 8]
        int     20h
next:   under   "a misaligned store", 0, CR4_OSFXSR
        movaps  [ebx + 4], xmm1
        int     20h
next:   under   "a misaligned operand", 0, CR4_OSFXSR
        paddd   xmm1, [ebx + 15]
        int     20h
next:   under   "a misaligned move that allows it", 0, CR4_OSFXSR
        movups  xmm1, [ebx + 15]
        int     20h
next:   under   "TS cleared by CLTS between two", CR0_TS, CR4_OSFXSR
        clts
        pxor    xmm1, xmm1
        mov     eax, cr0
        or      eax, CR0_TS
        mov     cr0, eax
        pxor    xmm1, xmm1
        int     20h
next:   under   "the x87 FPU after MMX", 0, CR4_OSFXSR
        fninit
        fld1
        paddb   mm1, mm2
        fnstenv [datum]
        show    "  status word ", [datum + 4]
        show    " tag word ", [datum + 8]
        emms
        fnstenv [datum]
        show    " after EMMS ", [datum + 8]
        int     20h
next:   under   "MMX while an x87 exception is pending", 0, CR4_OSFXSR
        fninit
        fldcw   [unmasked]
        fldz
        fld1
        fdivrp
        paddb   mm1, mm2
        int     20h
next:   exit    0

        align   4
unmasked:
        dw      37Bh

        section .bss
        alignb  64
datum:  resb    128
        section .text

        end_of_guest
