; An external interrupt is injected while the guest has interrupts disabled.
;
; On a bare machine the interrupt controller waits for the CPU. Injection does not: it happens at VM entry, so the
; hypervisor has to wait itself. It asks for an exit as soon as the guest can take an interrupt, by interrupt-window
; exiting. VM entry checks RFLAGS.IF.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        ret

handle_exit:
        cmp     ebx, EXIT_VMCALL
        je      .requested
        cmp     ebx, EXIT_Interrupt_window
        jne     unexpected_exit
        vmcs_clear Primary_processor_based_VM_execution_controls, CTL_Interrupt_window_exiting
        vmcs_write VM_entry_interruption_information_field, INJECT + INTERRUPT
        jmp     resume
.requested:
%ifdef FIXED
        vmcs_set Primary_processor_based_VM_execution_controls, CTL_Interrupt_window_exiting
%else
        vmcs_write VM_entry_interruption_information_field, INJECT + INTERRUPT ; BUG: Guest RFLAGS.IF may be 0
%endif
        jmp     skip_instruction

guest:
        vmcall                          ; VM exit: asks for an interrupt, with IF = 0
        cmp     byte [interrupted], 0
        jne     .too_early
        sti
        nop                             ; VM exit: interrupt window, once the STI's shadow is over
        cmp     byte [interrupted], 1
        jne     .lost
        say     'The guest has its interrupt, when it wanted it', 10
        exit    0
.too_early:
.lost:
        exit    1
