; Nested paging: which accesses the host's page tables refuse, and what the exit tells.
;
; AMD64 APM volume 2, "Nested Paging".

%include "svm-kit.inc"

PLAYGROUND      equ 800000h             ; 2 MiB of guest-physical memory in pages of 4 KiB
SPARE_TABLES    equ 0A00000h            ; guest page tables of some attempts: from here on in pages of 2 MiB
NX              equ 1 << 63

; entry PAGE, VALUE: the nested entry of a page of the playground.
%macro entry 2
        mov     rax, %2
        mov     [nested_table + 8 * (%1)], rax
%endmacro

%macro nested_guest 1
        guest   %1
        call    nest
%endmacro

main:
        call    enable_svm
        mov     ecx, IA32_EFER
        rdmsr
        or      eax, 1 << 11
        wrmsr
        call    build_nested

        say     "a guest under nested paging", 10
        nested_guest reads
        call    enter
        say     "a page that is not present", 10
        entry   0, 0
        nested_guest reads
        call    enter
        say     "a write to one", 10
        nested_guest writes
        call    enter
        say     "a fetch from one", 10
        nested_guest jumps
        call    enter
        say     "a page for reading only", 10
        entry   0, PLAYGROUND + 5
        nested_guest reads
        call    enter
        nested_guest writes
        call    enter
        say     "a page of the supervisor", 10
        entry   0, PLAYGROUND + 3
        nested_guest reads
        call    enter
        say     "a page not to be executed", 10
        entry   0, NX + PLAYGROUND + 7
        nested_guest reads
        call    enter
        nested_guest jumps
        call    enter
        say     "another page", 10
        entry   0, PLAYGROUND + 1007h
        mov     dword [PLAYGROUND + 1000h], 77777777h
        mov     dword [PLAYGROUND], 11111111h
        nested_guest reads
        call    enter
        say     "accessed and dirty", 10
        entry   0, PLAYGROUND + 7
        entry   1, PLAYGROUND + 1007h
        entry   2, PLAYGROUND + 2007h
        nested_guest writes
        mov     byte [vmcb + TLB_CONTROL], 1
        call    enter
        mov     rbx, [nested_table]
        show    "  written ", rbx
        mov     rbx, [nested_table + 8]
        show    " not touched ", rbx
        call    new_line
        nested_guest reads_third
        call    enter
        mov     rbx, [nested_table + 16]
        show    "  read ", rbx
        mov     rbx, [nested]
        show    " and above ", rbx
        call    new_line

        say     "guest page tables that are not present", 10
        entry   3, 0
        nested_guest reads
        mov     qword [rdi + STATE_CR3], PLAYGROUND + 3000h
        call    enter
        say     "guest page tables for reading only", 10
        mov     esi, tables
        mov     edi, PLAYGROUND + 3000h
        mov     ecx, 4096 / 8
        rep     movsq
        entry   3, PLAYGROUND + 3005h
        nested_guest reads
        mov     qword [rdi + STATE_CR3], PLAYGROUND + 3000h
        call    enter
        say     "guest page tables of the supervisor", 10
        entry   3, PLAYGROUND + 3003h
        nested_guest reads
        mov     qword [rdi + STATE_CR3], PLAYGROUND + 3000h
        call    enter
        say     "guest page tables that are writable", 10
        entry   3, PLAYGROUND + 3007h
        nested_guest reads
        mov     qword [rdi + STATE_CR3], PLAYGROUND + 3000h
        call    enter
        mov     rbx, [nested_table + 24]
        show    "  the entry of the table ", rbx
        call    new_line

        say     "beyond what the tables map", 10
        nested_guest reads_far
        call    enter

        say     "the guest's own page fault comes first", 10
        entry   0, 0
        nested_guest reads_unmapped
        mov     dword [rdi + INTERCEPT_EXCP], 1 << 14
        call    enter

        say     "while an exception is delivered", 10
        entry   4, 0
        nested_guest undefined
        mov     dword [rdi + INTERCEPT_EXCP], 0
        mov     qword [rdi + STATE_IDTR + 8], PLAYGROUND + 4000h
        call    enter

        say     "a guest without paging", 10
        entry   0, PLAYGROUND + 1007h
        nested_guest unpaged
        mov     qword [rdi + STATE_CR0], 11h
        mov     qword [rdi + STATE_EFER], EFER_SVME
        mov     qword [rdi + STATE_CR4], 0
        mov     dword [rdi + STATE_CS], CODE_32 | 0C9Bh << 16
        call    enter
        entry   0, 0
        nested_guest unpaged
        mov     qword [rdi + STATE_CR0], 11h
        mov     qword [rdi + STATE_EFER], EFER_SVME
        mov     qword [rdi + STATE_CR4], 0
        mov     dword [rdi + STATE_CS], CODE_32 | 0C9Bh << 16
        call    enter

        exit    0

reads:  mov     eax, [PLAYGROUND + 8 - 8]
        vmmcall
reads_third:
        mov     eax, [PLAYGROUND + 2000h]
        vmmcall
writes: mov     dword [PLAYGROUND], 0F4F4F4F4h
        vmmcall
jumps:  mov     eax, PLAYGROUND + 10h
        jmp     rax
reads_far:
        mov     eax, 0FFFFF000h
        mov     eax, [rax]
        vmmcall
reads_unmapped:
        mov     rax, 7000_0000_0000h
        mov     eax, [rax]
        vmmcall
undefined:
        ud2

        bits    32
unpaged:
        mov     eax, [PLAYGROUND]
        mov     ecx, cr0
        vmmcall
        bits    64

; The guest of the VMCB at RDI uses the nested tables.
nest:   mov     qword [rdi + NP_ENABLE], 1
        mov     qword [rdi + N_CR3], nested
        ret

; 16 MiB one to one, the playground in small pages.
build_nested:
        map_nested
        map_playground
        ret

        section .bss
        alignb  4096
nested: resb    3 * 4096
nested_table:
        resb    4096
        section .text

        end_of_guest
