; An EPT entry is changed, and INVEPT forgotten.
;
; The hypervisor gives the guest another page at the same guest-physical address. The CPU has cached the old
; translation, and goes on using it: the guest reads the old page.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        ret

handle_exit:
        cmp     ebx, EXIT_VMCALL
        jne     unexpected_exit
        mov     ebx, page_a
        shr     ebx, 12
        mov     rax, page_b + MAPPED
        mov     [ept_table + rbx * 8], rax
%ifdef FIXED
        mov     qword [descriptor], EPTP
        mov     eax, INVEPT_SINGLE_CONTEXT
        invept  rax, [descriptor]
        jbe     vmx_failed
%endif
        jmp     skip_instruction        ; BUG, without INVEPT: the TLB still has page_a

guest:
        mov     rax, [page_a]           ; fills the TLB
        vmcall                          ; VM exit: asks for another page
        cmp     qword [page_a], 'B'     ; STOP HERE: the TLB view marks the entry
        jne     .old
        say     'The guest sees its new page', 10
        exit    0
.old:
        say     'The guest sees its old page', 10
        exit    1
