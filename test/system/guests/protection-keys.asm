; Protection keys: PKRU for pages of the user, IA32_PKRS for those of the supervisor.
;
; Intel SDM volume 3, "Protection Keys", "Page-Fault Exceptions".

%define WITHOUT_RF              ; which QEMU does not save
%include "kit-64.inc"

IA32_PKRS       equ 6E1h
PKE             equ 1 << 22
PKS             equ 1 << 24
WP              equ 1 << 16
USER_PAGE       equ 800000h             ; key 3
SUPERVISOR_AREA equ 0A00000h            ; key 5
READ_ONLY_AREA  equ 0C00000h            ; of the supervisor, key 6
USER_KEY        equ 3
SUPERVISOR_KEY  equ 5
READ_ONLY_KEY   equ 6
ACCESS_DISABLE  equ 1
WRITE_DISABLE   equ 2

; Each PKRU or PKRS leaves key 0 open.
%macro pkru 1
        xor     ecx, ecx
        xor     edx, edx
        mov     eax, %1
        wrpkru
%endmacro
%macro pkrs 1
        mov     ecx, IA32_PKRS
        xor     edx, edx
        mov     eax, %1
        wrmsr
%endmacro
; page ADDRESS, KEY, RIGHTS
%macro page 3
        mov     rax, (%2 << 59) | %1 | 80h | %3
        mov     [tables + 2000h + 8 * (%1 / 200000h)], rax
        invlpg  [%1]
%endmacro
%macro found 0
        mov     rbx, [rsi]
        int     20h
%endmacro
%macro write_protect 1
        mov     rax, cr0
        and     rax, ~WP
    %if %1
        or      rax, WP
    %endif
        mov     cr0, rax
%endmacro

main:
        page    USER_PAGE, USER_KEY, 7
        page    SUPERVISOR_AREA, SUPERVISOR_KEY, 3
        page    READ_ONLY_AREA, READ_ONLY_KEY, 1
        mov     qword [USER_PAGE], 1111h
        mov     qword [SUPERVISOR_AREA], 0CCh   ; INT3
        attempt "WRPKRU without CR4.PKE"
        pkru    0
next:   mov     rax, cr4
        or      rax, PKE
        mov     cr4, rax
        attempt "WRPKRU with ECX not 0"
        mov     ecx, 1
        xor     edx, edx
        wrpkru
next:   attempt "WRPKRU with EDX not 0"
        xor     ecx, ecx
        mov     edx, 1
        wrpkru
next:   attempt "access disabled, a read in ring 0"
        mov     esi, USER_PAGE
        pkru    ACCESS_DISABLE << (2 * USER_KEY)
        found
next:   attempt "in ring 3"
        in_ring_3 FLAG_1
        mov     esi, USER_PAGE
        found
next:   attempt "a write in ring 3"
        in_ring_3 FLAG_1
        mov     byte [USER_PAGE], 1
next:   attempt "the supervisor's page is not PKRU's"
        pkru    -4
        mov     esi, SUPERVISOR_AREA
        found
next:   attempt "writes disabled, a read in ring 3"
        pkru    WRITE_DISABLE << (2 * USER_KEY)
        in_ring_3 FLAG_1
        mov     esi, USER_PAGE
        found
next:   attempt "a write in ring 3"
        in_ring_3 FLAG_1
        mov     byte [USER_PAGE], 1
next:   attempt "a write in ring 0"
        mov     byte [USER_PAGE], 2
next:   attempt "a write in ring 0 without CR0.WP"
        write_protect 0
        mov     esi, USER_PAGE
        mov     byte [rsi], 2
        found
next:   attempt "a write in ring 3 without CR0.WP"
        in_ring_3 FLAG_1
        mov     byte [USER_PAGE], 3
next:   write_protect 1
        pkru    0
        attempt "IA32_PKRS without CR4.PKS denies nothing"
        pkrs    -4
        mov     esi, SUPERVISOR_AREA
        found
next:   mov     rax, cr4
        or      rax, PKS
        mov     cr4, rax
        mov     rax, cr3                ; for QEMU, which would keep translating
        mov     cr3, rax
        attempt "what was written before counts with it"
        mov     esi, SUPERVISOR_AREA
        found
next:   attempt "bits 63:32 of IA32_PKRS are reserved"
        mov     ecx, IA32_PKRS
        xor     eax, eax
        mov     edx, 1
        wrmsr
next:   attempt "access disabled, a read in ring 0"
        pkrs    ACCESS_DISABLE << (2 * SUPERVISOR_KEY)
        mov     esi, SUPERVISOR_AREA
        found
next:   attempt "a write in ring 0"
        mov     byte [SUPERVISOR_AREA], 0CCh
next:   attempt "a fetch"
        mov     eax, SUPERVISOR_AREA
        jmp     rax
next:   attempt "a read in ring 3"
        in_ring_3 FLAG_1
        mov     esi, SUPERVISOR_AREA
        found
next:   attempt "a read of a page of another key"
        mov     esi, READ_ONLY_AREA
        found
next:   attempt "a page of the user is not its"
        pkrs    -4
        mov     esi, USER_PAGE
        found
next:   attempt "writes disabled, a read"
        pkrs    WRITE_DISABLE << (2 * SUPERVISOR_KEY) | WRITE_DISABLE << (2 * READ_ONLY_KEY)
        mov     esi, SUPERVISOR_AREA
        found
next:   attempt "a write"
        mov     byte [SUPERVISOR_AREA], 0CCh
next:   attempt "a write to what is read-only besides"
        mov     byte [READ_ONLY_AREA], 0
next:   attempt "a write without CR0.WP"
        write_protect 0
        mov     esi, SUPERVISOR_AREA
        mov     byte [rsi], 0CDh
        found
next:   write_protect 1
        attempt "RDMSR"
        mov     ecx, IA32_PKRS
        rdmsr
        mov     ebx, eax
        int     20h
next:   exit    0

        end_of_guest
