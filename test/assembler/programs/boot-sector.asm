; A boot sector: real mode to protected mode to long_mode mode.
        org 0x7c00
        bits 16
COM1    equ 0x3f8
%define STACK_TOP 0x7c00
start:  cli
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, STACK_TOP
        cld
        mov si, message
.next:  lodsb
        test al, al
        jz .done
        mov ah, 0x0e
        mov bx, 7
        int 0x10
        jmp .next
.done:  lgdt [gdt.pointer]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        jmp dword 0x08:protected
        bits 32
protected:
        mov ax, 0x10
        mov ds, ax
        mov edi, 0x1000
        mov cr3, edi
        xor eax, eax
        mov ecx, 4096
        rep stosd
        mov edi, cr3
        mov dword [edi], 0x2003
        add edi, 0x1000
        mov dword [edi], 0x3003
        mov eax, cr4
        or eax, 1 << 5
        mov cr4, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 1 << 8
        wrmsr
        mov eax, cr0
        or eax, 1 << 31
        mov cr0, eax
        lgdt [gdt.pointer]
        jmp 0x18:long_mode
        bits 64
        default rel
long_mode:   mov rsp, STACK_TOP
        lea rsi, [message]
        mov rax, [gdt]
        mov rbx, 0x123456789abcdef
        mov rcx, -1
        mov rdx, 0x80000000
        mov edx, COM1 + 5
.wait:  in al, dx
        test al, 0x20
        jz .wait
        mov dx, COM1
        mov al, [rsi]
        out dx, al
        hlt
        jmp $
        align 8, db 0
gdt:    dq 0
        dq 0x00cf9a000000ffff, 0x00cf92000000ffff
        dq 0x00af9a000000ffff
.end:
.pointer: dw .end - gdt - 1
        dd gdt
message db 'Hello', 13, 10, 0
        times 510-($-$$) db 0
        dw 0xaa55
