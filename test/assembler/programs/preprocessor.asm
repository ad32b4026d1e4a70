        bits 32
%define one 1
%define two one + one
%xdefine frozen one
%define one 10
%define add3(a,b,c) ((a) + (b) + (c))
%define nothing
%idefine UPPER 7
        db two, frozen, add3(1, 2, 3), add3(one, (4), 5*2), upper, UPPER
        dw nothing 5
%assign counter 0
%rep 5
        db counter
  %assign counter counter + 1
  %if counter == 3
    %rep 2
        db 0xee
    %endrep
  %endif
%endrep
%rep 100
  %exitrep
        db 0xff
%endrep
%macro pushall 1-*
  %rep %0
        push %1
    %rotate 1
  %endrep
%endmacro
%macro popall 1-*
  %rep %0
    %rotate -1
        pop %1
  %endrep
%endmacro
        pushall eax, ebx, ecx
        popall eax, ebx, ecx
%macro loopy 2
        mov ecx, %1
%%again: %2
        dec ecx
        jnz %%again
%endmacro
        loopy 5, nop
first:  loopy 6, {mov eax, [ebx + ecx]}
%macro over 0
        db 0
%endmacro
%macro over 1
        db 1, %1
%endmacro
%macro over 2-3 'z'
        db 2, %1, %2, %3
%endmacro
        over
        over 5
        over 6, 7
        over 6, 7, 8
%macro text 1+
        db %%end - %%begin
%%begin: db %1
%%end:
%endmacro
        text 'a', 'b', 13
%macro cond 2
        j%-1 %%skip
        mov %2, 1
%%skip:
%endmacro
%macro name_it 1
lab_%1: db %1
L%1_lab: db '%1'
%endmacro
        cond e, eax
        name_it 5
        dd lab_5, lab_%+ 5
%ifdef one
        db 1
%else
        db 2
%endif
%ifndef one
        db 3
%elifdef two
        db 4
%endif
%ifidn abc, abc
        db 5
%endif
%ifidni ABC, abc
        db 6
%endif
%ifnum 5
        db 7
%endif
%ifstr 'x'
        db 8
%endif
%ifid foo
        db 9
%endif
%if 0
  %if 1
        db 10
  %else
        db 11
  %endif
%elif 5 > 3 && !0
        db 12
%else
        db 13
%endif
%ifempty
        db 14
%endif
%ifmacro over
        db 15
%endif
%strlen length 'hello'
%substr part 'hello' 2,3
%strcat both 'ab', 'cd'
%defstr quoted some text
        db length, part, both, quoted
%undef one
%ifdef one
        db 16
%endif
%push ctx
%$here: dd %$here
  %define %$local 42
        db %$local
%pop
        db __LINE__, __BITS__
%assign third 3
%define cat foo_%[third]_bar
foo_3_bar: dd cat
%macro fact 1
  %if %1 > 1
        fact_step %1
  %endif
        dd %1
%endmacro
%macro fact_step 1
        dw %1
%endmacro
        fact 1
        fact 4
%macro multi 2
%1:     %2 eax
        %ifidn %2, inc
        nop
        %elifidn %2, dec
        hlt
        %endif
%endmacro
        multi m1, inc
        multi m2, dec
%if ($ - $$) > 100
        db 'big'
%endif
%assign here $ - $$
        dw here
