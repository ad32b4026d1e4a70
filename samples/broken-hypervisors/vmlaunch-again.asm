; The exit handler ends with VMLAUNCH.
;
; VMLAUNCH wants a VMCS whose launch state is clear, VMRESUME one that is launched. VMLAUNCH makes it launched, VMCLEAR
; clear. A hypervisor that runs all its entries through one routine has to know which of the two it is.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        ret

handle_exit:
        cmp     ebx, EXIT_VMCALL
        jne     unexpected_exit
%ifdef FIXED
        jmp     skip_instruction        ; ends with VMRESUME
%else
        vmcs_read rbx, Guest_RIP
        vmcs_read rdx, VM_exit_instruction_length
        add     rbx, rdx
        vmcs_write Guest_RIP, rbx
        restore_registers
        vmlaunch                        ; BUG
        jmp     vmx_failed
%endif

guest:
        vmcall                          ; VM exit: VMCALL
        say     'The guest is back', 10
        exit    0
