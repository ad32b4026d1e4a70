; VM entry, judged: a VMCS that is valid, changed by each case of entry-rules-cases.inc (or other CASES) in turn, and what VMLAUNCH does with it.
; The guest's first instruction is CPUID, which exits: a guest that is entered comes back, be it by a triple fault.
;
; SDM volume 3, "VM Entries".

%include "../../system/guests/kit-64.inc"

%ifndef CASES
%define CASES "entry-rules-cases.inc"
%endif

; Where the cases have them.
VMXON_REGION    equ 10000h
VMCS_REGION     equ 11000h
EPT             equ 14000h

FIXED_CONTROLS  equ 481h                ; the capability MSRs of pin-based controls and three more groups
SECONDARY_CAPS  equ 48Bh
TRUE_CONTROLS   equ 48Dh
FEATURE_CONTROL equ 3Ah
VMX_BASIC       equ 480h

EXIT_REASON     equ 4402h
QUALIFICATION   equ 6400h
INSTRUCTION_ERROR equ 4400h
HOST_RSP        equ 6C14h

; Kinds of changes, 16 bytes each: kind and 32-bit number, value.
CHANGE_END      equ 0
CHANGE_FIELD    equ 1                   ; VMWRITE
CHANGE_BITS     equ 2                   ; exclusive or with what the field is in the valid VMCS
CHANGE_MEMORY   equ 3                   ; a dword; the upper half of the value is what it is otherwise
CHANGE_REVISION equ 4                   ; a dword: the revision identifier, exclusive or the lower half

%macro write_field 2                    ; encoding, value
        mov     eax, %1
        mov     rbx, %2
        vmwrite rax, rbx
%endmacro

%macro write_controls 3                 ; encoding, capability MSR (a true one where there is), what is wanted
        mov     ecx, %2
        mov     ebx, %3
        call    allowed_controls
        mov     eax, %1
        vmwrite rax, rbx
%endmacro

main:
        mov     eax, 80010021h          ; as kit-64.inc has it, and NE
        mov     cr0, rax
        mov     eax, 1 << 13 | 1 << 5   ; VMXE, PAE
        mov     cr4, rax
        call    unlock
        call    build_ept
        mov     ecx, VMX_BASIC
        rdmsr
        and     eax, 7FFFFFFFh
        mov     [revision], eax
        mov     [VMXON_REGION], eax
        mov     qword [pointer], VMXON_REGION
        vmxon   [pointer]
        mov     esi, cases

.case:  cmp     byte [rsi], 0
        je      .done
        mov     [case_name], rsi
.name:  lodsb
        test    al, al
        jnz     .name
        mov     [case_changes], rsi
        call    fresh_vmcs
        call    write_valid
        mov     rsi, [case_changes]
        call    apply_changes
        call    launch
        call    reset_host
        mov     rsi, [case_changes]
        call    revert_changes
        jmp     .case
.done:  exit    0

unlock: mov     ecx, FEATURE_CONTROL
        rdmsr
        test    al, 1
        jnz     .locked
        mov     eax, 5
        xor     edx, edx
        wrmsr
.locked:
        ret

; The first 2 MiB one to one, in pages of 4 KiB.
build_ept:
        mov     qword [EPT], EPT + 1000h + 7
        mov     qword [EPT + 1000h], EPT + 2000h + 7
        mov     qword [EPT + 2000h], EPT + 3000h + 7
        mov     edi, EPT + 3000h
        mov     eax, 37h
        mov     ecx, 512
.page:  mov     [rdi], rax
        add     rdi, 8
        add     eax, 1000h
        loop    .page
        ret

; The VMCS of the case before is put away, the region cleared.
fresh_vmcs:
        mov     qword [pointer], VMCS_REGION
        vmclear [pointer]
        mov     edi, VMCS_REGION
        xor     eax, eax
        mov     ecx, 4096 / 4
        rep     stosd
        mov     eax, [revision]
        mov     [VMCS_REGION], eax
        vmclear [pointer]
        vmptrld [pointer]
        ret

; ECX is the MSR whose halves allow 0 and 1, EBX what is wanted; RBX what is allowed of that, with what has to be.
allowed_controls:
        rdmsr
        or      ebx, eax
        and     ebx, edx
        ret

write_valid:
%include CASES

apply_changes:
        lodsd
        mov     ecx, eax
        lodsd
        mov     edi, eax
        lodsq
        cmp     ecx, CHANGE_FIELD
        jb      .done
        je      .field
        cmp     ecx, CHANGE_MEMORY
        jb      .bits
        je      .memory
        xor     eax, [revision]
.memory:
        mov     [rdi], eax
        jmp     apply_changes
.bits:  vmread  rbx, rdi
        xor     rax, rbx
.field: vmwrite rdi, rax
        jmp     apply_changes
.done:  ret

; RSI is behind the changes then.
revert_changes:
        lodsd
        mov     ecx, eax
        lodsd
        mov     edi, eax
        lodsq
        cmp     ecx, CHANGE_END
        je      .done
        cmp     ecx, CHANGE_MEMORY
        jb      revert_changes
        shr     rax, 32
        mov     [rdi], eax
        jmp     revert_changes
.done:  ret

; Goes on at `exited` with the stack as it is here, and tells what happened.
launch:
        mov     eax, HOST_RSP
        vmwrite rax, rsp
        vmlaunch
        jc      .invalid
        mov     eax, INSTRUCTION_ERROR
        vmread  rbx, rax
        call    print_name
        show    ": VMfail ", rbx
        call    new_line
        ret
.invalid:
        call    print_name
        say     ": VMfailInvalid", 10
        ret
exited:
        call    reset_host
        mov     eax, EXIT_REASON
        vmread  rbx, rax
        call    print_name
        bt      ebx, 31
        jnc     .entered
        movzx   ebx, bx
        show    ": entry failure ", rbx
        mov     eax, QUALIFICATION
        vmread  rbx, rax
        show    ", qualification ", rbx
        call    new_line
        ret
.entered:
        say     ": entered", 10
        ret

; Some cases have the host come back with other tables and segments.
reset_host:
        lgdt    [gdt_pointer]
        lidt    [idt_pointer]
        jmp     load_data_segments

print_name:
        push    rsi
        mov     rsi, [case_name]
.next:  lodsb
        test    al, al
        jz      .done
        out     0E9h, al
        jmp     .next
.done:  pop     rsi
        ret

guest_code:
        cpuid
        jmp     guest_code

        section .bss
        alignb  16
pointer:
        resq    1
revision:
        resd    1
        alignb  8
case_name:
        resq    1
case_changes:
        resq    1
        alignb  16
        resb    4096
guest_stack:
        section .text

        end_of_guest
