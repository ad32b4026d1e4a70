; What a VMCB intercepts, but for what QEMU's TCG lets pass (INVD, RDTSCP, INT1, INT3), before or after which faults, and what the exits tell. Exits of instructions leave RIP at them.
;
; AMD64 APM volume 2, "Instruction Intercepts", "IOIO Intercepts", "MSR Intercepts", "Exception Intercepts".

%include "svm-kit.inc"

; on_3 BIT, LABEL, TITLE and on_4 the same: runs the guest with an intercept.
%macro on_3 3
        say     %3, 10
        guest   %2
        or      dword [rdi + INTERCEPT_3], %1
        call    enter
%endmacro
%macro on_4 3
        say     %3, 10
        guest   %2
        or      dword [rdi + INTERCEPT_4], %1
        call    enter
%endmacro

%macro ring_3 0
        mov     byte [rdi + STATE_CPL], 3
        mov     dword [rdi + STATE_CS], USER_CODE | 0AFBh << 16
        mov     dword [rdi + STATE_SS], USER_DATA | 0CF3h << 16
%endmacro

main:
        call    enable_svm
        on_3    I_CPUID, .cpuid, "CPUID"
        on_3    I_HLT, .hlt, "HLT"
        on_3    I_RDTSC, .rdtsc, "RDTSC"
        on_3    I_PUSHF, .pushf, "PUSHF"
        on_3    I_POPF, .popf, "POPF"
        on_3    I_IRET, .iret, "IRET"
        on_3    I_SWINT, .int, "INT"
        on_3    I_PAUSE, .pause, "PAUSE"
        on_3    I_RDPMC, .rdpmc, "RDPMC"
        on_3    I_INVLPGA, .invlpga, "INVLPGA"
        on_3    I_IDTR_READ, .sidt, "SIDT"
        on_3    I_IDTR_READ << 1, .sgdt, "SGDT"
        on_3    I_IDTR_READ << 2, .sldt, "SLDT"
        on_3    I_IDTR_READ << 3, .str, "STR"
        on_3    I_IDTR_READ << 4, .lidt, "LIDT"
        on_3    I_IDTR_READ << 5, .lgdt, "LGDT"
        on_3    I_IDTR_READ << 6, .lldt, "LLDT"
        on_3    I_TR_WRITE, .ltr, "LTR"
        on_4    I_WBINVD, .wbinvd, "WBINVD"
        on_4    I_MONITOR, .monitor, "MONITOR"
        on_4    I_MWAIT, .mwait, "MWAIT"
        on_4    I_VMRUN, .vmrun, "VMRUN"
        on_4    I_VMLOAD, .vmload, "VMLOAD"
        on_4    I_VMSAVE, .vmsave, "VMSAVE"
        on_4    I_STGI, .stgi, "STGI"
        on_4    I_CLGI, .clgi, "CLGI"

        say     "nothing is intercepted", 10
        guest   .cpuid
        call    enter
        guest   .sidt
        call    enter

        say     "control registers", 10
        guest   .read_cr0
        mov     dword [rdi + INTERCEPT_CR], 1
        call    enter
        guest   .smsw
        mov     dword [rdi + INTERCEPT_CR], 1
        call    enter
        guest   .write_cr0
        mov     dword [rdi + INTERCEPT_CR], 1 << 16
        call    enter
        guest   .clts
        mov     dword [rdi + INTERCEPT_CR], 1 << 16
        call    enter
        guest   .lmsw
        mov     dword [rdi + INTERCEPT_CR], 1 << 16
        call    enter
        guest   .read_cr3
        mov     dword [rdi + INTERCEPT_CR], 1 << 3
        call    enter
        guest   .write_cr3
        mov     dword [rdi + INTERCEPT_CR], 1 << 19
        call    enter
        guest   .write_cr4
        mov     dword [rdi + INTERCEPT_CR], 1 << 20
        call    enter
        guest   .read_cr8
        mov     dword [rdi + INTERCEPT_CR], 1 << 8
        call    enter
        guest   .write_cr8
        mov     dword [rdi + INTERCEPT_CR], 1 << 24
        call    enter
        say     "CR0 by its bits: TS, then WP", 10
        guest   .write_ts
        or      dword [rdi + INTERCEPT_3], I_CR0_SEL
        call    enter
        guest   .write_wp
        or      dword [rdi + INTERCEPT_3], I_CR0_SEL
        call    enter

        say     "debug registers", 10
        guest   .read_dr2
        mov     dword [rdi + INTERCEPT_DR], 1 << 2
        call    enter
        guest   .write_dr7
        mov     dword [rdi + INTERCEPT_DR], 1 << 23
        call    enter

        say     "ports", 10
        guest   .in_8
        or      dword [rdi + INTERCEPT_3], I_IOIO
        call    enter
        or      byte [io_map + 80h / 8], 1
        guest   .in_8
        or      dword [rdi + INTERCEPT_3], I_IOIO
        call    show_io
        guest   .out_16
        or      dword [rdi + INTERCEPT_3], I_IOIO
        call    show_io
        guest   .out_32
        or      dword [rdi + INTERCEPT_3], I_IOIO
        call    show_io
        guest   .rep_outs
        or      dword [rdi + INTERCEPT_3], I_IOIO
        call    show_io
        guest   .ins
        or      dword [rdi + INTERCEPT_3], I_IOIO
        call    show_io
        say     "a port that ring 3 may not access", 10
        guest   .in_8
        ring_3
        or      dword [rdi + INTERCEPT_3], I_IOIO
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 13
        call    enter

        say     "MSRs", 10
        guest   .rdmsr_efer
        or      dword [rdi + INTERCEPT_3], I_MSR
        call    enter
        or      byte [msr_map + 800h + 80h / 4], 1
        guest   .rdmsr_efer
        or      dword [rdi + INTERCEPT_3], I_MSR
        call    enter
        guest   .wrmsr_efer
        or      dword [rdi + INTERCEPT_3], I_MSR
        call    enter
        or      byte [msr_map + 800h + 80h / 4], 2
        guest   .wrmsr_efer
        or      dword [rdi + INTERCEPT_3], I_MSR
        call    enter
        guest   .rdmsr_none
        or      dword [rdi + INTERCEPT_3], I_MSR
        call    enter

        say     "exceptions", 10
        guest   .ud
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 6
        call    enter
        guest   .gp
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 13
        call    enter
        mov     rax, 5555h
        mov     cr2, rax
        guest   .pf
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 14
        call    enter
        mov     rbx, [vmcb + STATE_CR2]
        show    "  CR2 ", rbx
        call    new_line
        guest   .divide
        mov     dword [rdi + INTERCEPT_EXCP], 1
        call    enter
        say     "privilege comes before the intercept", 10
        guest   .hlt
        ring_3
        or      dword [rdi + INTERCEPT_3], I_HLT
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 13
        call    enter
        say     "but not for CPUID", 10
        guest   .cpuid
        ring_3
        or      dword [rdi + INTERCEPT_3], I_CPUID
        call    enter

        say     "a guest that shuts down", 10
        guest   .ud
        mov     dword [rdi + STATE_IDTR + 4], 0
        call    enter

        exit    0

