; tiny-svm: a hypervisor on AMD-V, and its guest, in one file: what tiny-hypervisor does on VT-x.
;
; AMD's way is a function call: VMRUN takes the address of the VMCB in RAX, runs the guest, and "returns" to the next
; instruction when something is intercepted. There is no VMXON, no VMREAD: the VMCB is memory that the hypervisor writes
; and reads, and what the host was is kept in a page that VM_HSAVE_PA names.
;
;     EFER.SVME ─► VM_HSAVE_PA ─► VMCB … ─► VMRUN ─► guest
;                                             ▲        │ #VMEXIT
;                                             │        ▼
;                                             └── a handler
;
; Run it with "cpu": { "model": "epyc" } and "virtualization": "none". Step into VMRUN and you are in the guest; step on
; and, at the guest's CPUID, you are behind VMRUN. The CPU Mode view says which of the two you are in, the VMCS view shows
; the VMCB, and the Translation panel both stages of the guest's addresses:
;
;     guest-linear              guest-physical     host-physical
;     guest_code (this file) ─► the same        ─► the same
;     800000                 ─► 800000          ─► nothing, until the guest touches it
;
; AMD64 Architecture Programmer's Manual volume 2, chapter "Secure Virtual Machine".

%include "../include/long-mode.inc"
%include "../include/console.inc"
%include "vmcb.inc"

CPUID_8000_0001_ECX_SVM equ 1 << 2
CPUID_8000_000A_EDX_NP  equ 1 << 0
CPUID_HYPERVISOR        equ 40000000h   ; the first of the leaves that are for hypervisors to answer

GUEST_LAZY      equ 800000h             ; 2 MiB that are there page by page, as the guest touches them
FREE_PAGES      equ 4

; The guest's one device: what is written to this port comes back from it plus one
DEVICE_PORT     equ 500h

; What the guest may ask for by VMMCALL, in EAX
HYPERCALL_SHOW  equ 0                   ; print RBX
HYPERCALL_ADD   equ 1                   ; RAX := RBX + RCX

; ─────────────────────────────────────────────────────────────── from power-on to the guest

main:
        call    require_svm
        call    enable_svm
        call    build_nested_tables
        call    write_vmcb
        say     'Entering the guest', 10

; The whole life of the hypervisor. The CPU saves RAX, RSP, RIP and RFLAGS of the guest in the VMCB; all other general
; registers are as the guest left them, and have to be kept for it.
run_guest:
        clgi                            ; no interrupt between here and the guest, which VMRUN lets through again
        mov     eax, vmcb
        vmrun                           ; STEP INTO: host → guest
        push    rbx                     ; STOP HERE: #VMEXIT. GIF is 0
        push    rcx
        push    rdx
        push    rsi
        call    handle_exit
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rbx
        jmp     run_guest

require_svm:
        mov     eax, 80000001h
        cpuid
        test    ecx, CPUID_8000_0001_ECX_SVM
        jz      .no_svm
        mov     eax, 8000000Ah
        cpuid
        test    edx, CPUID_8000_000A_EDX_NP
        jz      .no_svm
        mov     ecx, VM_CR
        rdmsr
        test    eax, VM_CR_SVMDIS
        jnz     .no_svm
        ret
.no_svm:
        say     'This CPU has no AMD-V with nested paging, or it is disabled', 10
        exit    1

enable_svm:
        mov     ecx, IA32_EFER
        rdmsr
        or      eax, EFER_SVME
        wrmsr
        mov     ecx, VM_HSAVE_PA
        mov     eax, host_save_area
        xor     edx, edx
        wrmsr
        ret

; Nested page tables have the format of ordinary ones. What the guest accesses counts as user-mode accesses: U/S must be 1.
; The lowest 16 MiB are mapped one to one, but for GUEST_LAZY.
build_nested_tables:
        mov     qword [nested_pml4], nested_pdpt + PAGE_US + PAGE_RW + PAGE_P
        mov     qword [nested_pdpt], nested_directory + PAGE_US + PAGE_RW + PAGE_P
        mov     edi, nested_directory
        mov     eax, PAGE_PS + PAGE_US + PAGE_RW + PAGE_P
        mov     ecx, 8
