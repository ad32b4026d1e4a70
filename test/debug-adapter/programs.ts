/** Guest programs of the tests. Their lines are found by marker comments. */

/** A boot sector that calls, loops, takes an interrupt and ends with exit code 0. */
export const boot = `
        bits 16
        org 0x7c00
start:
        xor ax, ax                      ; entry
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        mov word [0x80 * 4], handler
        mov word [0x80 * 4 + 2], 0
        mov cx, 3                       ; before the loop
.again:
        call add_two                    ; the call
        loop .again                     ; the loop
        int 0x80                        ; the interrupt
        mov si, text                    ; after the interrupt
        call print                      ; the print
        mov al, 0                       ; the end
        out 0xf4, al
        hlt

; Empty lines have no code.

add_two:
        add ax, 2                       ; in add_two
        mov [counter], ax               ; the store
        ret                             ; the return

handler:
        mov bx, 0x1234                  ; in the handler
        iret

print:
        lodsb
        test al, al
        jz .done
        out 0xe9, al
        jmp print
.done:
        ret

counter: dw 0
text:   db 'Hello', 10, 0
SIZE    equ 42
`;

/** Runs for ever. */
export const forever = `
        bits 32
        org 0x100000
main:
        inc eax                         ; the loop
        jmp main
`;
