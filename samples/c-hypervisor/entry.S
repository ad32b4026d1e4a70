/*
 * bool vcpu_enter(struct registers *guest, bool launched)
 *
 * To C this is a function: it runs the guest, and returns when the guest exits. What returns is `vm_exit`, where the CPU
 * goes at a VM exit, and the stack is the one of the call, because Host RSP is set to it here. The result is false if the
 * VM entry itself was refused.
 */

        .intel_syntax noprefix
        .globl  vcpu_enter, vm_exit

        .equ    HOST_RSP, 0x6C14
        /* struct registers */
        .equ    OF_RAX, 0
        .equ    OF_RCX, 8
        .equ    OF_RDX, 16
        .equ    OF_RBX, 24
        .equ    OF_RBP, 32
        .equ    OF_RSI, 40
        .equ    OF_RDI, 48
        .equ    OF_R8, 56
        .equ    OF_R9, 64
        .equ    OF_R10, 72
        .equ    OF_R11, 80
        .equ    OF_R12, 88
        .equ    OF_R13, 96
        .equ    OF_R14, 104
        .equ    OF_R15, 112

        .text
        .code64
vcpu_enter:
        push    rbp                     /* what a C function has to preserve */
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi                     /* for vm_exit */
        mov     eax, HOST_RSP
        vmwrite rax, rsp
        test    sil, sil                /* MOV leaves the flags alone: ZF holds until JZ */
        mov     rax, [rdi + OF_RAX]
        mov     rcx, [rdi + OF_RCX]
        mov     rdx, [rdi + OF_RDX]
        mov     rbx, [rdi + OF_RBX]
        mov     rbp, [rdi + OF_RBP]
        mov     rsi, [rdi + OF_RSI]
        mov     r8, [rdi + OF_R8]
        mov     r9, [rdi + OF_R9]
        mov     r10, [rdi + OF_R10]
        mov     r11, [rdi + OF_R11]
        mov     r12, [rdi + OF_R12]
        mov     r13, [rdi + OF_R13]
        mov     r14, [rdi + OF_R14]
        mov     r15, [rdi + OF_R15]
        mov     rdi, [rdi + OF_RDI]
        jz      launch
        vmresume                        /* STEP INTO: VMX root → non-root */
        jmp     refused
launch: vmlaunch                        /* STEP INTO: VMX root → non-root, for the first time */
refused:
        pop     rdi
        xor     eax, eax
        jmp     return

vm_exit:
        push    rdi                     /* STOP HERE: every VM exit comes through here */
        mov     rdi, [rsp + 8]
        mov     [rdi + OF_RAX], rax
        mov     [rdi + OF_RCX], rcx
        mov     [rdi + OF_RDX], rdx
        mov     [rdi + OF_RBX], rbx
        mov     [rdi + OF_RBP], rbp
        mov     [rdi + OF_RSI], rsi
        mov     [rdi + OF_R8], r8
        mov     [rdi + OF_R9], r9
        mov     [rdi + OF_R10], r10
        mov     [rdi + OF_R11], r11
        mov     [rdi + OF_R12], r12
        mov     [rdi + OF_R13], r13
        mov     [rdi + OF_R14], r14
        mov     [rdi + OF_R15], r15
        pop     qword ptr [rdi + OF_RDI]
        pop     rdi
        mov     eax, 1
return:
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret

        .section .note.GNU-stack, "", @progbits
