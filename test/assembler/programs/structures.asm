        bits 32
struc point
  .x:   resd 1
  .y:   resd 1
  .name: resb 10
        alignb 4
  .end:
endstruc
struc header, 8
hdr_a:  resw 1
hdr_b   resq 1
endstruc
        mov eax, [ebx + point.y]
        mov eax, point_size
        mov eax, hdr_b
        dd header_size, header, point
origin: istruc point
          at point.x, dd 1
          at point.y, dd 2
          at point.name, db 'hello'
        iend
second: istruc point
          at .y, dd 3
        iend
        dd second - origin
        align 16
        align 8
        alignb 4
        db 1
        align 4, db 0xcc
        align 32, nop