.map_2_mib:
        mov     [rdi], rax
        add     rdi, 8
        add     eax, 200000h
        loop    .map_2_mib
        mov     qword [nested_directory + 8 * (GUEST_LAZY >> 21)], nested_table + PAGE_US + PAGE_RW + PAGE_P
        ret

; The guest is 64-bit code like this, with the same page tables and a stack of its own.
write_vmcb:
        mov     eax, vmcb
        vmsave                          ; FS, GS, TR, LDTR and MSRs as they are
        mov     edi, vmcb
        mov     dword [rdi + INTERCEPT_VECTOR_3], INTERCEPT_CPUID + INTERCEPT_HLT + INTERCEPT_IOIO + INTERCEPT_SHUTDOWN
        mov     dword [rdi + INTERCEPT_VECTOR_4], INTERCEPT_VMRUN + INTERCEPT_VMMCALL   ; VMRUN demands the first
        mov     qword [rdi + IOPM_BASE_PA], io_permissions
        or      dword [io_permissions + DEVICE_PORT / 8], 1
        mov     dword [rdi + GUEST_ASID], 1
        mov     byte [rdi + TLB_CONTROL], 0
        mov     qword [rdi + NP_ENABLE], 1
        mov     qword [rdi + N_CR3], nested_pml4
        mov     word [rdi + SAVE_CS], cs
        mov     word [rdi + SAVE_CS + SEGMENT_ATTRIBUTES], CODE_64
        mov     dword [rdi + SAVE_CS + SEGMENT_LIMIT], -1
        mov     word [rdi + SAVE_SS], ss
        mov     word [rdi + SAVE_SS + SEGMENT_ATTRIBUTES], DATA_32
        mov     dword [rdi + SAVE_SS + SEGMENT_LIMIT], -1
        mov     word [rdi + SAVE_DS], ds
        mov     word [rdi + SAVE_DS + SEGMENT_ATTRIBUTES], DATA_32
        mov     dword [rdi + SAVE_DS + SEGMENT_LIMIT], -1
        mov     word [rdi + SAVE_ES], es
        mov     word [rdi + SAVE_ES + SEGMENT_ATTRIBUTES], DATA_32
        mov     dword [rdi + SAVE_ES + SEGMENT_LIMIT], -1
        mov     ecx, IA32_EFER
        rdmsr
        mov     [rdi + SAVE_EFER], eax  ; SVME must be 1 for the guest, too
        mov     rax, cr0
        mov     [rdi + SAVE_CR0], rax
        mov     rax, cr3
        mov     [rdi + SAVE_CR3], rax
        mov     rax, cr4
        mov     [rdi + SAVE_CR4], rax
        mov     dword [rdi + SAVE_DR6], 0FFFF0FF0h
        mov     dword [rdi + SAVE_DR7], 400h
        mov     rax, 0007040600070406h
        mov     [rdi + SAVE_G_PAT], rax
        mov     qword [rdi + SAVE_RFLAGS], 2
        mov     qword [rdi + SAVE_RIP], guest_code
        mov     qword [rdi + SAVE_RSP], guest_stack_top
        ret

; ─────────────────────────────────────────────────────────────── what the guest may not do by itself

; On the stack, above the return address: the guest's RSI, RDX, RCX, RBX.
GUEST_RDX       equ 16
GUEST_RCX       equ 24
GUEST_RBX       equ 32

handle_exit:
        say     '#VMEXIT at '
        mov     rax, [vmcb + SAVE_RIP]
        call    print_hex
        mov     eax, [vmcb + EXITCODE]
        cmp     eax, VMEXIT_CPUID
        je      handle_cpuid
        cmp     eax, VMEXIT_IOIO
        je      handle_io
        cmp     eax, VMEXIT_VMMCALL
        je      handle_vmmcall
        cmp     eax, VMEXIT_NPF
        je      handle_nested_page_fault
        cmp     eax, VMEXIT_HLT
        je      handle_hlt
        say     ': nobody handles exit code '
        mov     rax, [vmcb + EXITCODE]
        call    print_hex
        call    new_line
        exit    1

