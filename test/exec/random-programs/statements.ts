/**
 * Random statements for programs that both executions must run alike: what a compiler of regions is most easily wrong
 * about. Each kind is a function; their weights are in the table at the end.
 */
import { at } from '../../machine/hostile/tables.ts';
import { vectorStatement } from './vector-statements.ts';
import {
  cell,
  condition,
  DATA_BYTES,
  data,
  entryOf,
  immediate,
  operandWidth,
  READ_ONLY_PAGE,
  register,
  type Statement,
  sizeWord,
  UNMAPPED_PAGE,
  type Writer,
  wide,
  wideWidth,
} from './writer.ts';

// ---- flags -----------------------------------------------------------------------------------------------------------

const arithmetic: Statement = (w) => {
  const { random } = w;
  const width = operandWidth(w);
  const a = register(w, width);
  const operation = random.pick(['add', 'adc', 'sub', 'sbb', 'and', 'or', 'xor', 'cmp', 'cmp', 'test', 'mov', 'xchg']);
  const b = operation === 'xchg' || random.once(2) ? register(w, width) : immediate(w, width);
  return [withoutHighByte(w, `${operation} ${a}, ${b}`)];
};

/** AH, BH, CH and DH cannot be encoded beside registers that need REX. */
function withoutHighByte({ mode }: Writer, line: string): string {
  return mode === 'long' && /\br\d/.test(line) ? line.replace(/\b([abcd])h\b/g, '$1l') : line;
}

const unary: Statement = (w) => {
  const { random } = w;
  const width = operandWidth(w);
  return [`${random.pick(['inc', 'dec', 'inc', 'dec', 'neg', 'not'])} ${register(w, width)}`];
};

const shift: Statement = (w) => {
  const { random } = w;
  const operation = random.pick(['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr']);
  const line = `${operation} ${register(w)}, ${random.pick(['cl', 'cl', '1', `${random.below(34)}`])}`;
  return random.once(3) ? [`mov cl, ${random.pick([0, 0, 1, 32, 64, random.below(256)])}`, line] : [line];
};

const doubleShift: Statement = (w) => {
  const { random } = w;
  const width = wideWidth(w);
  const [a, b] = [register(w, width), register(w, width)];
  return [`${random.pick(['shld', 'shrd'])} ${a}, ${b}, ${random.pick(['cl', `${random.below(16)}`])}`];
};

const bit: Statement = (w) => {
  const { random } = w;
  const width = wideWidth(w);
  const a = register(w, width);
  if (random.once(4)) return [`${random.pick(['bsf', 'bsr'])} ${a}, ${register(w, width)}`];
  const b = random.once(2) ? register(w, width) : `${random.below(width)}`;
  return [`${random.pick(['bt', 'bts', 'btr', 'btc'])} ${a}, ${b}`];
};

const multiply: Statement = (w) => {
  const { random } = w;
  const width = wideWidth(w);
  if (random.once(3)) return [`${random.pick(['mul', 'imul'])} ${register(w)}`];
  if (random.once(6)) return [`or cl, 1`, 'movzx ax, al', `${random.pick(['div', 'idiv'])} cl`];
  return [`imul ${register(w, width)}, ${register(w, width)}`];
};

/** Somebody looks at flags that were left before: perhaps blocks before. */
const flagUse: Statement = (w) => {
  const { random, mode } = w;
  const width = wideWidth(w);
  const pushf = { real: 'pushf', protected: 'pushfd', long: 'pushfq' }[mode];
  return random.pick<() => string[]>([
    () => [`set${condition(w)} ${register(w, 8)}`],
    () => [`set${condition(w)} byte [${data[mode] + random.below(DATA_BYTES)}]`],
    () => [`cmov${condition(w)} ${register(w, width)}, ${register(w, width)}`],
    () => ['lahf'],
    () => ['sahf'],
    () => [random.pick(['stc', 'clc', 'cmc', 'cld'])],
    () => [pushf, `pop ${wide(w, 'dx')}`],
    () => [`mov ${wide(w, 'dx')}, ${random.below(0x100) | 2}`, `push ${wide(w, 'dx')}`, pushf.replace('push', 'pop')],
    () => [`adc ${register(w, 32)}, 0`],
    () => [`sbb ${wide(w, 'ax')}, ${wide(w, 'ax')}`],
  ])();
};

