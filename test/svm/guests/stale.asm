; Translations that are used after the tables have changed: nested ones by the host, the guest's own by itself.
;
; AMD64 APM volume 2, "TLB Control".

%include "svm-kit.inc"

PLAYGROUND      equ 800000h             ; its first page of 4 KiB by the nested tables
ELSEWHERE       equ 8000000000h         ; maps to it by the guest's tables

main:
        call    enable_svm
        call    build_nested
        guest   reads_twice
        mov     byte [rdi + TLB_CONTROL], 0
        mov     qword [rdi + NP_ENABLE], 1
        mov     qword [rdi + N_CR3], nested
        call    enter
        mov     edi, vmcb
        add     qword [rdi + STATE_RIP], 3
change: mov     qword [nested_table], PLAYGROUND + 1007h
        call    enter                   ; TLB_CONTROL is 0

        mov     edi, vmcb
        mov     byte [rdi + TLB_CONTROL], 3
        sub     qword [rdi + STATE_RIP], reads_end - reads_again
        call    enter

        guest   remaps
        call    enter
        exit    0

reads_twice:
        mov     eax, [PLAYGROUND]
        vmmcall
reads_again:
        mov     eax, [PLAYGROUND]
reads_end:
        vmmcall

remaps: mov     rax, cr3
        mov     qword [rax + 8], own + 7
        mov     qword [own], own + 1000h + 7
        mov     qword [own + 1000h], own + 2000h + 7
        mov     qword [own + 2000h], PLAYGROUND + 7
        mov     rbx, ELSEWHERE
        mov     eax, [rbx]
        mov     qword [own + 2000h], PLAYGROUND + 1007h
        mov     eax, [rbx]
        vmmcall

; 16 MiB one to one, the first page of the playground by itself.
build_nested:
        map_nested
        mov     qword [nested_table], PLAYGROUND + 7
        mov     qword [nested_table + 8], PLAYGROUND + 1007h
        ret

        section .bss
        alignb  4096
nested: resb    3 * 4096
nested_table:
        resb    4096
own:    resb    3 * 4096
        section .text

        end_of_guest
