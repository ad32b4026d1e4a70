; SMEP and SMAP: what the supervisor may neither fetch nor read nor write, in pages of all sizes.
;
; QEMU tells an access that reads and writes as a read, and takes LOCK STAC for STAC: these are not asked.
;
; Intel SDM volume 3, "Access Rights"; "Page-Fault Exceptions"; volume 2, "CLAC", "STAC".

%define WITHOUT_RF              ; which QEMU does not save
%define WITHOUT_SS              ; which it makes null with an interrupt stack
%include "kit-64.inc"
%include "user-pages.inc"

WP              equ 1 << 16
NXE             equ 1 << 11

USER_PAGE       equ SMALL
USER_NX         equ SMALL + 1000h
SUPERVISOR_NX   equ SMALL + 2000h
SUPERVISOR      equ SMALL + 3000h
ABSENT          equ SMALL + 4000h
SUPERVISOR_GIB  equ 8000_0000h          ; by its PDPTE; the entries below it are those of the first GiB
NX              equ 1 << 63

%macro no_execute 1
        mov     ecx, IA32_EFER
        rdmsr
        and     eax, ~NXE
    %if %1
        or      eax, NXE
    %endif
        wrmsr
%endmacro
%macro fetch 1
        mov     rax, %1
        jmp     rax
%endmacro
main:   set_up_pages
        pte     USER_PAGE, USER_PAGE + 7
        pte     USER_NX, USER_PAGE + 7          ; NX is set later
        pte     SUPERVISOR_NX, USER_PAGE + 3
        pte     SUPERVISOR, USER_PAGE + 3
        mov     dword [tables + 1000h + 8 * 2], tables + 2000h + 3
        flush
        mov     rax, 0EBFEh << 32 | 20CD9090h   ; NOP, NOP, INT 20H
        mov     [USER_AREA], rax
        mov     [USER_PAGE], rax
        attempt "CPUID: UMIP, SMAP, SMEP"
        mov     eax, 7
        xor     ecx, ecx
        cpuid
        and     ebx, SMAP >> 1 | 1 << 7
        and     ecx, 1 << 2
        or      ebx, ecx
        found
next:
        attempt "fetches without SMEP"
        fetch   USER_AREA
next:   attempt "of an absent page, with neither SMEP nor NXE"
        fetch   ABSENT
next:   attempt "of a supervisor's page in ring 3"
        in_user FLAG_1
        fetch   SUPERVISOR
next:   no_execute 1
        pte     USER_NX, NX | USER_PAGE + 7
        pte     SUPERVISOR_NX, NX | USER_PAGE + 3
        flush
        attempt "of an absent page, with NXE"
        fetch   ABSENT
next:   no_execute 0
        control cr4, 0, SMEP
        attempt "of an absent page, with SMEP"
        fetch   ABSENT
next:   its_address
        attempt "of a supervisor's page in ring 3, with SMEP"
        in_user FLAG_1
        fetch   SUPERVISOR
next:   attempt "of a page of 2 MiB that was fetched from before"
        fetch   USER_AREA
next:   its_address
        attempt "4 KiB"
        fetch   USER_PAGE + 1
next:   its_address
        attempt "1 GiB"
        fetch   USER_GIB + USER_AREA
next:   attempt "the supervisor's by its PDPTE"
        fetch   SUPERVISOR_GIB + USER_AREA
next:   attempt "the supervisor's by its PTE"
        fetch   SUPERVISOR
next:   attempt "in ring 3"
        in_user FLAG_1
        fetch   USER_AREA
next:   no_execute 1
        attempt "with NX, the user's"
        fetch   USER_NX
next:   attempt "with NX, the user's in ring 3"
        in_user FLAG_1
        fetch   USER_NX
next:   attempt "with NX, the supervisor's"
        fetch   SUPERVISOR_NX
next:   attempt "with NX, the supervisor's in ring 3"
        in_user FLAG_1
        fetch   SUPERVISOR_NX
next:   attempt "without CR0.WP"
        control cr0, WP, 0
        fetch   USER_AREA
next:   control cr0, 0, WP
        attempt "with AC"
        stac
        fetch   USER_AREA
next:   clac
        attempt "data of that page"
        mov     rbx, [USER_AREA]
        found
