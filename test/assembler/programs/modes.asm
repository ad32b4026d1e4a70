        use16
        mov ax, [bx + si]
        mov eax, [ebx + esi * 4]
        push dword 5
        push word 500
        push 5
        o32 ret
        o32 retf
        a32 rep movsb
        mov ax, [es:di]
        mov [fs:0x1234], ax
        lgdt [gdtr]
        o32 lgdt [gdtr]
        sgdt [bx]
        pushf
        pushfd
        pusha
        pushad
        iret
        iretd
        enter 8, 1
        leave
        ud2
        cpuid
        in al, 0x60
        out 0x64, al
        jmp 0x1000:0x10
gdtr:   dw 0
[bits 32]
        mov ax, [bx + si]
        push word 5
        push es
        o16 push es
        mov cr3, eax
        mov dr7, ebx
        int3
        int 3
        bound eax, [ebx]
        les edi, [eax]
        cwde
        cbw
        daa
        aam
        aad 16
        salc
        xlatb
        fs xlatb
        wait
        fsave [eax]
        fnsave [eax]
        fstsw ax
        fadd
        fadd st1
        fadd to st1
        faddp st3
        fxch
        fxch st2
        fcomi st1
        fld st0
        fild qword [eax]
        fstp tword [eax]
        bswap ecx
        [bits 64]
        syscall
        sysret
        o64 sysret
        swapgs
        iretq
        retf
        retfq
        o64 retf
        push rax
        push qword [rax]
        push 0x12345678
        pop qword [r8]
        mov rax, cr8
        mov cr8, rax
        mov rax, [fs:0x28]
        mov rax, [gs:rbx]
        mov rax, [qword 0x1122334455667788]
        mov [qword 0x1122334455667788], al
        mov rax, [abs 0x1000]
        mov rax, [rel gdtr]
        movsxd rax, ecx
        movsx rax, ecx
        movzx eax, r8b
        mov sil, dil
        mov ah, bl
        xchg rax, r8
        xchg r8, rax
        xchg [rax], ebx
        xchg ebx, [rax]
        test [rax], ecx
        test ecx, [rax]
        cmpxchg16b [rsi]
        rdtscp
        vmxon [rax]
        vmxoff
        vmlaunch
        vmresume
        vmcall
        vmread rax, rbx
        vmread [rax], rbx
        vmwrite rax, [rbx]
        vmptrld [rax]
        vmptrst [rax]
        vmclear [rax]
        invept rax, [rbx]
        invvpid rax, [rbx]
        vmfunc
        vmrun
        vmload
        vmsave
        clgi
        stgi
        invlpga
        vmmcall
        xgetbv
        xsetbv
        rdfsbase rax
        wrgsbase rbx
        fxsave [rax]
        fxsave64 [rax]
        xsaves [rax]
        monitor
        mwait
        pause
        endbr64
        movaps xmm0, xmm1
        movdqu xmm8, [rax]
        movq xmm0, rax
        movq rax, xmm0
        movd xmm0, eax
        pshufd xmm0, xmm1, 0x1b
        vaddps ymm0, ymm1, [rax]
        vaddps xmm0, xmm1
        vmovups zmm1{k1}{z}, [rax+64]
        vaddpd zmm1, zmm2, [rax]{1to8}
        vaddpd zmm1, zmm2, zmm3, {rz-sae}
        cmpeqps xmm0, xmm1
        mov eax, [nosplit rax * 2]
        mov eax, [rax * 2]
        mov eax, [rax * 3 + 4]
        mov eax, [rcx + rsp]
        mov eax, [rbp]
        mov eax, [r13 + 0]
        mov eax, [byte rax + 0]
        mov eax, [dword rax + 0]
        mov eax, [a32 0x1234]
        times 4 - ($ - $$) % 4 nop
