; tiny-hypervisor: a complete hypervisor on VT-x, and its guest, in one file.
;
; It does what every hypervisor does, once and in order: asks the CPU what it can, enters VMX operation, builds nested
; page tables (EPT), fills in a virtual-machine control structure (VMCS), and enters the guest. From then on it lives
; in one loop: the guest runs until it does something that the VMCS says must exit; `vm_exit` finds out why, acts for
; the guest, and resumes it.
;
;     VMXON ─► VMCLEAR ─► VMPTRLD ─► VMWRITE … ─► VMLAUNCH ─► guest
;                                                                │ VM exit         ▲
;                                                                ▼                 │
;                                              vm_exit ─► a handler ─► resume ─► VMRESUME
;
; Run it with "virtualization": "none": the program has the bare machine, VT-x included, and is itself what is
; debugged, in VMX root mode; so is its guest, in VMX non-root mode. Step into VMLAUNCH and you are in the guest; step
; on and, at the guest's CPUID, you are in `vm_exit`. The CPU Mode view says which of the two you are in, the VMCS
; view what the hypervisor has written, and the Translation panel shows both stages of the guest's addresses:
;
;     guest-linear              guest-physical     host-physical
;     guest_code (this file) ─► 4000            ─► guest_code          so source lines are where you expect them
;     5000                   ─► 5000            ─► guest_stack
;     10000                  ─► 10000           ─► nothing, until the guest touches it
;
; Intel SDM volume 3: "Introduction to VMX Operation", "Virtual Machine Control Structures", "VM Entries", "VM Exits",
; "VMX Support for Address Translation"; appendix "VMX Capability Reporting Facility".

%include "../include/long-mode.inc"
%include "../include/console.inc"
%include "vmcs.inc"

CR4_VMXE        equ 1 << 13
CPUID_1_ECX_VMX equ 1 << 5

; The guest's physical memory
GUEST_PML4      equ 0000h
GUEST_PDPT      equ 1000h
GUEST_DIRECTORY equ 2000h
GUEST_TABLE     equ 3000h
GUEST_CODE      equ 4000h
GUEST_STACK     equ 5000h
GUEST_LAZY      equ 10000h              ; memory from here on is there when it is first touched
GUEST_RAM_SIZE  equ 20000h

; The guest's one device: what is written to this port comes back from it plus one
DEVICE_PORT     equ 500h

; What the guest may ask for by VMCALL, in EAX
HYPERCALL_SHOW  equ 0                   ; print RBX
HYPERCALL_ADD   equ 1                   ; RAX := RBX + RCX

CPUID_HYPERVISOR equ 40000000h          ; the first of the leaves that are for hypervisors to answer

; vmcs_write FIELD, VALUE: VALUE is an immediate or a register. Changes RAX and RCX.
%macro vmcs_write 2
        mov     rcx, %2
        mov     eax, %1
        vmwrite rax, rcx
        jbe     vmx_failed              ; CF: no current VMCS. ZF: an error that the VMCS can name
%endmacro

; vmcs_read REGISTER, FIELD. Changes RAX.
%macro vmcs_read 2
        mov     eax, %2
        vmread  %1, rax
        jbe     vmx_failed
%endmacro

; The guest's general-purpose registers, as `vm_exit` pushes them. The CPU saves RSP, RIP and RFLAGS in the VMCS, but
; it leaves these to the hypervisor.
struc registers
.r15:   resq 1
.r14:   resq 1
.r13:   resq 1
.r12:   resq 1
.r11:   resq 1
.r10:   resq 1
.r9:    resq 1
.r8:    resq 1
.rdi:   resq 1
.rsi:   resq 1
.rbp:   resq 1
.rdx:   resq 1
.rcx:   resq 1
.rbx:   resq 1
.rax:   resq 1
endstruc

; ─────────────────────────────────────────────────────────────── from power-on to the guest

main:
        call    require_vmx
        call    enter_vmx_operation
        call    build_ept
        call    build_guest
        call    load_task_register
        call    make_vmcs_current
        call    write_control_fields
        call    write_host_state
        call    write_guest_state
        say     'Entering the guest', 10
        vmlaunch                        ; STEP INTO: VMX root → non-root
        jmp     vmx_failed              ; a VMLAUNCH that succeeds does not come back here

