; The TSC offset has the wrong sign.
;
; The guest's clock is to start at zero. The CPU adds the offset to its own TSC, so the offset is minus the TSC of now;
; plus, and the guest believes that it has been up for twice as long as the machine.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        vmcs_set Primary_processor_based_VM_execution_controls, CTL_Use_TSC_offsetting
        rdtsc
        shl     rdx, 32
        or      rdx, rax
%ifdef FIXED
        neg     rdx
%endif
        vmcs_write TSC_offset, rdx      ; BUG, unless negative
        ret

handle_exit     equ unexpected_exit

guest:
        rdtsc                           ; STEP OVER, and look at RAX
        shl     rdx, 32
        or      rax, rdx
        cmp     rax, 1000               ; the guest's first instruction: cannot have taken long
        ja      .old
        say     'The guest is young', 10
        exit    0
.old:
        say     'The guest is older than its first instruction', 10
        exit    1