const move: Statement = (w) => {
  const { random, mode } = w;
  const a = register(w, wideWidth(w));
  return random.pick<() => string[]>([
    () => [`movzx ${register(w, 32)}, ${register(w, 16)}`],
    () => [`movsx ${register(w, 32)}, ${random.pick(['al', 'cl', 'dl', 'bl'])}`],
    () => [`mov ${a}, ${mode === 'long' ? random.value64() : random.value() % 0x1_0000}`],
    () => [`lea ${a}, [${wide(w, 'bx')} + ${wide(w, 'si')} + ${random.below(200)}]`],
    () => [mode === 'long' ? random.pick(['cdqe', 'cqo', 'cdq']) : random.pick(['cwde', 'cwd', 'cbw'])],
    () => [`bswap ${register(w, 32)}`],
    () => [`push ${wide(w, 'si')}`, `pop ${wide(w, 'dx')}`],
    () => [`xadd ${register(w, 32)}, ${register(w, 32)}`],
    () => [`cmpxchg ${register(w, 32)}, ${register(w, 32)}`],
  ])();
};

// ---- memory ----------------------------------------------------------------------------------------------------------

/** What is not plain RAM, or not all of it. The handler of faults puts BX right, so they are always met through it. */
function special({ random, mode }: Writer): string {
  if (mode === 'real') return `${random.pick([0xffff, 0xfffe, 0xffff - random.below(9)])}`;
  const places = [
    `${UNMAPPED_PAGE + random.below(0x1000)}`,
    `${UNMAPPED_PAGE - random.below(9)}`,
    `${READ_ONLY_PAGE + random.below(0x1000)}`,
    `${0xb_8000 + random.below(64)}`,
    `${0xfee0_0000 + random.pick([0x80, 0x320, 0x390, 0xe0, 0x30])}`,
    `${0xfeb0_0000 + 4 * random.below(16)}`,
  ];
  return random.pick(mode === 'long' ? [...places, '0x7ffffffffffc', '0x800000000000', '-5'] : places);
}

function memoryAddress(w: Writer): { load: string[]; operand: string } {
  const { random, mode } = w;
  const base = wide(w, 'bx');
  const start = data[mode];
  const page = start + 0x1000 * (1 + random.below(3));
  if (random.once(12)) return { load: [`mov ${base}, ${special(w)}`], operand: `[${base}]` };
  const near = random.pick([start + random.below(DATA_BYTES), page - random.below(9)]);
  if (random.once(3)) return { load: [], operand: `[${near}]` };
  if (random.once(2)) return { load: [`mov ${base}, ${near}`], operand: `[${base}]` };
  const index = random.pick(['si', 'di']);
  const scale = mode === 'real' ? '' : ` * ${random.pick([1, 2, 4])}`;
  const load = [`mov ${base}, ${start}`, `and ${wide(w, index)}, ${random.pick([0xff, 0x7ff, 0xff8])}`];
  return { load, operand: `[${base} + ${wide(w, index)}${scale} + ${random.below(40)}]` };
}