; Is there VT-x, and has firmware not locked it away?
require_vmx:
        mov     eax, 1
        cpuid
        test    ecx, CPUID_1_ECX_VMX
        jz      .no_vmx
        mov     ecx, IA32_FEATURE_CONTROL
        rdmsr
        test    eax, FEATURE_CONTROL_LOCK
        jnz     .locked
        or      eax, FEATURE_CONTROL_VMXON + FEATURE_CONTROL_LOCK
        wrmsr
.locked:
        test    eax, FEATURE_CONTROL_VMXON
        jz      .forbidden
        ret
.no_vmx:
        say     'This CPU has no VT-x (CPUID.1:ECX.VMX = 0)', 10
        exit    1
.forbidden:
        say     'VT-x is locked off (IA32_FEATURE_CONTROL)', 10
        exit    1

; VMXON wants CR4.VMXE, the bits of CR0 and CR4 as the FIXED registers say (a bit set in FIXED0 must be 1, a bit clear
; in FIXED1 must be 0), and a 4 KiB region that begins with the CPU's VMCS revision identifier.
enter_vmx_operation:
        mov     rbx, cr0
        mov     ecx, IA32_VMX_CR0_FIXED0
        call    apply_fixed_bits
        mov     cr0, rbx
        mov     rbx, cr4
        or      rbx, CR4_VMXE
        mov     ecx, IA32_VMX_CR4_FIXED0
        call    apply_fixed_bits
        mov     cr4, rbx

        mov     ecx, IA32_VMX_BASIC
        rdmsr
        and     eax, 7FFFFFFFh          ; bits 30:0: the revision identifier
        mov     [vmxon_region], eax
        mov     [vmcs], eax
        mov     qword [vmx_pointer], vmxon_region
        vmxon   [vmx_pointer]           ; STOP HERE: step over this and look at the CPU Mode view
        jbe     vmx_failed
        ret

; RBX := (RBX or FIXED0) and FIXED1, where ECX is the number of the FIXED0 register and FIXED1 is the next.
apply_fixed_bits:
        call    read_msr
        or      rbx, rax
        inc     ecx
        call    read_msr
        and     rbx, rax
        ret

; RAX := MSR ECX, all 64 bits of it. Changes RDX.
read_msr:
        rdmsr
        shl     rdx, 32
        or      rax, rdx
        ret

make_vmcs_current:
        mov     qword [vmx_pointer], vmcs
        vmclear [vmx_pointer]           ; initialises what the CPU keeps in there, launch state "clear"
        jbe     vmx_failed
        vmptrld [vmx_pointer]           ; from here on VMREAD and VMWRITE mean this one
        jbe     vmx_failed
        ret

; The first level of the guest's memory: EPT maps guest-physical to host-physical addresses, in the form of ordinary
; page tables. The six pages that the guest starts with are mapped here, the others by `handle_ept_violation`.
build_ept:
        mov     qword [ept_pml4], ept_pdpt + EPT_READ + EPT_WRITE + EPT_EXECUTE
        mov     qword [ept_pdpt], ept_directory + EPT_READ + EPT_WRITE + EPT_EXECUTE
        mov     qword [ept_directory], ept_table + EPT_READ + EPT_WRITE + EPT_EXECUTE
        mov     eax, guest_tables + EPT_WRITE_BACK + EPT_READ + EPT_WRITE
        mov     [ept_table + GUEST_PML4 / 4096 * 8], rax
        add     rax, 4096
        mov     [ept_table + GUEST_PDPT / 4096 * 8], rax
        add     rax, 4096
        mov     [ept_table + GUEST_DIRECTORY / 4096 * 8], rax
        add     rax, 4096
        mov     [ept_table + GUEST_TABLE / 4096 * 8], rax
        mov     qword [ept_table + GUEST_CODE / 4096 * 8], guest_code + EPT_WRITE_BACK + EPT_READ + EPT_EXECUTE
        mov     qword [ept_table + GUEST_STACK / 4096 * 8], guest_stack + EPT_WRITE_BACK + EPT_READ + EPT_WRITE
        ret

; The second level, the guest's own page tables. It starts in 64-bit mode, so it needs some; we write them for it.
; Linear addresses below 2 MiB are mapped one to one, but the page of `guest_code` to GUEST_CODE. All addresses in
; these tables are guest-physical.
build_guest:
        mov     qword [guest_tables + GUEST_PML4], GUEST_PDPT + PAGE_RW + PAGE_P
        mov     qword [guest_tables + GUEST_PDPT], GUEST_DIRECTORY + PAGE_RW + PAGE_P
        mov     qword [guest_tables + GUEST_DIRECTORY], GUEST_TABLE + PAGE_RW + PAGE_P
        mov     edi, guest_tables + GUEST_TABLE
        mov     eax, PAGE_RW + PAGE_P
        mov     ecx, 512
