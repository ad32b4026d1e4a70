; RIP is not moved on after an instruction that the handler has carried out.
;
; CPUID exits before it executes: Guest RIP is its own address. Whoever resumes without adding the VM-exit instruction
; length comes back at once, for ever.

;%define FIXED                          ; take the semicolon away to mend it

%include "hypervisor.inc"

configure:
        ret

handle_exit:
        cmp     ebx, EXIT_CPUID
        jne     unexpected_exit
        mov     dword [rbp + registers.rbx], 'Ring'
%ifdef FIXED
        jmp     skip_instruction
%else
        jmp     resume                  ; BUG
%endif

guest:
        mov     eax, 40000000h
        cpuid                           ; VM exit: CPUID
        cmp     ebx, 'Ring'
        jne     .unknown
        say     'The guest knows its hypervisor', 10
        exit    0
.unknown:
        exit    1
