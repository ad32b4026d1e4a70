/**
 * The operand and address sizes that iced-x86's codes fix; made by scripts/make-code-sizes.mjs. The library tells them too,
 * but sets up a description of each of its instructions when it is first asked, which takes longer than decoding a kernel's start.
 */

/** By code: a hexadecimal digit, with `*` and how often it comes if that is more than once. */
const RUNS = `
0*6 1 2 3 0 1 2 3 0 1 2 3 1 2 1 2 0 1 2 3 0 1 2 3 0 1 2 3 1 2 1 0 1 2 3 0 1 2 3 0 1 2 3 1 2 1 2 0 1 2 3 0 1 2 3
0 1 2 3 1 2 1 2 0 1 2 3 0 1 2 3 0 1 2 3 0*2 1 2 3 0 1 2 3 0 1 2 3 0*2 1 2 3 0 1 2 3 0 1 2 3 0*2 1 2 3 0 1 2 3 0
1 2 3 0 1 2 1 2 1 2 3 1 2 3 1 2 1 2 1 2 1 2 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0 1 2 0 1 2 1 2 3 1 2 3 1 2 3 1 2 3 1
2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0*8 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1
2 3 1 2 3 0*8 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 1 2 3 1 2 3 1 2 3
1 2 3 1 2 3 1 2 3 0 1 2 3 1 2 3 1 2 0 1 2 3 1 2 3 0*3 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 0 1 2 3 0 1
2 3 0 1 2 3 0*8 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 1 2 0*2 1 2 3 1 2 1 2 3 1 2 3 1
2 3 1 2 3 0*3 1 2 3 0*8 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0*8 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3
1 2 3 1 2 3 0*23 1 2 0 1*2 2*2 0*89 1 2 1*2 2*2 0*42 5 6 9 a b d f 5 6 9 a b d f 5 6 9 a b d f 5 6 9 a b d f 0
1 2 0 1 2 1 2 3 1 2 3 1 2 1 2 3 0 1 2 0 1 2 0*11 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0*8 1 2 3 1 2
3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 1 2 0 1 2 0 1 2 0 1 2 0 1 2 3 0 1 2 3
0*7 4 8 c 0*10 4 8 c 0 4 8 c 4 8 c 0*3 4 8 c 0*6 4 8 c 0*2 4 8 c 0 1 2 3 1 2 3 0*6 3 0*5 1 2 3 0*5 1 2 0 1 2
0*116 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0*20 3 0*2 1 2 3 0*37 3 0*5 3 0*21 3 0*5 3 0*7 3 0*5 3
0*22 3 0 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 0*32 3
0*5 3 0*324 3 0 3 0*236 3 0 3 0*32 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2
3 1 2 3 1 2 3 1 2 3 0*40 1 2 3 1 2 3 0 1 2 3 1 2 3 1 2 3 4 8 c 4 8 c 4 8 c 1 2 4 8 c 4 8 c 4 8 c 4 8 c 4 8 c 4
8 c 1 2 0 1 2 1 2 3 1 2 3 0 1 2 3 1 2 3 1 2 3 0 3 0 3 0 3 0 3 0*2 3 0*3 3 0*2 3 0 3 0 3 0 3 0 3 0*2 3 0 4 8 c 0
3 0*27 1 2 3 0 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1 2 3 1
2 3 1 2 3 1 2 3 1 2 3 1 2 3 0 1 2 3 0*19 3 0 3 0 3 0*5 3 0 3 0*17 3 0 3 0 3 0 3 0*3 1 2 3 0 1 2 3 0*2 1 2 3
0*47 3 0 3 0*298 1 2 3 0*1098 1 2 3 0 3 1 2 3 1 2 3 0*11 3 0*5 3 0 3 0 3 0*10 4 8 c 4 8 c 4 8 c 0 3 0*60 3 0*5
3 0*5 3 0*5 3 0*36 3 0*8 3 0*133 3 0*3 3 0*229 4 8 c 0*3 4 8 c 0*8 3 0*88 4 8 c 4 8 c 1 2 3 0*497 4 8 c 4 8 c 4
8 c 4 8 c 4 8 c 0*8 3 0 3 0 3 0 3 0*88
`;

const SIZES = [0, 16, 32, 64] as const;
type Size = (typeof SIZES)[number];
const digits = RUNS.trim()
  .split(/\s+/)
  .flatMap((run) => {
    const [digit = '', times = '1'] = run.split('*');
    return new Array<number>(Number(times)).fill(Number.parseInt(digit, 16));
  });

/** Bits, of iced-x86's `Code`; 0 if the code does not fix it. */
export const operandSizeOfCode = (code: number): Size => SIZES[(digits[code] ?? 0) & 3] as Size;
/** As operandSizeOfCode. */
export const addressSizeOfCode = (code: number): Size => SIZES[(digits[code] ?? 0) >> 2] as Size;
