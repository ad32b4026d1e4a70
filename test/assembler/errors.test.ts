import { describe, expect, it } from 'vitest';
import { assemble } from '../../debug-adapter/assembler/index.ts';

const path = 'source.asm';

/** `line:column-endColumn message` of every error. */
function errorsOf(text: string, files: Readonly<Record<string, string>> = {}): string[] {
  const { diagnostics, image } = assemble({ path, text }, { readFile: (name) => files[name] });
  const errors = diagnostics.filter((one) => one.severity === 'error');
  expect(image === undefined).toBe(errors.length > 0);
  return errors.map(({ line, column, endColumn, message }) => `${line}:${column}-${endColumn} ${message}`);
}

describe('an error says what was expected, what was found and where', () => {
  it.each([
    ['mov eax, bl', '1:1-4', 'found eax, bl'],
    ['bits 64\npush eax', '2:1-5', "'push' with these operands does not exist in 64-bit code"],
    ['inc [bx]', '1:1-4', 'write one of byte, word, dword before the memory operand'],
    ['frobnicate ax', '1:1-11', "'frobnicate' is neither an instruction nor a macro"],
    ['mvo eax, 1', '1:1-4', "expected one, or a label followed by ':'; did you mean 'mov'?"],
    ['pussh 5', '1:1-6', "did you mean 'push'?"],
    ['idvi byte [bx]', '1:1-5', "did you mean 'idiv'?"],
    ['lgtd [bx]', '1:1-5', "did you mean 'lgdt'?"],
    ['sectoin .text', '1:1-8', "did you mean 'section'?"],
    ['start: mvo eax, 1', '1:8-11', "expected an instruction, found 'mvo'; did you mean 'mov'?"],
    ['jmp nowhere', '1:5-12', "symbol 'nowhere' is not defined"],
    ['Start: jmp start', '1:12-17', "did you mean 'Start'?"],
    ['db 5 +', '1:7-8', 'expected a value, found the end of the line'],
    ['mov ax, [bx', '1:12-13', "expected ']', found the end of the line"],
    ["db 'open", '1:4-9', "expected a closing '"],
    ['db 0xzz', '1:4-8', "'0xzz' is not a number in any notation"],
    ['db 1 / 0', '1:4-9', 'division by zero'],
    ['mov ax, [si+di]', '1:1-4', 'expected one of [bx+si]'],
    ['bits 32\nmov eax, [esp*2]', '2:1-4', "'esp' cannot be an index"],
    ['bits 32\nmov eax, [eax+bx]', '2:10-18', 'base and index must be registers of the same size'],
    ['bits 32\nmov eax, [eax*7]', '2:1-4', 'multiplied by 1, 2, 4 or 8, not by 7'],
    ['bits 32\nmov eax, [rax]', '2:10-15', '64-bit registers in an address need 64-bit code'],
    ['bits 64\nmov ah, r8b', '2:1-4', 'AH, BH, CH and DH cannot be used'],
    ['bits 17', '1:6-8', "expected 16, 32 or 64 after 'bits', found 17"],
    ['times -3 nop', '1:7-9', 'expected a TIMES count from 0'],
    ['times later nop\nlater equ 5', '1:7-12', 'must be known here, but a symbol in it is defined later'],
    ['align 3', '1:7-8', 'expected a power of two for the alignment, found 3'],
    ['a: nop\na: nop', '2:1-2', "symbol 'a' is already defined in source.asm:1"],
    ['eax: nop', '1:1-4', "'eax' is a register and cannot be a label"],
    ['equ 5', '1:1-6', "expected a name in front of 'equ'"],
    ['org 1\norg 2', '2:1-4', 'already set by another ORG'],
    ['section .x align=5', '1:18-19', 'expected a power of two for align='],
    ['section .x colour=5', '1:12-18', "'colour' is no attribute of a section"],
    ['iend', '1:1-5', "'iend' without 'istruc'"],
    ['struc s', '1:7-8', "'struc s' has no 'endstruc'"],
    ['absolute 0\ndb 1', '2:1-5', 'only reservations'],
    ['%if 1', '1:1-4', "'%if' has no %endif"],
    ['%endif', '1:1-7', "'%endif' without %if"],
    ['%macro m 1\nnop', '1:1-7', "'%macro' has no %endmacro"],
    ['%macro m x\n%endmacro', '1:10-11', 'expected a number of parameters'],
    ['%rep 2\nnop', '1:1-5', "'%rep' has no %endrep"],
    ['%include "missing.inc"', '1:10-23', "file 'missing.inc' cannot be read"],
    ['incbin "missing.bin"', '1:8-21', "file 'missing.bin' cannot be read"],
    ['%if undefined\n%endif', '1:5-14', "symbol 'undefined' must be defined before"],
    ['%frob 1', '1:1-6', "'%frob' is no preprocessor directive"],
    ['%error stop  here', '1:1-7', 'stop here'],
    ['db (5-$$)%3', '1:10-12', 'write a blank after %'],
    ['mov eax, a+b\na:\nb:', '1:10-13', 'found a sum or multiple of addresses'],
    ['jmp 8:5\nbits 64\njmp 8:5', '3:1-4', "'jmp' with these operands does not exist in 64-bit code"],
    ['loop far_away\ntimes 200 nop\nfar_away:', '1:1-14', 'short jump is out of range'],
    ['section .a start=0\ntimes 9 nop\nsection .b start=4\nnop', '3:9-11', 'section .b starts at 0x4'],
    ['vaddps zmm1{k9}, zmm2, zmm3', '1:12-16', 'expected {k0}..{k7}, {z} or {1toN}, found {k9}'],
    ['mov ax, #', '1:9-10', "unexpected character '#'"],
  ])('%s', (text, place, message) => {
    const errors = errorsOf(text);
    expect(errors.filter((one) => one.startsWith(`${place} `)).join('\n')).toContain(message);
  });

  it('takes no misspelled instruction for a label', () => {
    expect(errorsOf('mvo ax, 1\nmvo bx, 1').map((one) => one.split(' ')[0])).toEqual(['1:1-4', '2:1-4']);
  });

  it('reports all errors of a file at once, in their order', () => {
    const text = 'mov eax, bl\n  mov ax, ]\nok: nop\njmp missing\n%bad\ninc [bx]';
    expect(errorsOf(text).map((one) => one.split(' ')[0])).toEqual(['1:1-4', '2:11-12', '4:5-12', '5:1-5', '6:1-4']);
  });

  it('reports an error in a macro body at the invocation, naming the line of the body', () => {
    const [error, ...others] = errorsOf('%macro broken 1\n  mov %1, bl\n%endmacro\n\n  broken eax');
    expect(others).toEqual([]);
    expect(error).toMatch(/^5:3-9 .*\(in macro 'broken', source\.asm:2\)$/u);
  });

  it('reports an error in an argument at the argument', () => {
    expect(errorsOf('%macro load 1\n  mov ax, %1\n%endmacro\n  load missing')[0]).toMatch(/^4:8-15 symbol 'missing'/u);
  });

  it('names the included file', () => {
    const { diagnostics } = assemble(
      { path: 'folder/source.asm', text: '%include "other.inc"' },
      { readFile: (name) => (name === 'folder/other.inc' ? 'nop\njmp away' : undefined) },
    );
    expect(diagnostics).toMatchObject([{ file: 'folder/other.inc', line: 2, column: 5, severity: 'error' }]);
  });

  it.each([
    ['in al, 0x3f8', 'value 1016 does not fit 8 bits and is cut off'],
    ['mov ax, 0x12345', 'value 74565 does not fit 16 bits and is cut off'],
    ['db 1, 256, 257', 'value 256 does not fit 8 bits and is cut off'],
    ['dw 2 dup (-32769)', 'value -32769 does not fit 16 bits and is cut off'],
    ['mov al, -128', undefined],
    ['add eax, 0xffffffff', undefined],
    ['add ax, 0xfff0', undefined],
    ['mov rax, -1', undefined],
    ['db 255, -128', undefined],
  ])('warns of numbers that are cut off: %s', (line, message) => {
    const { diagnostics } = assemble({ path, text: `bits 64\n${line}\n` }, { readFile: () => undefined });
    expect(diagnostics).toMatchObject(message === undefined ? [] : [{ severity: 'warning', line: 2, message }]);
  });

  it('warns of a word alone on its line, which nasm takes for a label', () => {
    const source = { path, text: 'start:\n.local:\n  htl\nlabel nop\n.loop\n' };
    const { diagnostics, image } = assemble(source, { readFile: () => undefined });
    expect(image).toEqual(Uint8Array.of(0x90));
    expect(diagnostics).toMatchObject([
      {
        severity: 'warning',
        line: 3,
        column: 3,
        message: "'htl' is taken for a label: write 'htl:' if it is one; did you mean 'hlt'?",
      },
      { severity: 'warning', line: 5, message: "'.loop' is taken for a label: write '.loop:' if it is one" },
    ]);
  });

  it('warns of a value that is cut off', () => {
    const { diagnostics, image } = assemble(
      { path, text: 'org 0x12345\nhere: dw here' },
      { readFile: () => undefined },
    );
    expect(image).toEqual(Uint8Array.of(0x45, 0x23));
    expect(diagnostics).toMatchObject([{ severity: 'warning', line: 2 }]);
  });
});

