; The instructions of AMD-V and the way into a guest and back.
;
; AMD64 APM volume 2, "VMRUN Instruction", "#VMEXIT", "VMSAVE and VMLOAD Instructions", "Global Interrupt Flag".

%include "svm-kit.inc"

%macro run_guest 0
        mov     eax, vmcb
        vmrun
%endmacro

main:
        attempt "VMRUN without EFER.SVME"
        mov     eax, vmcb
        vmrun
next:   attempt "VMMCALL without EFER.SVME"
        vmmcall
next:   attempt "STGI without EFER.SVME"
        stgi
next:   call    enable_svm
        attempt "VMRUN in ring 3"
        in_ring_3 FLAG_1
        mov     eax, vmcb
        vmrun
next:   attempt "VMLOAD in ring 3"
        in_ring_3 FLAG_1
        mov     eax, vmcb
        vmload
next:   attempt "CLGI in ring 3"
        in_ring_3 FLAG_1
        clgi
next:   attempt "VMMCALL in the host"
        vmmcall
next:   attempt "VMRUN of an address in the middle of a page"
        mov     eax, vmcb + 8
        vmrun
next:   attempt "VMSAVE of an address in the middle of a page"
        mov     eax, vmcb + 8
        vmsave
next:
        say     "a guest calls the host", 10
        guest   .calls
        mov     rbx, 1234h
        call    enter
        show    "  RBX is the guest's ", rbx
        call    new_line

        say     "the host's registers come back", 10
        guest   .changes
        mov     r12, rsp
        mov     rax, 80000001h
        mov     cr0, rax
        mov     eax, vmcb
        vmrun
        mov     rbx, rax
        sub     rbx, vmcb
        show    "  RAX ", rbx
        sub     r12, rsp
        show    " RSP ", r12
        pushfq
        pop     rbx
        show    " RFLAGS ", rbx
        mov     rbx, cr0
        show    " CR0 ", rbx
        mov     rbx, cr2
        show    " CR2 ", rbx
        call    new_line
        call    show_exit
        mov     rbx, [vmcb + STATE_CR0]
        show    "  the guest's CR0 ", rbx
        mov     rbx, [vmcb + STATE_CR2]
        show    " CR2 ", rbx
        mov     rbx, [vmcb + STATE_RSP]
        sub     rbx, guest_stack
        show    " RSP ", rbx
        call    new_line
        mov     rax, 80010001h
        mov     cr0, rax

        say     "segments come back", 10
        guest   .segments
        call    enter
        mov     ebx, ds
        show    "  DS ", rbx
        mov     ebx, ss
        show    " SS ", rbx
        mov     ebx, [vmcb + STATE_DS]
        show    " the guest's DS ", rbx
        mov     ebx, [vmcb + STATE_SS]
        show    " SS ", rbx
        call    new_line

        say     "FS and GS stay as the guest left them, until VMLOAD", 10
        mov     ecx, 0C0000100h
        mov     eax, 11111000h
        xor     edx, edx
        wrmsr
        mov     eax, other_vmcb
        vmsave
        guest   .fs_base
        call    enter
        mov     ecx, 0C0000100h
        rdmsr
        mov     ebx, eax
        show    "  FS base ", rbx
        mov     eax, other_vmcb
        vmload
        mov     ecx, 0C0000100h
        rdmsr
        mov     ebx, eax
        show    " and then ", rbx
        call    new_line
        movzx   ebx, word [other_vmcb + STATE_TR]
        show    "  VMSAVE: TR ", rbx
        mov     ebx, [other_vmcb + STATE_TR + 4]
        show    " limit ", rbx
        mov     rbx, [other_vmcb + STATE_FS + 8]
        show    " FS base ", rbx
        call    new_line

        say     "a guest in ring 3", 10
        guest   .calls
        mov     byte [rdi + STATE_CPL], 3
        mov     dword [rdi + STATE_CS], USER_CODE | 0AFBh << 16
        mov     dword [rdi + STATE_SS], USER_DATA | 0CF3h << 16
        call    enter
        movzx   ebx, byte [vmcb + STATE_CPL]
        show    "  CPL ", rbx
        call    new_line

        say     "a guest in real mode", 10
        guest   real_code
        mov     qword [rdi + STATE_CR0], 10h
        mov     qword [rdi + STATE_EFER], EFER_SVME
        mov     qword [rdi + STATE_CR4], 0
        mov     dword [rdi + STATE_CS], 8000h | 009Bh << 16
        mov     dword [rdi + STATE_CS + 4], 0FFFFh
        mov     qword [rdi + STATE_CS + 8], real_code
        mov     qword [rdi + STATE_RIP], 0
        mov     qword [guest_start], 0
        mov     dword [rdi + STATE_DS], 0093h << 16
        mov     dword [rdi + STATE_DS + 4], 0FFFFh
        mov     dword [rdi + STATE_SS], 0093h << 16
        mov     dword [rdi + STATE_SS + 4], 0FFFFh
        mov     qword [rdi + STATE_RSP], 9000h
        call    enter

        say     "VMMCALL that is not intercepted", 10
        guest   .calls
        mov     dword [rdi + INTERCEPT_4], I_VMRUN
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 6
        call    enter

        exit    0

.calls:
        mov     eax, 5555h
        add     rbx, 1
        vmmcall

.changes:
        push    rax
        mov     rax, 12345678h
        mov     cr2, rax
        mov     rax, 80000009h
        mov     cr0, rax
        stc
        vmmcall

.segments:
        mov     eax, 0
        mov     ds, eax
        mov     ss, eax
        vmmcall

.fs_base:
        mov     ecx, 0C0000100h
        mov     eax, 22222000h
        xor     edx, edx
        wrmsr
        vmmcall

        bits    16
        align   16
real_code:
        mov     ax, 1234h
        mov     ds, ax
        mov     eax, 0ABCD0000h
        mov     ax, ds
        vmmcall
        bits    64

        section .bss
        alignb  4096
other_vmcb:
        resb    4096
        section .text

        end_of_guest
