; paging: pages of three sizes, the bits the CPU writes into page tables, and a TLB that remembers too well.
;
; Three linear addresses in the otherwise empty second half-terabyte are mapped to the same 1 MiB of physical memory,
; by a 4 KiB, a 2 MiB and a 1 GiB page. The program reads and writes through each and prints the entry that maps the
; page before and after: the CPU sets A (accessed, bit 5) at the first use and D (dirty, bit 6) at the first write.
;
; Then it makes the mistake that every kernel makes once: it changes a page-table entry and forgets INVLPG.
;
;     linear address     page    maps physical   by
;     0000008000000000   4 KiB   page_a          PML4[1] → window_pdpt[0] → window_directory[0] → window_table[0]
;     0000008000200000   2 MiB   0               PML4[1] → window_pdpt[0] → window_directory[1]
;     0000008040000000   1 GiB   0               PML4[1] → window_pdpt[1]
;
; Enter any of these addresses in the Translation panel to see the walk.
;
; Intel SDM volume 3: "4-Level Paging and 5-Level Paging", "Accessed and Dirty Flags", "Caching Translation
; Information".

%include "../include/long-mode.inc"
%include "../include/console.inc"

WINDOW_4K       equ 8000000000h
WINDOW_2M       equ 8000200000h
WINDOW_1G       equ 8040000000h

PAGE1GB         equ 1 << 26             ; CPUID.80000001H:EDX: the CPU has 1 GiB pages

; show_entry TEXT, ENTRY: prints a text and a page-table entry.
%macro show_entry 2
        say     %1
        mov     rax, [%2]
        call    print_line
%endmacro

; show_page TITLE, WINDOW, ENTRY, OFFSET: reads and writes the quadword at WINDOW + OFFSET, which is in page_a
; however it is reached, and shows what that does to ENTRY, which maps WINDOW.
%macro show_page 4
        say     %1, 10
        mov     rbx, %2 + %4
        show_entry '  entry, untouched      ', %3
        say     '  reads                 '
        mov     rax, [rbx]              ; STOP HERE: a read sets A
        call    print_line
        show_entry '  entry after the read  ', %3
        inc     qword [rbx]             ; STOP HERE: a write sets D
        show_entry '  entry after the write ', %3
%endmacro

; ─────────────────────────────────────────────────────────────── the program

main:
        call    build_window

        show_page '4 KiB page', WINDOW_4K, window_table, 0
        show_page '2 MiB page', WINDOW_2M, window_directory + 8, page_a
        mov     eax, 80000001h
        cpuid
        test    edx, PAGE1GB
        jz      .no_1g
        show_page '1 GiB page', WINDOW_1G, window_pdpt + 8, page_a
        jmp     .stale
.no_1g:
        say     '1 GiB page', 10, '  not on this CPU', 10

; The mistake. The TLB holds WINDOW_4K → page_a from the reads above. The table now says page_b, and the CPU does not
; look: as long as the translation is cached it may use it, for ever, and it need not tell anybody.
.stale:
        say     'A stale TLB entry', 10
        mov     rbx, WINDOW_4K
        mov     qword [page_a], 0AAAAh
        mov     qword [page_b], 0BBBBh
        say     '  mapped to page A, reads '
        mov     rax, [rbx]
        call    print_line

        mov     qword [window_table], page_b + PAGE_RW + PAGE_P
        say     '  PTE says page B, reads  '
        mov     rax, [rbx]              ; STOP HERE: the TLB view marks the entry as stale
        call    print_line

        invlpg  [rbx]                   ; STOP HERE: step over this, the entry is gone
        say     '  after INVLPG, reads     '
        mov     rax, [rbx]
        call    print_line
        exit    0

; Links the three windows into the page tables that long-mode.inc has made.
build_window:
        mov     qword [pml4 + 8], window_pdpt + PAGE_RW + PAGE_P
        mov     qword [window_pdpt], window_directory + PAGE_RW + PAGE_P
        mov     qword [window_pdpt + 8], 0 + PAGE_PS + PAGE_RW + PAGE_P
        mov     qword [window_directory], window_table + PAGE_RW + PAGE_P
        mov     qword [window_directory + 8], 0 + PAGE_PS + PAGE_RW + PAGE_P
        mov     qword [window_table], page_a + PAGE_RW + PAGE_P
        mov     qword [page_a], 1001h
        ret

; Prints RAX and ends the line.
print_line:
        call    print_hex
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

        define_print print
        define_print_hex print_hex, rax, 16

; ─────────────────────────────────────────────────────────────── memory

        section .bss
window_pdpt:      resb 4096
window_directory: resb 4096
window_table:     resb 4096
page_a:           resb 4096
page_b:           resb 4096
bss_end:
