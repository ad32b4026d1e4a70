import { Code } from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { type AssembledProgram, assemble } from '../../debug-adapter/assembler/index.ts';

function assembled(text: string, defines: Readonly<Record<string, string>> = {}): AssembledProgram {
  const program = assemble({ path: 'source.asm', text }, { readFile: () => undefined, defines });
  expect(program.diagnostics).toEqual([]);
  return program;
}

describe('what a program consists of', () => {
  it('sections with their places', () => {
    const { sections, origin } = assembled(
      'org 0x1000\nnop\nsection .data align=16\ndb 1, 2\nsection .bss\nresb 5\nsection .high vstart=0x8000 follows=.text\nnop',
    );
    expect(origin).toBe(0x1000);
    expect(sections).toEqual([
      { name: '.text', start: 0x1000, vstart: 0x1000, length: 1, nobits: false },
      { name: '.high', start: 0x1004, vstart: 0x8000, length: 1, nobits: false },
      { name: '.data', start: 0x1010, vstart: 0x1010, length: 2, nobits: false },
      { name: '.bss', start: 0x1014, vstart: 0x1014, length: 5, nobits: true },
    ]);
  });

  it('symbols with their addresses, local names in full', () => {
    const { symbols } = assembled(
      'org 0x7c00\nstart: nop\n.loop: nop\ncount equ 3\nnegative equ -1\nafter equ .loop + 1',
    );
    const table = Object.fromEntries(symbols.map(({ name, value, kind, section }) => [name, [kind, value, section]]));
    expect(table).toEqual({
      start: ['label', 0x7c00n, '.text'],
      'start.loop': ['label', 0x7c01n, '.text'],
      count: ['equ', 3n, undefined],
      negative: ['equ', 0xffff_ffff_ffff_ffffn, undefined],
      after: ['equ', 0x7c02n, '.text'],
    });
    expect(symbols[1]?.location).toEqual({ file: 'source.asm', line: 3, column: 1, length: 5 });
  });

  it('a row of the line table for every statement with bytes', () => {
    const { lines } = assembled('org 0x100\n  mov ax, 5\n; nothing\nx: dw 1, 2\nbits 32\n  nop\n  times 3 db 0');
    expect(lines.map(({ address, length, line, bits, kind }) => [address, length, line, bits, kind])).toEqual([
      [0x100, 3, 2, 16, 'code'],
      [0x103, 4, 4, 16, 'data'],
      [0x107, 1, 6, 32, 'code'],
      [0x108, 3, 7, 32, 'data'],
    ]);
  });

  it('rows of a macro lead to its invocation and keep the line of the body', () => {
    const { lines } = assembled('%macro two 0\n  nop\n  inner\n%endmacro\n%macro inner 0\n  hlt\n%endmacro\n  two');
    expect(lines.map(({ line, body }) => [line, body?.line])).toEqual([
      [8, 2],
      [8, 6],
    ]);
  });

  it('the form chosen for each instruction, and where its mnemonic stands', () => {
    const { instructions } = assembled('bits 64\n  mov rax, 1\n  lock add [rbx], eax\nx: iretq\n  vmlaunch');
    expect(
      instructions.map(({ code, range, address, length }) => [Code[code], range.line, range.column, address, length]),
    ).toEqual([
      ['Mov_r32_imm32', 2, 3, 0, 5],
      ['Add_rm32_r32', 3, 8, 5, 3],
      ['Iretq', 4, 4, 8, 2],
      ['Vmlaunch', 5, 3, 10, 3],
    ]);
  });

  it('the mode to enter the image in', () => {
    expect(assembled('nop\nbits 32\nnop').defaultBits).toBe(16);
    expect(assembled('bits 64\nx: nop').defaultBits).toBe(64);
  });

  it('macros defined from outside', () => {
    expect(assembled('%ifdef DEBUG\n db DEBUG + 1\n%endif', { DEBUG: '6' }).image).toEqual(Uint8Array.of(7));
  });

  it('files found beside the file that names them', () => {
    const files: Record<string, string | Uint8Array> = {
      'a/b/one.inc': '%include "../two.inc"',
      'a/two.inc': 'incbin "data.bin"',
      'a/data.bin': Uint8Array.of(0xff, 0x80),
    };
    const program = assemble({ path: 'a/main.asm', text: '%include "b/one.inc"' }, { readFile: (path) => files[path] });
    expect(program.image).toEqual(Uint8Array.of(0xff, 0x80));
    expect(program.includes.map((one) => one.resolved)).toEqual(['a/b/one.inc', 'a/two.inc']);
  });
});
