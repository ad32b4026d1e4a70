; HOST_RSP points to the wrong end of the stack.
;
; VM exits load RSP, and the handler pushes the guest's registers. The stack grows down: if Host RSP is the stack's lowest
; address, the handler writes to what happens to lie below. Here that is the end of `ept_table`, so that nothing is noticed
; until the guest touches a page above 1F0000h.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
%ifdef FIXED
        vmcs_write Host_RSP, host_stack_top
%else
        vmcs_write Host_RSP, host_stack ; BUG
%endif
        ret

handle_exit:
        cmp     ebx, EXIT_VMCALL
        jne     unexpected_exit
        jmp     skip_instruction

guest:
        mov     rdx, -1                 ; what the guest has in its registers ends up in the EPT entries
        vmcall                          ; VM exit: VMCALL
        mov     eax, [1FC000h]          ; an ordinary page of the guest's, mapped like all others
        say     'The guest has all of its memory', 10
        exit    0
