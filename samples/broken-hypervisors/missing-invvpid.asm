; INVLPG exits, and the hypervisor does nothing about it but to skip it.
;
; With VPID a VM exit and entry no longer empty the TLB. So the hypervisor who takes INVLPG away from the guest has to
; do with INVVPID what the guest wanted done.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        vmcs_set Primary_processor_based_VM_execution_controls, CTL_INVLPG_exiting
        ret

handle_exit:
        cmp     ebx, EXIT_INVLPG
        jne     unexpected_exit
%ifdef FIXED
        mov     qword [descriptor], 1   ; VPID 1
        vmcs_read rdx, Exit_qualification
        mov     [descriptor + 8], rdx   ; the linear address
        mov     eax, INVVPID_INDIVIDUAL_ADDRESS
        invvpid rax, [descriptor]
        jbe     vmx_failed
%endif
        jmp     skip_instruction        ; BUG, without INVVPID: the TLB still has page_a

guest:
        mov     rax, [WINDOW]           ; fills the TLB
        mov     qword [window_table], page_b + PAGE_RW + PAGE_P
        invlpg  [WINDOW]                ; VM exit: INVLPG
        cmp     qword [WINDOW], 'B'     ; STOP HERE: the TLB view marks the entry
        jne     .old
        say     'The guest sees the page that it mapped', 10
        exit    0
.old:
        say     'The guest sees the page that it has unmapped', 10
        exit    1