const memory: Statement = (w) => {
  const { random } = w;
  const { load, operand } = memoryAddress(w);
  const width = operandWidth(w);
  const a = withoutHigh(register(w, width));
  const size = sizeWord(width);
  const operation = random.pick(['add', 'adc', 'sub', 'sbb', 'and', 'or', 'xor', 'cmp']);
  const stackSize = sizeWord(8 * w.size);
  const access = random.pick([
    `mov ${operand}, ${a}`,
    `mov ${operand}, ${a}`,
    `mov ${a}, ${operand}`,
    `mov ${a}, ${operand}`,
    `mov ${size} ${operand}, ${immediate(w, width)}`,
    `${operation} ${operand}, ${a}`,
    `${operation} ${a}, ${operand}`,
    `${operation} ${size} ${operand}, ${random.below(128)}`,
    `${random.pick(['inc', 'dec', 'neg', 'not'])} ${size} ${operand}`,
    `${random.pick(['shl', 'ror', 'rcl', 'sar'])} ${size} ${operand}, ${random.pick(['cl', '1'])}`,
    `xchg ${operand}, ${a}`,
    `lock xadd ${operand}, ${a}`,
    `cmpxchg ${operand}, ${a}`,
    `movzx ecx, byte ${operand}`,
    `bt dword ${operand}, ${random.below(32)}`,
    `push ${stackSize} ${operand}\npop ${wide(w, 'dx')}`,
    `push ${wide(w, 'ax')}\npop ${stackSize} ${operand}`,
  ]);
  return [...load, ...access.split('\n')];
};
/** An access relative to the stack pointer that may lie on two pages: that of the stack, and the one below it. */
const stackEdge: Statement = (w) => {
  const { random, mode } = w;
  if (mode === 'real') return [];
  const [sp, bx, dx] = [wide(w, 'sp'), wide(w, 'bx'), wide(w, 'dx')];
  // What is below the second page of the stack is nobody's.
  const [page, write] = random.pick([
    [at.stack - 0x1000, false],
    [at.stack - 0x2000, true],
  ] as const);
  const access = write && random.once(2) ? `add [${sp} + ${bx}], ${dx}` : `mov ${dx}, [${sp} + ${bx}]`;
  return [`push ${bx}`, `pop ${dx}`, `mov ${bx}, ${page - random.below(10)}`, `sub ${bx}, ${sp}`, access];
};

const withoutHigh = (name: string): string => name.replace(/^([abcd])h$/, '$1l');

const string: Statement = (w) => {
  const { random, mode } = w;
  const operation = random.pick(['movs', 'stos', 'lods', 'cmps', 'scas']);
  const repeat = operation === 'cmps' || operation === 'scas' ? random.pick(['repe', 'repne']) : 'rep';
  const places = () => data[mode] + random.pick([random.below(DATA_BYTES), 0x1000 - random.below(20)]);
  return [
    ...(random.once(8) ? ['std'] : []),
    `mov ${wide(w, 'di')}, ${random.once(15) ? special(w) : places()}`,
    `mov ${wide(w, 'si')}, ${places()}`,
    `mov ${wide(w, 'cx')}, ${random.pick([0, 1, random.below(30), random.below(300)])}`,
    `${random.once(5) ? '' : repeat} ${operation}${random.pick(['b', 'w', 'd'])}`,
    'cld',
  ];
};

// ---- control flow ----------------------------------------------------------------------------------------------------

/** `count` statements, nested ones while there is depth left. */
export function block(w: Writer, depth: number, count: number): string[] {
  return Array.from({ length: count }, () => statement(w, depth)).flat();
}

/** Flags of its own, or those that are there. */
const comparison = (w: Writer): string[] => (w.random.once(3) ? [] : w.random.pick([arithmetic, unary, bit])(w));

type Nested = (w: Writer, depth: number) => string[];
const some = (w: Writer, depth: number): string[] => block(w, depth - 1, 1 + w.random.below(3));

const branch: Nested = (w, depth) => {
  const [other, end] = [w.label(), w.label()];
  const near = `j${condition(w)} near`;
  const lines = [...comparison(w), `${near} ${other}`, ...some(w, depth)];
  if (w.random.once(2)) return [...lines, `${other}:`];
  return [...lines, `jmp near ${end}`, `${other}:`, ...some(w, depth), `${end}:`];
};

