; The bit for an MSR is set in the wrong part of the MSR bitmap.
;
; The bitmap has four parts of 1 KiB: reads of MSRs 0 to 1FFFh, reads of C0000000h to C0001FFFh, writes of the first,
; writes of the second. IA32_LSTAR is C0000082h; its bit for writes is 82h of the last part. Set elsewhere, the guest's WRMSR
; does not exit but changes the MSR of the CPU, which is the hypervisor's too.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

IA32_LSTAR      equ 0C0000082h
LSTAR_BIT       equ 82h
WRITES_LOW      equ 2 * 1024            ; offsets in the bitmap
WRITES_HIGH     equ 3 * 1024

configure:
%ifdef FIXED
        or      byte [bitmap + WRITES_HIGH + LSTAR_BIT / 8], 1 << LSTAR_BIT % 8
%else
        or      byte [bitmap + WRITES_LOW + LSTAR_BIT / 8], 1 << LSTAR_BIT % 8  ; BUG
%endif
        vmcs_write Address_of_MSR_bitmaps, bitmap
        vmcs_set Primary_processor_based_VM_execution_controls, CTL_Use_MSR_bitmaps
        mov     ecx, IA32_LSTAR
        xor     edx, edx
        mov     eax, vm_exit            ; any address of the hypervisor's
        wrmsr
        ret

handle_exit:
        cmp     ebx, EXIT_WRMSR
        je      skip_instruction        ; the guest's value is kept nowhere: this guest does not read it
        cmp     ebx, EXIT_VMCALL
        jne     unexpected_exit
        mov     ecx, IA32_LSTAR
        rdmsr
        cmp     eax, vm_exit
        je      skip_instruction
        say     'The guest has changed the IA32_LSTAR of the hypervisor', 10
        exit    1

guest:
        mov     ecx, IA32_LSTAR
        xor     edx, edx
        mov     eax, guest
        wrmsr                           ; STEP INTO: a VM exit, or not?
        vmcall                          ; VM exit: VMCALL, at which the hypervisor looks
        say     'The hypervisor has its own IA32_LSTAR', 10
        exit    0
