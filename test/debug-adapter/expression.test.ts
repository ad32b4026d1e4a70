import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Vcpu } from '../../debug-adapter/engine-target.ts';
import type { EvaluationContext } from '../../debug-adapter/expression/context.ts';
import { evaluate, signedValue } from '../../debug-adapter/expression/evaluate.ts';
import { formatResult } from '../../debug-adapter/expression/format.ts';
import { parseExpression } from '../../debug-adapter/expression/parser.ts';
import { SymbolTable } from '../../debug-adapter/program/symbols.ts';

const registers: Record<string, bigint> = {
  rax: 0x1122334455667788n,
  eax: 0x55667788n,
  al: 0x88n,
  rsp: 0x100n,
  cs: 8n,
  'fs.base': 0x40n,
  rip: 0x2004n,
};
const memory = Uint8Array.from({ length: 0x200 }, (_, index) => index & 0xff);
const spaces = { linear: 0, 'guest-physical': 1, 'host-physical': 2 } as const;
const fields = [
  {
    name: 'Guest RIP',
    encoding: 0x681e,
    group: 'Guest state',
    widthBits: 64,
    value: 0x4000n,
    description: '',
    parts: [],
  },
  {
    name: 'Pin-based VM-execution controls',
    encoding: 0x4000,
    group: 'Controls',
    widthBits: 32,
    value: 0x16n,
    description: '',
    parts: [],
  },
];

/** Only what expressions ask of a vCPU. Memory differs by space: each byte is the low byte of its address, plus 0, 1, 2. */
const vcpu = {
  index: 0,
  readRegister: (name: string) => registers[name],
  registerNames: () => Object.keys(registers),
  writeRegister: (name: string, value: bigint) => void (registers[name] = value),
  mode: () => ({ codeSize: 64 }),
  peek: (space: keyof typeof spaces, address: bigint, length: number) =>
    memory.slice(Number(address), Number(address) + length).map((byte) => byte + spaces[space]),
  vmcs: () => ({ address: 0n, launchState: 'launched', fields }),
  readVmcs: (name: string) => fields.find((field) => field.name === name)?.value,
} as unknown as Vcpu;

const symbols = new SymbolTable(
  [
    { name: 'main', address: 0x2000n, size: 0x10, kind: 'function', isGlobal: true },
    { name: 'main.loop', address: 0x2008n, size: 0, kind: 'label', isGlobal: false },
    { name: 'SIZE', address: 42n, size: 0, kind: 'constant', isGlobal: true },
  ],
  [{ start: 0x2000n, end: 0x2010n }],
);
const context: EvaluationContext = { vcpu, symbols, values: { reason: 48n, half: 'kernel', guest_physical: 0x1000n } };

function show(text: string): string {
  const { root, format } = parseExpression(text);
  return formatResult(evaluate(root, context), { format, hex: false }, context);
}
function number(text: string): bigint {
  return signedValue(evaluate(parseExpression(text).root, context));
}

describe('numbers', () => {
  it.each([
    ['10', 10n],
    ['0x10', 16n],
    ['10h', 16n],
    ['0FFh', 255n],
    ['0b101', 5n],
    ['101b', 5n],
    ['0o17', 15n],
    ['1_000', 1000n],
    ['0c0000080h', 0xc0000080n],
  ])('%s', (text, value) => expect(number(text)).toBe(value));
});

describe('operators', () => {
  it.each([
    ['1 + 2 * 3', 7n],
    ['(1 + 2) * 3', 9n],
    ['1 << 4 | 1', 17n],
    ['7 & 3 == 3', 1n],
    ['10 % 4', 2n],
    ['-1', -1n],
    ['~0', 0xffff_ffff_ffff_ffffn],
    ['!0', 1n],
    ['- - 5', 5n],
    ['1 ? 2 : 3', 2n],
    ['0 ? 2 : 0 ? 3 : 4', 4n],
    ['0 && nonsense', 0n],
    ['1 || nonsense', 1n],
    ['-1 == 0xffffffffffffffff', 1n],
    ['-1 < 0', 1n],
    ['(byte) 0x1234', 0x34n],
    ['(i8) 0xff', -1n],
    ['i16(0xffff)', -1n],
    ['1 << 64', 0n],
  ])('%s', (text, value) => expect(number(text)).toBe(value));

  it('agree with BigInt on sums and products of 64 bits', () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
        (a, b) => {
          expect(number(`${a} + ${b} * 3`)).toBe(BigInt.asUintN(64, a + b * 3n));
          expect(number(`${a} < ${b}`)).toBe(a < b ? 1n : 0n);
        },
      ),
    );
  });
});

