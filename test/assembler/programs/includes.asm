        bits 16
        org 0x100
%include "included.inc"
%include "included.inc"
        mov al, INCLUDED
        stringz 'text', 13, 10
        incbin "included.inc", 3, 7
raw:    incbin "included.inc", 0x20
.end:   dw .end - raw
