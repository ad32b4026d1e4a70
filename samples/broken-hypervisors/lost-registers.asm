; The exit handler does not save all of the guest's registers.
;
; The CPU saves RSP, RIP and RFLAGS of the guest in the VMCS; the general registers are as the guest left them, and the
; guest gets them back as the handler leaves them. This one saves what C functions may change, and forgets that it is no
; function: it changes RBX itself.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        vmcs_write Host_RIP, my_vm_exit
        ret

%ifdef FIXED
my_vm_exit      equ vm_exit
%else
my_vm_exit:                             ; BUG: RBX and others are not saved
        push    rax
        push    rcx
        push    rdx
        mov     rbp, rsp
        vmcs_read rbx, Guest_RIP
        add     rbx, 3                  ; VMCALL is the only instruction that exits
        vmcs_write Guest_RIP, rbx
        pop     rdx
        pop     rcx
        pop     rax
        vmresume
        jmp     vmx_failed
%endif

handle_exit     equ skip_instruction

guest:
        mov     ebx, 40
        vmcall                          ; VM exit: VMCALL. STEP OVER, and look at RBX
        add     ebx, 2
        cmp     ebx, 42
        jne     .wrong
        say     'The guest has its sum right', 10
        exit    0
.wrong:
        say     'The guest has its sum wrong', 10
        exit    1
