; The handler of EPT violations maps the wrong page.
;
; It takes the guest-linear address for the guest-physical one. As long as the guest maps one to one, nobody notices;
; here the guest touches WINDOW, which its page tables put elsewhere. The entry that is missing stays missing, and the
; same EPT violation comes back for ever.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        mov     eax, page_a
        shr     eax, 12
        mov     qword [ept_table + rax * 8], 0
        ret

handle_exit:
        cmp     ebx, EXIT_EPT_violation
        jne     unexpected_exit
%ifdef FIXED
        vmcs_read rdx, Guest_physical_address
%else
        vmcs_read rdx, Guest_linear_address     ; BUG
%endif
        and     edx, 1FFFFFh
        shr     edx, 12
        mov     rax, page_b + MAPPED
        mov     [ept_table + rdx * 8], rax      ; STOP HERE: is this the entry that is missing?
        jmp     resume

guest:
        cmp     qword [WINDOW], 'B'     ; VM exit: EPT violation
        jne     .wrong
        say     'The guest has its page', 10
        exit    0
.wrong:
        exit    1