describe('names and memory', () => {
  it.each([
    ['rax', '0x1122334455667788'],
    ['$eax', '0x55667788'],
    ['%al', '0x88'],
    ['rax % 0x10', '8'],
    ['rip', '0x2004 <main+0x4>'],
    ['main', '0x2000 <main>'],
    ['main.loop - main', '8'],
    ['SIZE', '0x2a (42)'],
    ['byte [5]', '0x05'],
    ['word [rsp + 2]', '0x0302'],
    ['dword [4]', '0x07060504'],
    ['[0]', '0x706050403020100'],
    ['byte gpa:[5]', '0x06'],
    ['byte hpa:[5]', '0x07'],
    ['byte fs:[2]', '0x42'],
    ['byte [fs:2]', '0x42'],
    ['fs:[0] & 0xff', '0x40 (64)'],
    ['vmcs.GUEST_RIP', '0x4000'],
    ['vmcs.guest_rip + 1', '0x4001 (16385)'],
    ['vmcs.0x681e', '0x4000'],
    ['vmcs.pin_based_vm_execution_controls', '0x00000016'],
    ['half == "kernel"', '1'],
    ['reason == 48 && guest_physical >= 0x1000', '1'],
    ['reason != 48', '0'],
  ])('%s is %s', (text, shown) => expect(show(text)).toBe(shown));

  it.each([
    ['255,x', '0xff'],
    ['(i8) 255,d', '-1'],
    ['5,b', '0b101'],
    ['8,o', '0o10'],
    ['al,u', '136'],
    ['65,c', "'A'"],
    ['0x41,s', JSON.stringify(String.fromCharCode(...Array.from({ length: 0x80 - 0x41 }, (_, i) => 0x41 + i)))],
  ])('%s is shown as %s', (text, shown) => expect(show(text).slice(0, shown.length - 1)).toBe(shown.slice(0, -1)));
});

describe('errors say what was expected', () => {
  it.each([
    ['', 'a number, a register'],
    ['1 +', 'the end of the expression'],
    ['(1', "')'"],
    ['[1', "']'"],
    ['1 2', 'an operator'],
    ['1 # 2', "'#'"],
    ['12z', '12z'],
    ['"a', 'closing'],
    ['rxa', 'id you mean rax?'],
    ['mian', 'id you mean main?'],
    ['vmcs.guest_rp', 'id you mean vmcs.guest_rip?'],
    ['dword', 'rite dword [address]'],
    ['byte [0x1000]', 'not mapped'],
    ['1 / 0', 'divides by zero'],
    ['1,q', ',x'],
    ['5 = 6', 'cannot be changed'],
    ['main = 6', 'rite dword [main]'],
    ['half + 1', 'not for text'],
    ['-half', 'needs a number'],
    [`${'('.repeat(1000)}1`, 'nested too deeply'],
  ])('%s: %s', (text, message) => expect(() => show(text)).toThrow(message));

  it('never by another kind of error, whatever is written', () => {
    const piece = fc.constantFrom(
      'rax',
      '[',
      ']',
      '(',
      ')',
      'byte',
      'gpa:',
      '+',
      '-',
      '=',
      '==',
      ',',
      'x',
      '"',
      '1',
      'vmcs.',
      '?',
      ':',
      '%',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          show(pieces.join(''));
        } catch (error) {
          expect(error).toMatchObject({ kind: 'user' });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