/** BP counts; one loop in four can be entered in its middle. */
const loop: Nested = (w, depth) => {
  const { random } = w;
  const bp = wide(w, 'bp');
  const [head, middle, end] = [w.label(), w.label(), w.label()];
  const isIrreducible = random.once(4);
  const again = random.once(5)
    ? [`dec ${bp}`, `jz near ${end}`, `jmp near ${head}`, `${end}:`]
    : [`dec ${bp}`, `jnz near ${head}`];
  return [
    `push ${bp}`,
    `mov ${bp}, ${random.pick([1, 2, 3, 5, 12])}`,
    ...(isIrreducible ? [...comparison(w), `j${condition(w)} near ${middle}`] : []),
    `${head}:`,
    ...some(w, depth),
    ...(isIrreducible ? [`${middle}:`, ...some(w, depth)] : []),
    ...again,
    `pop ${bp}`,
  ];
};

const shortLoop: Statement = (w) => {
  const [head, cx] = [w.label(), wide(w, 'cx')];
  const body = w.random.pick([arithmetic, unary, flagUse])(w);
  return [`mov ${cx}, ${1 + w.random.below(9)}`, `${head}:`, ...body, `and cx, 15`, `loop ${head}`];
};

/** The last ones, a power of two, are in the table `functions`. */
export const TABLE_FUNCTIONS = 4;

const call: Statement = (w) => {
  const { random } = w;
  if (w.callees.length === 0) return arithmetic(w);
  const callee = random.pick(w.callees);
  const [ax, si, word] = [wide(w, 'ax'), wide(w, 'si'), sizeWord(8 * w.size)];
  const direct = [`call ${callee}`];
  const throughRegister = [`mov ${ax}, ${callee}`, `call ${ax}`];
  const throughTable = [`and ${si}, ${(TABLE_FUNCTIONS - 1) * w.size}`, `call ${word} [functions + ${si}]`];
  const mayUseTable = w.callees.length >= TABLE_FUNCTIONS;
  return random.pick([direct, direct, throughRegister, mayUseTable ? throughTable : throughRegister]);
};

const jumpTable: Nested = (w, depth) => {
  const { random } = w;
  const [table, end, si] = [w.label(), w.label(), wide(w, 'si')];
  const cases = Array.from({ length: 4 }, () => w.label());
  const define = { 2: 'dw', 4: 'dd', 8: 'dq' }[w.size];
  const entry = { 2: `[${table} + si]`, 4: `[${table} + esi]`, 8: `[${table} + rsi]` }[w.size];
  return [
    `and ${si}, ${3 * w.size}`,
    `jmp ${entry}`,
    // The table must not go, or its label would name code.
    `${table}: ${define} ${cases.join(', ')}`,
    ...cases.flatMap((name) => [
      `${name}:`,
      ...block(w, depth - 1, 1 + random.below(2)),
      ...(random.once(4) ? [] : [`jmp near ${end}`]),
    ]),
    `${end}:`,
  ];
};

/** A function that calls itself while a counter lasts. */
const recursion: Statement = (w) => {
  const { depth } = cell(w.mode);
  const end = w.label();
  return [
    `cmp byte [${depth}], ${1 + w.random.below(6)}`,
    `jae near ${end}`,
    `inc byte [${depth}]`,
    `call ${w.random.pick(w.functions)}`,
    `dec byte [${depth}]`,
    `${end}:`,
  ];
};

// ---- code that changes -----------------------------------------------------------------------------------------------

const selfModifying: Statement = (w) => {
  const { random } = w;
  const [label, end] = [w.label(), w.label()];
  return random.pick<() => string[]>([
    () => [`inc byte [${label} + 1]`, `${label}:`, `mov al, ${random.below(256)}`],
    () => [`xor byte [${label}], 1`, `${label}:`, `j${condition(w)} short ${end}`, ...unary(w), `${end}:`],
    () => [`${label}:`, `mov dl, ${random.below(256)}`, `mov byte [${label} + 1], ${random.once(2) ? 'cl' : 'dl'}`],
    // INC becomes DEC and back.
    () => [`xor byte [${label} + 1], 8`, `${label}:`, 'inc cl'],
  ])();
};