.next_page:
        stosq
        add     eax, 4096
        loop    .next_page
        mov     eax, guest_code
        shr     eax, 12
        mov     qword [guest_tables + GUEST_TABLE + rax * 8], GUEST_CODE + PAGE_P
        ret

; A VM exit loads TR from the VMCS, and its selector must not be 0: a hypervisor needs a task-state segment even if,
; like this one, it never uses it.
load_task_register:
        mov     eax, tss
        mov     word [gdt_tss], TSS_LIMIT
        mov     [gdt_tss + 2], ax       ; base 15:0
        shr     eax, 16
        mov     [gdt_tss + 4], al       ; base 23:16
        mov     byte [gdt_tss + 5], 89h ; present, DPL 0, type 9: an available 64-bit TSS
        mov     [gdt_tss + 7], ah       ; base 31:24
        mov     ax, TSS_SELECTOR
        ltr     ax
        ret

; ─────────────────────────────────────────────────────────────── the VMCS

; What makes the guest exit. We wish for a few bits; the capability MSRs add those that must be 1.
write_control_fields:
        mov     ecx, IA32_VMX_PINBASED_CTLS
        xor     ebx, ebx
        call    adjust_controls
        vmcs_write Pin_based_VM_execution_controls, rbx

        mov     ecx, IA32_VMX_PROCBASED_CTLS
        mov     ebx, CTL_Activate_secondary_controls + CTL_Unconditional_IO_exiting + CTL_HLT_exiting
        call    adjust_controls
        vmcs_write Primary_processor_based_VM_execution_controls, rbx

        mov     ecx, IA32_VMX_PROCBASED_CTLS2
        mov     ebx, CTL_Enable_EPT + CTL_Enable_VPID
        call    adjust_plain_controls   ; the only one of the five that has no TRUE register
        vmcs_write Secondary_processor_based_VM_execution_controls, rbx

        mov     ecx, IA32_VMX_EXIT_CTLS
        mov     ebx, CTL_Host_address_space_size
        call    adjust_controls
        vmcs_write Primary_VM_exit_controls, rbx

        mov     ecx, IA32_VMX_ENTRY_CTLS
        mov     ebx, CTL_IA_32e_mode_guest
        call    adjust_controls
        vmcs_write VM_entry_controls, rbx

        vmcs_write Exception_bitmap, 0  ; the guest keeps its exceptions
        vmcs_write CR3_target_count, 0
        vmcs_write VM_exit_MSR_store_count, 0
        vmcs_write VM_exit_MSR_load_count, 0
        vmcs_write VM_entry_MSR_load_count, 0
        vmcs_write VM_entry_interruption_information_field, 0   ; no event to inject
        vmcs_write CR0_guest_host_mask, 0                       ; the guest owns all bits of CR0 and CR4
        vmcs_write CR4_guest_host_mask, 0
        vmcs_write Virtual_processor_identifier, 1              ; 0 is the hypervisor's own
        vmcs_write EPT_pointer, ept_pml4 + EPTP_WALK_LENGTH_4 + EPTP_WRITE_BACK
        ret

; EBX := the controls wished for in EBX, plus those that the capability MSR ECX demands. Its lower half holds the bits
; that must be 1, its upper half those that may be 1. Where there are TRUE registers they demand less. Ends the run
; if the CPU cannot do what is wished for.
adjust_controls:
        mov     esi, ecx
        mov     ecx, IA32_VMX_BASIC
        call    read_msr
        mov     ecx, esi
        bt      rax, 55                 ; VMX_BASIC: there are TRUE registers
        jnc     adjust_plain_controls
        add     ecx, IA32_VMX_TRUE_PINBASED_CTLS - IA32_VMX_PINBASED_CTLS
adjust_plain_controls:
        rdmsr
        mov     edi, ebx
        and     edi, edx
        cmp     edi, ebx
        jne     .missing
        or      ebx, eax
        ret
.missing:
        say     'This CPU lacks a VMX control that is needed (see the capability MSR in ECX)', 10
        exit    1

