; A VM exit interrupts the delivery of an event, and the event is forgotten.
;
; The hypervisor injects an interrupt. To deliver it the CPU reads the guest's IDT, whose page EPT does not map yet: an
; EPT violation. The handler maps the page and resumes; but the interrupt is not pending any more, it was on its way.
; Where it was going, the IDT-vectoring information says, and only injecting it once more brings it there.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        mov     eax, idt
        shr     eax, 12
        mov     qword [ept_table + rax * 8], 0
        ret

handle_exit:
        cmp     ebx, EXIT_VMCALL
        je      .inject
        cmp     ebx, EXIT_EPT_violation
        jne     unexpected_exit
        vmcs_read rdx, Guest_physical_address
        shr     edx, 12
        mov     eax, edx
        shl     eax, 12
        or      eax, MAPPED
        mov     [ept_table + rdx * 8], rax
%ifdef FIXED
        vmcs_read rdx, IDT_vectoring_information_field
        test    edx, INJECT
        jz      resume
        vmcs_write VM_entry_interruption_information_field, rdx
%endif
        jmp     resume                  ; BUG, if an event was being delivered
.inject:
        vmcs_write VM_entry_interruption_information_field, INJECT + INTERRUPT
        jmp     skip_instruction

guest:
        sti
        nop                             ; the shadow of STI ends
        vmcall                          ; VM exit: asks for an interrupt
        cmp     byte [interrupted], 1
        jne     .lost
        say     'The guest has its interrupt', 10
        exit    0
.lost:
        say     'The interrupt never came', 10
        exit    1
