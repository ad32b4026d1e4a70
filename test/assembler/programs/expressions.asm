        bits 64
x       equ 5
y       equ later * 2
later   equ 21
        dq 1 + 2 * 3, (1 + 2) * 3, -7 / 2, -7 // 2, 7 % 3, -7 %% 3, 1 << 4 | 3, ~0, !5, !0
        dq 5 & 3, 5 ^ 3, 5 | 3, 1 << 63 >> 63, -1 >>> 4, 3 > 2, 2 >= 3, 2 == 2, 2 != 2, 1 && 0, 1 || 0, 1 ^^ 1
        dq x ? 3 : 4, 0 ? 3 : 1 ? 5 : 6
        dq 200, 0200, 0200d, 0d200, 0c8h, $0c8, 0xc8, 0hc8, 310q, 310o, 0o310, 0q310, 11001000b, 0b1100_1000, 0y11001000, 1_000
        db 'a', "b", `c`, 'ab', ''
        dw 'ab', 'abc'
        dd 'abcd', 'a', 'abcde'
        dq 'abcdefgh', 'abc'
        db 1.0, -2.5
        dw 1.5, -0.0
        dd 1.5, 3.14159265358979, 1e10, -1e-10, 1.e5, 0x1.8p3, __Infinity__, __QNaN__, 1e-45, 3.4e38
        dq 1.5, 3.14159265358979, 1e300, 5e-324, 2.2250738585072014e-308, 0.1, 1_000.5
        dt 1.5, 3.14159265358979323846, -1e-4000, 1.0, 0.0
        dq x, y, later, $ - $$, end - $, (end - $$) / 2
        mov rax, 'abcd'
        mov eax, x + y
        add rax, later
        add rax, x
        mov byte [rax + x * 4], -x
        lea rax, [rbx + rcx * (x - 1) + end - $$]
        cmp eax, (1 << 31) - 1
        db 3 dup (1, 2), 2 dup (0)
        dw 4 dup ?
        db 5,
        times 4 - x + 3 db 9
        times x db x
        times 2 times 3 db 1
$eax:   dq $eax
.local: dq .local, $eax.local
..@special: dq ..@special
other:
.local: dq .local, eax_alias
eax_alias equ $eax
end:
