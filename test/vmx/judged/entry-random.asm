; As entry-rules.asm, with random states that break rules.
%define CASES "entry-random-cases.inc"
%include "entry-rules.asm"
