; Real-address mode: arithmetic, stacks, strings, far transfers, interrupts and faults.

        org     1000h
        bits    16
start:
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     di, ax
        mov     cx, 64
.vector:
        mov     ax, handler
        stosw
        xor     ax, ax
        stosw
        loop    .vector
        mov     word [21h * 4], returning

        mov     ax, 1234h               ; flags and arithmetic
        mov     bx, 0fedch
        add     ax, bx
        adc     al, bh
        sbb     bx, ax
        neg     bl
        imul    ax, bx, 7
        mov     cl, 3
        rol     ax, 1
        rcr     bx, cl
        sar     ax, cl
        mov     ax, 0987h
        aam
        cwd
        mov     eax, 80000000h
        cdq
        bsr     ecx, eax
        movzx   edx, al
        lahf
        sahf
        stc
        pushf
        pop     ax
        push    ax
        popf
        pushfd
        popfd
        pusha
        popa
        enter   8, 0
        leave
        xlatb

        mov     si, start               ; strings, forwards and backwards
        mov     di, 5000h
        mov     cx, 9
        rep movsb
        std
        mov     cx, 4
        rep stosd
        cld
        mov     si, start
        mov     di, 5000h
        mov     cx, 20
        repe cmpsb
        mov     di, 5000h
        mov     cx, 5
        repne scasb

        call    0:far_procedure         ; transfers
        mov     ax, 100h
        mov     es, ax
        mov     [es:4000h], ax
        mov     ax, ss
        mov     ss, ax
        mov     sp, 7000h
        lss     sp, [stack_pointer]
        sti
        nop
        cli
        smsw    ax
        sgdt    [4800h]
        sidt    [4800h]
        lgdt    [table]
        sgdt    [4800h]
        int     21h

        mov     word [resume], after_divide
        xor     bl, bl
        div     bl
after_divide:
        mov     word [resume], after_undefined
        ud2
after_undefined:
        mov     word [resume], after_limit
        mov     si, 0ffffh
        mov     [si], ax
after_limit:
        mov     word [resume], after_overflow
        mov     al, 7fh
        add     al, 1
        into
after_overflow:
        mov     word [resume], after_breakpoint
        int3
after_breakpoint:
        mov     word [resume], after_protected
        lldt    ax
after_protected:
        mov     word [resume], after_stack
        mov     sp, 1
        mov     bp, 0ffffh
        mov     sp, 7000h
        mov     ax, [bp]
after_stack:
        hlt

far_procedure:
        retf

handler:
        out     0e0h, al
        push    bp
        mov     bp, sp
        push    word [resume]
        pop     word [bp + 2]
        pop     bp
        iret
returning:
        out     0e0h, al
        iret

resume  dw      0
stack_pointer:
        dw      6ff0h, 0
table   dw      27h
        dd      5800h
