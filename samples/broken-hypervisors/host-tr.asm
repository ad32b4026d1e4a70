; The task register of the host is forgotten.
;
; A VM exit loads TR from Host_TR_selector, so VM entry refuses a selector of 0 there: even a hypervisor that never
; switches tasks needs a task-state segment. Ring-0 code without user mode runs for years with TR = 0, until VMLAUNCH.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
%ifdef FIXED
        str     dx                      ; `load_task_register` has loaded it
%else
        xor     edx, edx                ; BUG
%endif
        movzx   edx, dx
        vmcs_write Host_TR_selector, rdx
        ret

handle_exit     equ unexpected_exit

guest:
        say     'The guest runs', 10
        exit    0