.cpuid: cpuid
        vmmcall
.hlt:   hlt
        vmmcall
.rdtsc: rdtsc
        vmmcall
.pushf: pushfq
        vmmcall
.popf:  popfq
        vmmcall
.iret:  iretq
        vmmcall
.int:   int     40
        vmmcall
.pause: pause
        vmmcall
.rdpmc: rdpmc
        vmmcall
.invlpga:
        invlpga
        vmmcall
.sidt:  sidt    [scratch]
        vmmcall
.sgdt:  sgdt    [scratch]
        vmmcall
.sldt:  sldt    [scratch]
        vmmcall
.str:   str     [scratch]
        vmmcall
.lidt:  lidt    [scratch]
        vmmcall
.lgdt:  lgdt    [scratch]
        vmmcall
.lldt:  lldt    [scratch]
        vmmcall
.ltr:   ltr     [scratch]
        vmmcall
.wbinvd:
        wbinvd
        vmmcall
.monitor:
        xor     ecx, ecx
        mov     eax, scratch
        monitor
        vmmcall
.mwait: xor     ecx, ecx
        mwait
        vmmcall
.vmrun: mov     eax, other
        vmrun
        vmmcall
.vmload:
        mov     eax, other
        vmload
        vmmcall
.vmsave:
        mov     eax, other
        vmsave
        vmmcall
.stgi:  stgi
        vmmcall
.clgi:  clgi
        vmmcall
.read_cr0:
        mov     rbx, cr0
        vmmcall
.smsw:  smsw    ebx
        vmmcall
.write_cr0:
        mov     cr0, rbx
        vmmcall
.clts:  clts
        vmmcall
.lmsw:  lmsw    bx
        vmmcall
.read_cr3:
        mov     r9, cr3
        vmmcall
.write_cr3:
        mov     cr3, r9
        vmmcall
.write_cr4:
        mov     cr4, rbp
        vmmcall
.read_cr8:
        mov     rdx, cr8
        vmmcall
.write_cr8:
        mov     cr8, rdx
        vmmcall
.write_ts:
        mov     rax, cr0
        or      eax, 8
        mov     cr0, rax
        vmmcall
.write_wp:
        mov     rax, cr0
        btr     rax, 16
        mov     cr0, rax
        vmmcall
.read_dr2:
        mov     rsi, dr2
        vmmcall
.write_dr7:
        mov     dr7, rdi
        vmmcall
.in_8:  xor     eax, eax
        in      al, 80h
        mov     al, 0
        vmmcall
.out_16:
        mov     dx, 7Fh
        out     dx, ax
        vmmcall
.out_32:
        mov     dx, 7Dh
        out     dx, eax
        vmmcall
.rep_outs:
        mov     dx, 80h
        mov     esi, scratch
        mov     ecx, 3
        rep     outsb
        vmmcall
.ins:   mov     dx, 80h
        mov     edi, scratch
        insd
        vmmcall
.rdmsr_efer:
        mov     ecx, IA32_EFER
        rdmsr
        vmmcall
.wrmsr_efer:
        mov     ecx, IA32_EFER
        rdmsr
        wrmsr
        vmmcall
.rdmsr_none:
        mov     ecx, 0C0003000h
        rdmsr
        vmmcall
.ud:    ud2
        vmmcall
.gp:    mov     eax, 0FFF8h
        mov     fs, eax
        vmmcall
.pf:    mov     rax, 7000_0000_0000h
        mov     dword [rax], 1
        vmmcall
.divide:
        xor     ecx, ecx
        div     ecx
        vmmcall

; EXITINFO2 is the address after the instruction: shown from the start of the guest on. QEMU's TCG knows neither address sizes
; nor segments.
IO_NOT_JUDGED   equ 1F80h
show_io:
        mov     eax, vmcb
        vmrun
        and     dword [vmcb + EXITINFO1], ~IO_NOT_JUDGED
        mov     rbx, [vmcb + EXITINFO2]
        sub     rbx, [guest_start]
        mov     [vmcb + EXITINFO2], rbx
        call    show_exit
        ret

        section .bss
        alignb  4096
other:  resb    4096
scratch:
        resb    16
        section .text

        end_of_guest