; Where a VM exit leads, and in which state: our own, as it is now.
write_host_state:
        mov     rdx, cr0
        vmcs_write Host_CR0, rdx
        mov     rdx, cr3
        vmcs_write Host_CR3, rdx
        mov     rdx, cr4
        vmcs_write Host_CR4, rdx
        vmcs_write Host_CS_selector, KERNEL_CODE
        vmcs_write Host_SS_selector, KERNEL_DATA
        vmcs_write Host_DS_selector, KERNEL_DATA
        vmcs_write Host_ES_selector, KERNEL_DATA
        vmcs_write Host_FS_selector, 0
        vmcs_write Host_GS_selector, 0
        vmcs_write Host_TR_selector, TSS_SELECTOR
        vmcs_write Host_FS_base, 0
        vmcs_write Host_GS_base, 0
        vmcs_write Host_TR_base, tss
        vmcs_write Host_GDTR_base, gdt
        vmcs_write Host_IDTR_base, 0
        vmcs_write Host_IA32_SYSENTER_CS, 0
        vmcs_write Host_IA32_SYSENTER_ESP, 0
        vmcs_write Host_IA32_SYSENTER_EIP, 0
        vmcs_write Host_RSP, stack_top
        vmcs_write Host_RIP, vm_exit
        ret

; The guest's registers at its first instruction: 64-bit mode, ring 0, interrupts off.
write_guest_state:
        mov     rdx, cr0
        vmcs_write Guest_CR0, rdx
        mov     rdx, cr4
        vmcs_write Guest_CR4, rdx
        vmcs_write Guest_CR3, GUEST_PML4
        vmcs_write Guest_DR7, 400h
        vmcs_write Guest_RIP, guest_code
        vmcs_write Guest_RSP, GUEST_STACK + 1000h
        vmcs_write Guest_RFLAGS, 2

        ; The guest has no descriptor tables. What counts is the hidden part of each segment register: base, limit
        ; and access rights, and those we write here.
        vmcs_write Guest_CS_selector, KERNEL_CODE
        vmcs_write Guest_CS_base, 0
        vmcs_write Guest_CS_limit, 0FFFFFFFFh
        vmcs_write Guest_CS_access_rights, RIGHTS_CODE_64
        vmcs_write Guest_SS_selector, KERNEL_DATA
        vmcs_write Guest_SS_base, 0
        vmcs_write Guest_SS_limit, 0FFFFFFFFh
        vmcs_write Guest_SS_access_rights, RIGHTS_DATA
        vmcs_write Guest_DS_selector, KERNEL_DATA
        vmcs_write Guest_DS_base, 0
        vmcs_write Guest_DS_limit, 0FFFFFFFFh
        vmcs_write Guest_DS_access_rights, RIGHTS_DATA
        vmcs_write Guest_ES_selector, 0
        vmcs_write Guest_ES_access_rights, RIGHTS_UNUSABLE
        vmcs_write Guest_FS_selector, 0
        vmcs_write Guest_FS_base, 0
        vmcs_write Guest_FS_access_rights, RIGHTS_UNUSABLE
        vmcs_write Guest_GS_selector, 0
        vmcs_write Guest_GS_base, 0
        vmcs_write Guest_GS_access_rights, RIGHTS_UNUSABLE
        vmcs_write Guest_LDTR_selector, 0
        vmcs_write Guest_LDTR_access_rights, RIGHTS_UNUSABLE
        vmcs_write Guest_TR_selector, TSS_SELECTOR
        vmcs_write Guest_TR_base, 0
        vmcs_write Guest_TR_limit, TSS_LIMIT
        vmcs_write Guest_TR_access_rights, RIGHTS_BUSY_TSS      ; TR may not be unusable
        vmcs_write Guest_GDTR_base, 0
        vmcs_write Guest_GDTR_limit, 0
        vmcs_write Guest_IDTR_base, 0
        vmcs_write Guest_IDTR_limit, 0                          ; so any exception ends in a triple fault: exit 2

        vmcs_write Guest_activity_state, 0                      ; active
        vmcs_write Guest_interruptibility_state, 0
        vmcs_write Guest_pending_debug_exceptions, 0
        vmcs_write Guest_IA32_DEBUGCTL, 0
        vmcs_write Guest_IA32_SYSENTER_CS, 0
        vmcs_write Guest_IA32_SYSENTER_ESP, 0
        vmcs_write Guest_IA32_SYSENTER_EIP, 0
        vmcs_write VMCS_link_pointer, -1                        ; there is no shadow VMCS
        ret

; ─────────────────────────────────────────────────────────────── the VM-exit loop

