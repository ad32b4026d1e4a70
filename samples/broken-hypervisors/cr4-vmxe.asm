; The guest's CR4 is written to the VMCS as the guest has it.
;
; The guest is not to know of VMX, so its CR4.VMXE is hidden: the CR4 guest/host mask has the bit, the read shadow says
; 0. PGE is in the mask too, so that a change of it exits. But the CPU has fixed bits: in VMX operation CR4.VMXE is 1,
; in non-root operation as well, and VM entry checks that.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

CR4_PGE         equ 1 << 7
OWNED_BY_HOST   equ CR4_VMXE + CR4_PGE

configure:
        vmcs_write CR4_guest_host_mask, OWNED_BY_HOST
        vmcs_write CR4_read_shadow, CR4_PAE
        ret

; The guest only writes CR4, and only from RAX: nothing is decoded here.
handle_exit:
        cmp     ebx, EXIT_Control_register_accesses
        jne     unexpected_exit
        mov     rdx, [rbp + registers.rax]
        vmcs_write CR4_read_shadow, rdx
%ifdef FIXED
        or      edx, CR4_VMXE
%endif
        vmcs_write Guest_CR4, rdx       ; BUG, if nothing has set VMXE
        jmp     skip_instruction

guest:
        mov     rax, cr4
        or      eax, CR4_PGE
        mov     cr4, rax                ; VM exit: control-register access
        mov     rax, cr4
        test    eax, CR4_VMXE
        jnz     .sees_vmx
        say     'The guest has its CR4.PGE, and sees no VMX', 10
        exit    0
.sees_vmx:
        say     'The guest sees CR4.VMXE', 10
        exit    1