/** The page of code at `swapped` becomes another one; sometimes nobody tells the TLB. */
const remap: Statement = (w) => {
  const { random, mode } = w;
  if (mode === 'real') return selfModifying(w);
  const flip = `xor dword [${entryOf(mode, `swapped - $$ + ${at.code}`)}], 0x1000`;
  const ax = wide(w, 'ax');
  const tell = random.pick([['invlpg [swapped]'], [`mov ${ax}, cr3`, `mov cr3, ${ax}`], []]);
  return [flip, ...tell, 'call swapped'];
};

// ---- system ----------------------------------------------------------------------------------------------------------

const system: Statement = (w) => {
  const { random, mode } = w;
  const [ax, bx] = [wide(w, 'ax'), wide(w, 'bx')];
  const flags = { real: 'f', protected: 'fd', long: 'fq' }[mode];
  const everywhere = [
    ['cpuid'],
    ['rdtsc'],
    [`in al, ${random.pick([0x20, 0x21, 0x40, 0x61, 0x71])}`],
    [`mov al, ${random.below(256)}`, 'out 0x80, al'],
    [`mov al, ${random.below(64)}`, 'out 0xe9, al'],
    ['int 0x41'],
    ['int 0x41'],
    ['sti'],
    ['cli'],
    ['sti', 'nop'],
    ['push ss', 'pop ss', ...arithmetic(w)].slice(mode === 'long' ? 2 : 0),
    ['mov ax, ss', 'mov ss, ax', ...unary(w)],
    [`push${flags}`, `or word [${wide(w, 'sp')}], ${0x100}`, `pop${flags}`].slice(mode === 'real' ? 3 : 0),
    ['pause'],
    ['mov ax, ds', 'mov ds, ax'],
    ['mov ax, ds', 'mov es, ax'],
    [`mov ${wide(w, 'dx')}, ${condition(w) === 'z' ? 0 : 1}`, 'ud2'].slice(random.once(10) ? 0 : 2),
  ];
  if (mode === 'real') return random.pick(everywhere);
  return random.pick([
    ...everywhere,
    [`mov ${ax}, cr3`, `mov cr3, ${ax}`],
    [`mov ${ax}, cr0`, `mov cr0, ${ax}`],
    [`mov ${bx}, ${data[mode] + random.below(DATA_BYTES)}`, `invlpg [${bx}]`],
    [`mov eax, ${random.pick([0x400, 0x403])}`, `mov dr7, ${ax}`],
    [`mov ${ax}, ${data[mode] + random.below(64)}`, `mov dr0, ${ax}`, 'mov eax, 0xd0402', `mov dr7, ${ax}`],
    ...(mode === 'long' ? [['syscall'], ['syscall'], ['swapgs', 'swapgs']] : []),
  ]);
};

// ---- choice ----------------------------------------------------------------------------------------------------------

const simple: readonly (readonly [weight: number, make: Statement])[] = [
  [14, arithmetic],
  [7, unary],
  [7, shift],
  [2, doubleShift],
  [4, bit],
  [3, multiply],
  [8, flagUse],
  [5, move],
  [14, memory],
  [9, vectorStatement(memoryAddress)],
  [4, stackEdge],
  [3, string],
  [3, shortLoop],
  [9, call],
  [3, recursion],
  [3, selfModifying],
  [5, remap],
  [5, system],
];
const nested: readonly (readonly [weight: number, make: Nested])[] = [
  [16, branch],
  [12, loop],
  [5, jumpTable],
];

function statement(w: Writer, depth: number): string[] {
  const kinds: readonly (readonly [number, Nested])[] = depth > 0 ? [...simple, ...nested] : simple;
  let chosen = w.random.below(kinds.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, make] of kinds) {
    chosen -= weight;
    if (chosen < 0) return make(w, depth);
  }
  throw new Error('the weights do not add up');
}