; Every VM exit arrives here, with the host state of the VMCS and the guest's general-purpose registers.
vm_exit:
        push    rax                     ; STOP HERE: every VM exit comes through here
        push    rbx
        push    rcx
        push    rdx
        push    rbp
        push    rsi
        push    rdi
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        mov     rbp, rsp                ; RBP: the guest's registers, for the handlers

        say     'VM exit at '
        vmcs_read rax, Guest_RIP
        call    print_hex
        say     ': '

        ; The whole exit reason is compared: if bit 31 says that a VM entry failed, nothing here matches
        vmcs_read rbx, Exit_reason
        cmp     ebx, EXIT_CPUID
        je      handle_cpuid
        cmp     ebx, EXIT_IO_instruction
        je      handle_io_instruction
        cmp     ebx, EXIT_EPT_violation
        je      handle_ept_violation
        cmp     ebx, EXIT_VMCALL
        je      handle_vmcall
        cmp     ebx, EXIT_HLT
        je      handle_hlt
        jmp     handle_unknown

; The instruction that exited has been done by us: go on behind it.
resume_after_instruction:
        vmcs_read rbx, Guest_RIP
        vmcs_read rdx, VM_exit_instruction_length
        add     rbx, rdx
        vmcs_write Guest_RIP, rbx
; Or it is to be tried again.
resume:
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rdi
        pop     rsi
        pop     rbp
        pop     rdx
        pop     rcx
        pop     rbx
        pop     rax
        vmresume                        ; STEP INTO: VMX root → non-root
        jmp     vmx_failed

; CPUID always exits. The guest sees the real CPU, but without VT-x; and in a leaf that is free for hypervisors, us.
handle_cpuid:
        say     'CPUID, leaf '
        mov     rax, [rbp + registers.rax]
        call    print_line
        mov     eax, [rbp + registers.rax]
        cmp     eax, CPUID_HYPERVISOR
        je      .hypervisor
        mov     ecx, [rbp + registers.rcx]
        cpuid
        cmp     dword [rbp + registers.rax], 1
        jne     .answer
        and     ecx, ~CPUID_1_ECX_VMX
        jmp     .answer
.hypervisor:
        mov     ebx, 'Ring'
        mov     ecx, 'side'
        mov     edx, 'Tiny'
.answer:
        mov     [rbp + registers.rax], rax
        mov     [rbp + registers.rbx], rbx
        mov     [rbp + registers.rcx], rcx
        mov     [rbp + registers.rdx], rdx
        jmp     resume_after_instruction

; The exit qualification holds the port in bits 31:16, the direction in bit 3 (1 = IN), the size less one in bits 2:0
; and in bit 4 whether it is INS or OUTS. The device has a single register, of 32 bits.
handle_io_instruction:
        vmcs_read rbx, Exit_qualification
        mov     edx, ebx
        shr     edx, 16
        cmp     edx, DEVICE_PORT
        jne     handle_unknown
        mov     eax, ebx
        and     eax, 10111b
        cmp     eax, 4 - 1
        jne     handle_unknown
        test    ebx, 1 << 3
        jnz     .in
        say     'I/O instruction, OUT of '
        mov     eax, [rbp + registers.rax]
        mov     [device_register], eax
        call    print_line
        jmp     resume_after_instruction
.in:
        say     'I/O instruction, IN of '
        mov     eax, [device_register]
        inc     eax
        mov     [rbp + registers.rax], rax
        call    print_line
        jmp     resume_after_instruction

; The guest has touched a guest-physical address that EPT does not map, or not so. If it is in the guest's RAM, it gets
; a page now. RIP stays: the instruction starts over and finds the page.
handle_ept_violation:
        say     'EPT violation, guest-physical '
        vmcs_read rax, Guest_physical_address
        mov     rbx, rax
        call    print_hex
        say     ', qualification '
        vmcs_read rax, Exit_qualification
        and     eax, 1FFh               ; what lies above is not there on all processors
        call    print_line
        cmp     rbx, GUEST_LAZY
        jb      handle_unknown
        cmp     rbx, GUEST_RAM_SIZE
        jae     handle_unknown
        mov     rax, [next_free_page]
        cmp     rax, free_pages_end
        je      handle_unknown
        add     qword [next_free_page], 4096
        add     rax, EPT_WRITE_BACK + EPT_READ + EPT_WRITE
        shr     rbx, 12
        mov     [ept_table + rbx * 8], rax      ; STOP HERE: look at the EPT in the Page Tables view

        ; An entry that was not present is cached nowhere, so the CPU would find the new one by itself. INVEPT is a
        ; must when a present entry loses rights or moves; it is here because forgetting it is the classic mistake.
        mov     qword [invept_descriptor], ept_pml4 + EPTP_WALK_LENGTH_4 + EPTP_WRITE_BACK
        mov     eax, INVEPT_SINGLE_CONTEXT
        invept  rax, [invept_descriptor]
        jbe     vmx_failed
        jmp     resume

