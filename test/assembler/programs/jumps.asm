; Chains of jumps whose sizes depend on each other.
        bits 32
a0:     jmp z0
        jz b0
        jnz near b0
        jmp short a1
a1:     call z0
        loop a1
        jecxz a1
        times 100 nop
b0:     jmp a0
        jc z1
        times 20 nop
        jmp near a1
        jmp strict a1
c0:     times 90 nop
        jmp c0
        jmp z0
        jz c0
%assign i 0
%rep 60
l%[i]:  jmp last_one
  %if i % 3 == 0
        jz m%[i]
  %endif
        times i db i
m%[i]:
  %assign i i + 1
%endrep
last_one: nop
z0:     ret
z1:     bits 16
        jmp a0
        jz z0
        jcxz z1
        jecxz z1
        call z0
        jmp dword z0
        call dword z0
        jmp word z0
        bits 64
        jmp z0
        jz a0
        call z0
        jrcxz z1
        jecxz z1
        loop z1, ecx
        jmp [rel z1]
        call [z1]
        jmp qword [rax]
        jmp far [rax]
        bits 32
        jmp 8:z0
        jmp word 8:0x1234
        jmp dword 8:z0
        call 0x18:z1
        jmp far [eax]
        call far word [eax]
        jmp 0x12345678
        call 0x1000
        je 0x1000
        times 3 jmp z1
        rep movsb
        repne scasb
        lock add dword [eax], 1
        lock cmpxchg8b [esi]
        es lodsb
        a16 lodsb
        o16 iret
        repz
        ret
