; The shadow of STI outlives the instruction that it was for.
;
; STI holds interrupts back for one more instruction, here HLT. HLT exits, and Guest interruptibility state says "blocking
; by STI". The handler carries HLT out and wakes the guest with an interrupt; but the VMCS still says that the guest cannot
; take one, and VM entry refuses. Who moves RIP past an instruction has to end its shadow.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        ret

handle_exit:
        cmp     ebx, EXIT_HLT
        jne     unexpected_exit
%ifdef FIXED
        vmcs_clear Guest_interruptibility_state, BLOCKING_BY_STI + BLOCKING_BY_MOV_SS
%endif
        vmcs_write VM_entry_interruption_information_field, INJECT + INTERRUPT ; BUG, while STI blocks
        jmp     skip_instruction

guest:
        sti
        hlt                             ; VM exit: HLT
        cmp     byte [interrupted], 1
        jne     .lost
        say     'The guest was woken', 10
        exit    0
.lost:
        exit    1