handle_vmcall:
        mov     rax, [rbp + registers.rax]
        cmp     rax, HYPERCALL_SHOW
        je      .show
        cmp     rax, HYPERCALL_ADD
        jne     handle_unknown
        say     'VMCALL, add', 10
        mov     rax, [rbp + registers.rbx]
        add     rax, [rbp + registers.rcx]
        mov     [rbp + registers.rax], rax
        jmp     resume_after_instruction
.show:
        say     'VMCALL, show '
        mov     rax, [rbp + registers.rbx]
        call    print_line
        jmp     resume_after_instruction

; The guest has nothing more to do, and nobody will interrupt it: the end of this virtual machine.
handle_hlt:
        say     'HLT', 10
        vmxoff
        say     'The guest has halted; VMX operation is over', 10
        exit    0

; Something that nobody has thought of, or a request that makes no sense.
handle_unknown:
        say     'no handler for this. Exit reason '
        vmcs_read rax, Exit_reason
        call    print_hex
        say     ', qualification '
        vmcs_read rax, Exit_qualification
        call    print_line
        exit    1

; A VMX instruction has failed. If there is a current VMCS, it has a number for the reason (SDM volume 3, "VM
; Instruction Error Numbers"); if there is none, this VMREAD fails too and leaves the zero.
vmx_failed:
        xor     ebx, ebx
        mov     eax, VM_instruction_error
        vmread  rbx, rax
        say     'A VMX instruction failed, VM-instruction error '
        mov     rax, rbx
        call    print_line
        exit    2

; Prints RAX and ends the line.
print_line:
        call    print_hex
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

        define_print print
        define_print_hex print_hex, rax, 16

; ─────────────────────────────────────────────────────────────── the guest

; The guest's code has a page to itself. It is linked where the hypervisor has it, and the guest's page tables put it
; at the same linear address, so the two agree about every label.
        align   4096
guest_code:
        mov     eax, CPUID_HYPERVISOR
        cpuid                           ; VM exit: CPUID. Who is there?
        call    show                    ; RBX: 'Ring', the lowest letter first

        mov     dx, DEVICE_PORT
        mov     eax, 41h
        out     dx, eax                 ; VM exit: I/O instruction
        xor     eax, eax
        in      eax, dx                 ; VM exit: I/O instruction
        mov     ebx, eax
        call    show

        mov     ebx, GUEST_LAZY
        mov     qword [rbx], 5AA5h      ; VM exit: EPT violation by a write. Step: the instruction runs twice
        mov     rcx, [rbx + 1000h]      ; VM exit: EPT violation by a read, of the next page
        add     rcx, [rbx]              ; no exit: both pages are there now
        mov     rbx, rcx
        call    show

        mov     eax, HYPERCALL_ADD
        mov     ebx, 2
        mov     ecx, 40
        vmcall                          ; VM exit: VMCALL
        mov     rbx, rax
        call    show

        hlt                             ; VM exit: HLT

show:
        mov     eax, HYPERCALL_SHOW
        vmcall                          ; VM exit: VMCALL
        ret
        align   4096

; ─────────────────────────────────────────────────────────────── data

        section .data
        align   8
next_free_page: dq free_pages

        section .bss
vmxon_region:   resb 4096
vmcs:           resb 4096

ept_pml4:       resb 4096
ept_pdpt:       resb 4096
ept_directory:  resb 4096
ept_table:      resb 4096

guest_tables:   resb 4 * 4096           ; guest-physical 0000 to 3FFF
guest_stack:    resb 4096
free_pages:     resb 4 * 4096           ; for handle_ept_violation to give away
free_pages_end:

vmx_pointer:    resq 1                  ; VMXON, VMCLEAR and VMPTRLD take their address from memory
invept_descriptor: resq 2               ; an EPT pointer, and zero
device_register: resd 1
                alignb 16
tss:            resb TSS_LIMIT + 1
TSS_LIMIT       equ 103
bss_end:
