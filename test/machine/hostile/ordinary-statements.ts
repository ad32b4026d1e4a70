/** Unprivileged statements of a hostile guest, code that writes itself among them. */
import { address, PORTS, point, register, value, type Writer } from './operands.ts';

const OPERATIONS = ['add', 'adc', 'sub', 'sbb', 'and', 'or', 'xor', 'cmp', 'test', 'mov', 'xchg'];

export function arithmetic(w: Writer): string {
  const { random } = w;
  const [a, b] = [register(w), register(w)];
  const immediate = `${random.pick([random.below(128), -1 - random.below(128)])}`;
  return random.pick([
    `${random.pick(OPERATIONS)} ${a}, ${b}`,
    `${random.pick(OPERATIONS.slice(0, 8))} ${a}, ${immediate}`,
    `${random.pick(['inc', 'dec', 'neg', 'not', 'mul', 'imul', 'div', 'idiv'])} ${a}`,
    `${random.pick(['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr'])} ${a}, ${random.below(70)}`,
    `${random.pick(['bt', 'bts', 'btr', 'btc'])} ${a}, ${b}`,
    `${random.pick(['bsf', 'bsr', 'imul', 'cmovc', 'cmovz'])} ${a}, ${b}`,
    `mov ${a}, ${value(w)}`,
    `push ${a}\npop ${b}`,
    `set${random.pick(['c', 'z', 's', 'o', 'p', 'g'])} al`,
  ]);
}

export function memory(w: Writer): string {
  const { random } = w;
  const [load, operand] = point(w);
  const a = register(w);
  const prefix = random.once(5) ? random.pick(['lock ', 'cs ', 'fs ', 'ss ', 'gs ']) : '';
  const access = random.pick([
    `mov ${operand}, ${a}`,
    `mov ${a}, ${operand}`,
    `add ${operand}, ${a}`,
    `xchg ${operand}, ${a}`,
    `cmpxchg8b ${operand}`,
    `bts ${operand}, ${a}`,
    `push ${w.mode === 'long' ? 'qword ' : 'word '}${operand}`,
    `mov byte ${operand}, ${random.below(256)}`,
  ]);
  return `${load}\n${prefix}${access}`;
}

export function string(w: Writer): string {
  const { random, mode } = w;
  const [di, si, cx] = { real: ['di', 'si', 'cx'], protected: ['edi', 'esi', 'ecx'], long: ['rdi', 'rsi', 'rcx'] }[
    mode
  ] as [string, string, string];
  const size = random.pick(['b', 'w', 'd']);
  const operation = random.pick(['movs', 'stos', 'lods', 'cmps', 'scas', 'ins', 'outs']);
  const prefix = operation === 'cmps' || operation === 'scas' ? random.pick(['repe', 'repne']) : 'rep';
  const count = random.once(12) ? random.pick([random.below(3000), 0xffff_ffff, random.value()]) : random.below(20);
  const port = random.pick(PORTS);
  return [
    random.pick(['cld', 'cld', 'std']),
    `mov ${di}, ${address(w)}`,
    `mov ${si}, ${address(w)}`,
    `mov ${cx}, ${mode === 'real' ? count % 0x1_0000 : count}`,
    `mov dx, ${port}`,
    random.once(4) ? `${operation}${size}` : `${prefix} ${operation}${size}`,
  ].join('\n');
}

/** A short loop, to be compiled; its body may write the code itself. */
export function loop(w: Writer): string {
  const label = w.label();
  const counter = w.mode === 'real' ? 'bp' : 'ebp';
  const body = Array.from({ length: 1 + w.random.below(4) }, () => w.random.pick([arithmetic, arithmetic, memory])(w));
  const count = w.random.pick([3, 10, 60]);
  return [`mov ${counter}, ${count}`, `${label}:`, ...body, `dec ${counter}`, `jnz near ${label}`].join('\n');
}

export function selfModifying(w: Writer): string {
  const { random, mode } = w;
  const label = w.label();
  const segment = mode === 'real' ? 'cs:' : '';
  const width = random.pick(['byte', 'word', 'dword']);
  const target = `${label} + ${random.below(12)}`;
  return [
    `mov ${width} [${segment}${target}], ${random.pick([0x90, random.below(256), random.below(0x1_0000)])}`,
    `${label}:`,
    ...Array.from({ length: 1 + random.below(3) }, () => arithmetic(w)),
    ...(random.once(3) ? [`jmp ${label}`] : []),
  ].join('\n');
}

export const noise = ({ random }: Writer): string => `db ${random.bytes(1 + random.below(12)).join(', ')}`;
