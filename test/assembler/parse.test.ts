import { describe, expect, it } from 'vitest';
import { parse } from '../../debug-adapter/assembler/index.ts';

const SOURCE = `%include "lib.inc"
%define LIMIT(n) ((n) * 2)
%macro save 1-*
  push %1
%endmacro
struc point
  .x: resd 1
endstruc
COUNT equ 5
start:  mov eax, [table + COUNT * 4] ; comment
.again: save eax, ebx
        jnz .again
        rep movsb
        mov byte [broken
table:  times COUNT dd LIMIT(3)
        incbin "blob.bin"
`;

describe('the parse that editors share', () => {
  const parsed = parse('file.asm', SOURCE);

  it('finds definitions with full names and ranges', () => {
    expect(
      parsed.definitions.map(
        ({ name, kind, range, lastLine }) => `${name} ${kind} ${range.line}:${range.column} -${lastLine}`,
      ),
    ).toEqual([
      'LIMIT define 2:9 -2',
      'save macro 3:8 -5',
      'point structure 6:7 -8',
      'point.x label 7:3 -7',
      'COUNT equ 9:1 -9',
      'start label 10:1 -10',
      'start.again label 11:1 -11',
      'table label 15:1 -15',
    ]);
    expect(parsed.definitions.map(({ parameters }) => parameters).filter(Boolean)).toEqual(['(n)', '1-*']);
  });

  it('finds references, local names in full, also in a line that is not well-formed', () => {
    const names = parsed.references.map(({ name, range }) => `${range.line} ${name}`);
    expect(names).toEqual([
      '2 n',
      '2 n',
      '10 table',
      '10 COUNT',
      '11 save',
      '12 start.again',
      '14 broken',
      '15 COUNT',
      '15 LIMIT',
    ]);
  });

  it('finds the files it needs', () => {
    expect(parsed.includes.map(({ path, kind }) => [path, kind])).toEqual([
      ['lib.inc', 'source'],
      ['blob.bin', 'binary'],
    ]);
  });

  it('gives every statement its mnemonic and operands with ranges', () => {
    const line = parsed.lines.find((one) => one.kind === 'statement' && one.statement.label?.name === 'start');
    const body = line?.kind === 'statement' ? line.statement.body : undefined;
    expect(body).toMatchObject({
      kind: 'instruction',
      mnemonic: { text: 'mov', range: { line: 10, column: 9, length: 3 } },
      operands: [
        { kind: 'register', range: { column: 13, length: 3 } },
        { kind: 'memory', range: { column: 18, length: 19 } },
      ],
    });
    expect(parsed.lines.find((one) => one.kind === 'macro-call')).toMatchObject({
      name: { text: 'save' },
      label: { name: '.again' },
    });
  });

  it('says what each token is', () => {
    const roles = (line: number): string[] =>
      parsed.tokens.filter(({ range }) => range.line === line).map(({ role, text }) => `${role} ${text}`.trim());
    expect(roles(10)).toEqual([
      'definition start',
      'operator :',
      'mnemonic mov',
      'register eax',
      'operator ,',
      'operator [',
      'symbol table',
      'operator +',
      'symbol COUNT',
      'operator *',
      'number 4',
      'operator ]',
      'comment',
    ]);
    expect(roles(13)).toEqual(['prefix rep', 'mnemonic movsb']);
    expect(roles(15)).toEqual([
      'definition table',
      'operator :',
      'directive times',
      'symbol COUNT',
      'directive dd',
      'symbol LIMIT',
      'operator (',
      'number 3',
      'operator )',
    ]);
  });

  it('covers all text but blanks with tokens', () => {
    const lines = SOURCE.split('\n').map((line) => [...line]);
    for (const { range } of parsed.tokens)
      lines[range.line - 1]?.fill(' ', range.column - 1, range.column - 1 + range.length);
    expect(lines.map((line) => line.join('').trim()).join('')).toBe('');
  });
});