handle_cpuid:
        say     ': CPUID, leaf '
        mov     rax, [vmcb + SAVE_RAX]
        call    print_hex
        call    new_line
        mov     dword [vmcb + SAVE_RAX], CPUID_HYPERVISOR
        mov     dword [vmcb + SAVE_RAX + 4], 0
        mov     qword [rsp + GUEST_RBX], 'Ring'
        mov     qword [rsp + GUEST_RCX], 'side'
        mov     qword [rsp + GUEST_RDX], 0
        add     qword [vmcb + SAVE_RIP], 2              ; the guest's RIP is still at CPUID
        ret

; EXITINFO2 is where the guest goes on.
handle_io:
        mov     rax, [vmcb + EXITINFO2]
        mov     [vmcb + SAVE_RIP], rax
        test    dword [vmcb + EXITINFO1], IOIO_IN
        jnz     .in
        mov     ebx, [vmcb + SAVE_RAX]
        mov     [device_register], ebx
        say     ': OUT of '
        mov     rax, rbx
        call    print_hex
        jmp     new_line
.in:    mov     ebx, [device_register]
        inc     ebx
        mov     [vmcb + SAVE_RAX], rbx
        say     ': IN of '
        mov     rax, rbx
        call    print_hex
        jmp     new_line

handle_vmmcall:
        add     qword [vmcb + SAVE_RIP], 3
        cmp     dword [vmcb + SAVE_RAX], HYPERCALL_ADD
        je      .add
        say     ': VMMCALL, show '
        mov     rax, [rsp + GUEST_RBX]
        call    print_hex
        jmp     new_line
.add:   say     ': VMMCALL, add'
        mov     rax, [rsp + GUEST_RBX]
        add     rax, [rsp + GUEST_RCX]
        mov     [vmcb + SAVE_RAX], rax
        jmp     new_line

; The guest touched memory that is not there yet. RIP stays: the instruction comes again.
handle_nested_page_fault:
        say     ': nested page fault at '
        mov     rax, [vmcb + EXITINFO2]
        call    print_hex
        say     ', error code '
        mov     rax, [vmcb + EXITINFO1]
        call    print_hex
        call    new_line
        mov     rax, [vmcb + EXITINFO2]
        sub     rax, GUEST_LAZY
        shr     rax, 12
        cmp     rax, 512
        jae     .elsewhere
        mov     rdx, [next_free_page]
        cmp     rdx, free_pages_end
        jae     .elsewhere
        add     qword [next_free_page], 4096
        or      rdx, PAGE_US + PAGE_RW + PAGE_P
        mov     [nested_table + rax * 8], rdx           ; nothing to invalidate: what is not present is not cached
        ret
.elsewhere:
        say     'There is no memory for the guest', 10
        exit    1

handle_hlt:
        say     ': HLT', 10, 'The guest has halted', 10
        exit    0

define_print print
define_print_hex print_hex, rax, 16

new_line:
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

; ─────────────────────────────────────────────────────────────── the guest

guest_code:
        mov     eax, CPUID_HYPERVISOR
        cpuid                           ; STEP INTO: guest → host
        mov     eax, HYPERCALL_SHOW
        vmmcall

        mov     edx, DEVICE_PORT
        mov     eax, 41h
        out     dx, eax
        in      eax, dx
        mov     ebx, eax
        mov     eax, HYPERCALL_SHOW
        vmmcall

        mov     qword [GUEST_LAZY], 5AA5h
        mov     rbx, [GUEST_LAZY + 1000h]
        mov     rbx, [GUEST_LAZY]
        mov     eax, HYPERCALL_SHOW
        vmmcall

        mov     ebx, 40
        mov     ecx, 2
        mov     eax, HYPERCALL_ADD
        vmmcall
        mov     rbx, rax
        mov     eax, HYPERCALL_SHOW
        vmmcall
        hlt

        section .data
        align   8
next_free_page: dq free_pages

        section .bss
        alignb  4096
vmcb:           resb 4096
host_save_area: resb 4096
io_permissions: resb 3 * 4096
nested_pml4:    resb 4096
nested_pdpt:    resb 4096
nested_directory:
                resb 4096
nested_table:   resb 4096
free_pages:     resb FREE_PAGES * 4096  ; for handle_nested_page_fault to give away
free_pages_end:
                resb 4096
guest_stack_top:
device_register:
                resd 1
bss_end:
