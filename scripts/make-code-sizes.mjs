/**
 * Writes engine/isa/code-sizes.ts: the operand and address sizes of iced-x86's codes. To be run when that library is
 * updated; test/isa/code-sizes.test.ts tells.
 */
import { writeFileSync } from 'node:fs';
import { Code, CodeExt } from 'iced-x86';

const SIZES = [0, 16, 32, 64];

/** One hexadecimal digit a code: the operand size's place in SIZES, and four times that of the address size. */
function digits() {
  let all = '';
  for (let code = 0; Code[code] !== undefined; code++) {
    const info = CodeExt.opCode(code);
    all += (SIZES.indexOf(info.operandSize) + 4 * SIZES.indexOf(info.addressSize)).toString(16);
    info.free();
  }
  return all;
}

const runs = digits()
  .match(/(.)\1*/g)
  .map((run) => (run.length > 1 ? `${run[0]}*${run.length}` : run[0]));
const lines = [];
let line = '';
for (const run of runs) {
  if (line.length + run.length > 110) {
    lines.push(line);
    line = '';
  }
  line += line === '' ? run : ` ${run}`;
}
lines.push(line);

writeFileSync(
  new URL('../engine/isa/code-sizes.ts', import.meta.url),
  `/**
 * The operand and address sizes that iced-x86's codes fix; made by scripts/make-code-sizes.mjs. The library tells them too,
 * but sets up a description of each of its instructions when it is first asked, which takes longer than decoding a kernel's start.
 */

/** By code: a hexadecimal digit, with \`*\` and how often it comes if that is more than once. */
const RUNS = \`
${lines.join('\n')}
\`;

const SIZES = [0, 16, 32, 64] as const;
type Size = (typeof SIZES)[number];
const digits = RUNS.trim()
  .split(/\\s+/)
  .flatMap((run) => {
    const [digit = '', times = '1'] = run.split('*');
    return new Array<number>(Number(times)).fill(Number.parseInt(digit, 16));
  });

/** Bits, of iced-x86's \`Code\`; 0 if the code does not fix it. */
export const operandSizeOfCode = (code: number): Size => SIZES[(digits[code] ?? 0) & 3] as Size;
/** As operandSizeOfCode. */
export const addressSizeOfCode = (code: number): Size => SIZES[(digits[code] ?? 0) >> 2] as Size;
`,
);