/** Each macro invokes the next one. */
function chainOfMacros(count: number): string {
  return Array.from({ length: count }, (_unused, index) => `%macro m${index} 0\nm${index + 1}\n%endmacro`).join('\n');
}

describe('hostile input ends soon with an error', () => {
  it.each([
    ['nested repetition', '%rep 100000\n%rep 100000\nnop\n%endrep\n%endrep', 'grows beyond'],
    ['a repetition beyond the limit', '%rep 5000000\nnop\n%endrep', 'expected a count of at most'],
    ['macros that nest too deep', `${chainOfMacros(1500)}\nm0`, 'macros are nested more than'],
    [
      'a define that doubles',
      `${'abcdefghijklmnopqrst'
        .split('')
        .map((one, index, all) => `%define ${one}1 ${all[index + 1] ?? 'z'}1 ${all[index + 1] ?? 'z'}1`)
        .join('\n')}\ndb a1`,
      'grows beyond',
    ],
    ['a file that includes itself', '%include "source.asm"', "does 'source.asm' include itself?"],
    ['a huge TIMES', 'times 0x7fffffffffffffff nop', 'expected a TIMES count'],
    ['a huge reservation', 'resb 0x7fffffffffff', 'would grow beyond'],
    ['a huge start', 'section .far start=0x7fffffffffff\ndb 1', 'image'],
    ['a branch repeated', 'times 10000000 jmp $+5', 'a branch can be repeated'],
    ['deep parentheses', `db ${'('.repeat(9000)}1${')'.repeat(9000)}`, 'nested more than'],
    ['deep signs', `db ${'-'.repeat(9000)}1`, 'nested more than'],
    ['a long sum', `db ${'1+'.repeat(9000)}1`, 'operators in a row'],
    ['deep conditions', '%if 1\n'.repeat(9000), 'has no %endif'],
    ['values in a circle', 'a equ b + 1\nb equ a + 1', 'still move'],
    ['a huge dup', 'db 0x7fffffffffff dup (0)', 'expected a count'],
  ])('%s', (_name, text, message) => {
    const errors = errorsOf(text, { 'source.asm': text });
    expect(errors.join('\n')).toContain(message);
    expect(errors.length).toBeLessThanOrEqual(500);
  });

  it('survives any bytes', () => {
    let state = 7;
    for (let round = 0; round < 200; round++) {
      const characters = Array.from({ length: 200 }, () => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return ALPHABET[state % ALPHABET.length];
      });
      assemble({ path, text: characters.join('') }, { readFile: () => undefined });
    }
  });
});

const ALPHABET = [
  ...'%[](){}:,+-*/$.;\'"`\n\n\\ 019x',
  'mov ',
  'eax',
  'rax',
  ' equ ',
  '%macro ',
  '%endmacro',
  '%rep ',
  '%endrep',
  '%if ',
  '%endif',
  '%define ',
  'times ',
  'db ',
  'resb ',
  'section ',
  'struc ',
  'endstruc',
  'bits 64',
  '%1',
  '%%x',
  '%{',
  '{k1}',
  ' wrt ',
  'dup',
];
