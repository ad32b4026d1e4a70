/** A program whose sizes depend on each other: branches over data, addresses of labels, forward constants. */
export function randomProgram(seed: number): string {
  return new Writer(seed).program();
}

const LABELS = Array.from({ length: 30 }, (_unused, index) => `label${index}`);
const CONSTANTS = ['C0', 'C1', 'C2', 'C3', 'C4', 'C5'];

const REGISTERS: Readonly<Record<number, readonly string[]>> = {
  16: ['ax', 'bx', 'cx', 'si', 'bp'],
  32: ['eax', 'ebx', 'ecx', 'ebp', 'edi'],
  64: ['rax', 'rbx', 'r8', 'r13', 'r12', 'rbp'],
};

class Writer {
  #state: number;
  readonly #lines: string[] = [];
  readonly #unused = [...LABELS];
  readonly #bits: number;

  constructor(seed: number) {
    this.#state = seed * 2654435761;
    this.#bits = this.#pick([16, 32, 64]);
  }

  /** A whole number from 0 to `limit` - 1. */
  #below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }

  #pick<Item>(items: readonly Item[]): Item {
    const item = items[this.#below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  program(): string {
    this.#lines.push(`bits ${this.#bits}`, `org ${this.#pick(['0', '0x100', '0x7c00'])}`);
    const count = 40 + this.#below(120);
    for (let index = 0; index < count; index++) {
      if (this.#below(4) === 0) this.#label();
      this.#lines.push(`        ${this.#statement()}`);
    }
    while (this.#unused.length > 0) {
      this.#label();
      if (this.#below(3) === 0) this.#lines.push('        nop');
    }
    for (const name of CONSTANTS) {
      const value = this.#pick([1, 5, 127, 128, -1, -129, 1000, 0x12345]);
      this.#lines.splice(1 + this.#below(this.#lines.length), 0, `${name} equ ${value}`);
    }
    return `${this.#lines.join('\n')}\n`;
  }

  #label(): void {
    const label = this.#unused.splice(this.#below(this.#unused.length), 1)[0];
    if (label !== undefined) this.#lines.push(`${label}:`);
  }

  #statement(): string {
    const register = this.#pick(REGISTERS[this.#bits] ?? []);
    const label = this.#pick(LABELS);
    const constant = this.#pick(CONSTANTS);
    const number = this.#below(400) - 200;
    const operation = this.#pick(['add', 'sub', 'cmp', 'and', 'mov', 'xor']);
    switch (this.#below(12)) {
      case 0:
      case 1:
      case 2:
        return `${this.#pick(['jmp', 'je', 'jnz', 'call', 'jmp near', 'jg'])} ${label}${this.#pick(['', '', '+1', '-C1'])}`;
      case 3:
        return `times ${1 + this.#below(60)} db ${this.#below(256)}`;
      case 4:
        return `${operation} ${register}, ${this.#pick([constant, `${number}`, `${number * 300}`, label, `${constant}*2`])}`;
      case 5:
        return `${this.#pick(['mov', 'add', 'lea', 'xchg'])} ${register}, [${this.#address()}]`;
      case 6:
        return `mov [${this.#address()}], ${register}`;
      case 7:
        return `${operation} ${this.#pick(['byte', 'word', 'dword'])} [${this.#address()}], ${this.#pick([constant, '7'])}`;
      case 8:
        return `push ${this.#pick([constant, `${number}`, label, 'word 5', 'byte 1'])}`;
      case 9:
        return this.#pick([
          'align 4',
          'align 16',
          'times (16-($-$$) % 16) % 16 nop',
          `d${this.#pick(['w', 'd', 'q'])} ${label}, $, $-$$, ${constant}`,
        ]);
      case 10:
        return this.#below(4) === 0 ? `section ${this.#pick(['.text', '.data', '.other'])}` : 'nop';
      default:
        return `%if ($-$$) > ${this.#below(300)}\n        nop\n%else\n        ret\n%endif`;
    }
  }

  #address(): string {
    const label = this.#pick(LABELS);
    const number = this.#below(600) - 300;
    const constant = this.#pick(CONSTANTS);
    if (this.#bits === 16) {
      return this.#pick(['bx+si', 'bp', `di${signed(number)}`, `si+${constant}`, `ebx+ecx*4${signed(number)}`, label]);
    }
    const registers = REGISTERS[this.#bits] ?? [];
    const [one, two] = [this.#pick(registers), this.#pick(registers)];
    return this.#pick([
      one,
      `${one}+${two}`,
      `${one}+${two}*${this.#pick([1, 2, 4, 8])}`,
      `${one}*${this.#pick([1, 2, 3, 4, 5, 8, 9])}`,
      `${one}${signed(number)}`,
      `${two}*2+${one}-${constant}`,
      label,
      `${constant}+${one}+${two}+0`,
      `nosplit ${one}*2`,
      `byte ${one}+1`,
      `dword ${one}`,
      ...(this.#bits === 64 ? [`rel ${label}`] : []),
    ]);
  }
}

function signed(value: number): string {
  return value < 0 ? `${value}` : `+${value}`;
}