next:   attempt "an instruction in two pages"
        pte     SUPERVISOR_NX, USER_PAGE + 3
        pte     SUPERVISOR, USER_PAGE + 7       ; the second one is the user's
        flush
        mov     word [SUPERVISOR - 1], 3FBBh    ; MOV EBX, imm32
        fetch   SUPERVISOR - 1
next:   its_address
        attempt "the handler of an interrupt"
        mov     word [idt + 16 * 21h], USER_AREA & 0FFFFh
        mov     word [idt + 16 * 21h + 6], USER_AREA >> 16
        int     21h
next:   attempt "IRETQ"
        push    DATA
        push    stack_top
        push    FLAG_1
        push    CODE
        push    USER_AREA
        iretq
next:   attempt "compatibility mode in ring 0"
        mov     byte [gdt + CODE_32 + 6], 0CFh
        push    CODE_32
        push    USER_AREA
        retfq
next:   control cr4, SMEP, 0
        attempt "without SMEP again"
        fetch   USER_AREA
next:
        attempt "CLAC and STAC without SMAP"
        stac
        pushfq
        pop     rbx
        clac
        pushfq
        pop     rcx
        xor     rbx, rcx
        found
next:   attempt "STAC in ring 3"
        in_user FLAG_1
        stac
next:   attempt "CLAC in ring 3"
        in_user FLAG_1
        clac
next:   control cr4, 0, SMAP
        attempt "with SMAP a read, 2 MiB"
        mov     rbx, [USER_AREA]
next:   its_address
        attempt "a write"
        mov     dword [USER_AREA + 5], 1
next:   attempt "4 KiB"
        movzx   ebx, byte [USER_PAGE + 3]
next:   its_address
        attempt "1 GiB"
        mov     eax, USER_GIB
        mov     rbx, [rax + main]
next:   attempt "the supervisor's by its PDPTE"
        mov     eax, SUPERVISOR_GIB
        mov     rbx, [rax + USER_AREA]
        found
next:   attempt "without CR0.WP a write"
        control cr0, WP, 0
        mov     byte [USER_AREA + 5], 1
next:   control cr0, 0, WP
        attempt "a fetch"
        fetch   USER_AREA
next:   attempt "string instructions: the destination"
        mov     esi, main
        mov     edi, USER_AREA - 6
        mov     ecx, 9
        mov     byte [tables + 2000h + 8 * (USER_AREA / 200000h - 1)], 83h
        invlpg  [USER_AREA - 6]
        rep     movsb
next:   attempt "what is left"
        mov     rbx, rcx
        shl     rbx, 32
        or      rbx, rdi
        found
next:   attempt "a push"
        mov     esp, USER_AREA + 100h
        push    rax
next:   its_address
        attempt "a call"
        mov     esp, USER_AREA + 100h
        call    main
next:   attempt "an interrupt on that stack"
        mov     esp, USER_AREA + 100h
        int     20h
next:   attempt "a page fault on that stack"
        fault_stack 0
        mov     esp, USER_AREA + 100h
        push    rax
next:   fault_stack 1
        attempt "XLAT"
        mov     ebx, USER_AREA
        xlatb
next:   attempt "with AC a read"
        stac
        mov     rbx, [USER_AREA]
        found
next:   attempt "a write, 4 KiB"
        stac
        mov     byte [USER_PAGE + 8], 77h
        movzx   ebx, byte [USER_PAGE + 8]
        found
next:   attempt "1 GiB"
        stac
        mov     eax, USER_GIB + USER_AREA
        lock inc dword [rax + 8]
        mov     rbx, [rax + 8]
        found
next:   attempt "a push"
        stac
        mov     esp, USER_AREA + 100h
        push    123h
        pop     rbx
        found
next:   attempt "the AC of POPFQ"
        push    FLAG_AC | FLAG_1
        popfq
        mov     rbx, [USER_AREA]
        found
next:   attempt "and it is gone"
        push    FLAG_1
        popfq
        mov     rbx, [USER_AREA]
next:   attempt "with CR0.AM as well"
        control cr0, 0, 1 << 18
        stac
        mov     rbx, [USER_AREA + 1]
        found
next:   control cr0, 1 << 18, 0
        clac
        attempt "in ring 3"
        in_user FLAG_1
        mov     rbx, [USER_AREA]
        found
next:   attempt "a supervisor's page in ring 3 with AC"
        in_user FLAG_1 | FLAG_AC
        mov     eax, SUPERVISOR_GIB
        mov     rbx, [rax]
next:   its_address
        exit    0
        end_of_guest
