/** What the fuzzer found, and is mended: rows as it prints them, each with what the real CPU did. */
import { expect, test } from 'vitest';
import { differences } from '../support/vector-machine.ts';
import type { Mode } from '../vectors/layout.ts';
import { parseVectors } from '../vectors/read-vectors.ts';
import { caseOf } from './fuzz-case.ts';
import { FuzzMachines } from './fuzz-machine.ts';

interface Row {
  readonly name: string;
  readonly mode: Mode;
  readonly row: string;
}

const rows: Row[] = [
  {
    name: 'REX prefixes count among prefixes that make an instruction too long',
    mode: 64,
    row: 'code 4066f3f2f32ef3666766f3f22e6666 4066f3f2f32ef3666766f3f22e6666\n f=202 > rip=100800 exc=13,0',
  },
  {
    name: 'FSTPNCE of an empty register leaves the other one as it is',
    mode: 64,
    row: 'code 66d9d9 66d9d9\n ftw=ba f=202 > fsw=800',
  },
  {
    name: 'FLD of an empty register is an underflow, even if there is no place for it',
    mode: 64,
    row: 'code 40d9c0 40d9c0\n ftw=82 f=202 > fpr7=ffffc000000000000000 fsw=3841',
  },
  {
    name: 'a near branch beyond the limit of CS faults at the branch',
    mode: 16,
    row: 'code 66e945230100 66e945230100\n f=202 > rip=800 exc=13',
  },
  {
    name: 'LOCK that is not allowed, in fifteen bytes, is #UD',
    mode: 64,
    row: 'code 666666666666666666666666f001c0 666666666666666666666666f001c0\n f=202 > rip=100800 exc=6',
  },
  {
    name: 'an operand of 256 bits faults as a whole for the limit of its segment, before its page',
    mode: 32,
    row: 'code c4e1fdd441e4 c4e1fdd441e4\n ecx=0 f=202 > rip=100800 exc=13,0',
  },
  {
    name: 'POP to memory from a stack that is not canonical is #SS',
    mode: 64,
    row: 'code 4df25c8f4364 4df25c8f4364\n f=202 > rsp=e042a40567c92b8c rip=100803 exc=12,0',
  },
  {
    name: 'CALL faults for its stack before it does for a target that is not canonical',
    mode: 64,
    row: 'code 4094f3f367ff11 4094f3f367ff11\n rcx=300200 f=202 > rax=300800 rsp=a4a5a6a7 rip=100802 exc=14,6,a4a5a69f',
  },
  {
    name: 'FLD of a denormal loads it, even if the exception is unmasked',
    mode: 64,
    row: 'code 48d907 48d907\n rdi=2007f5 fcw=7c f=202 > fpr7=3f80c3864a0000000000 fsw=b882 ftw=80 fop=107 fip=100800 fdp=2007f5',
  },
  {
    name: 'VGATHERDPS that faults has cleared the mask of the lanes before, those that were not chosen too',
    mode: 32,
    row: 'code c4e27d927ce018 c4e27d927ce018\n f=202 > xmm0=0 rip=100800 exc=14,4,2fbf4ff',
  },
  {
    name: 'an opcode that does not exist is #UD, though the page ends a few bytes behind it',
    mode: 64,
    row: 'code 40ffe6 40ffe6\n rsi=123456789fee f=202 > rax=a5e7ef82 f=286 rip=123456789ff5 exc=6',
  },
];

test.each(rows)('$name', ({ mode, row }) => {
  const machines = new FuzzMachines();
  for (const vector of parseVectors(`${mode}-found`, `form Found mask=cd5\n${row}\n`)) {
    const found = { ...caseOf(1), mode, instructions: [vector.bytes], input: vector.input };
    const { outcome, disagreements } = machines.run(found);
    expect([...differences(vector, outcome), ...disagreements]).toEqual([]);
    if (vector.output.exception) expect(outcome.rip).toBe(vector.output.rip);
  }
  expect.assertions(row.includes('exc=') ? 2 : 1);
});

test('an EVEX form is not taken for the VEX form of the same name', () => {
  // VPSUBUSB YMM1 {K6}, YMM15, YMM4.
  const instructions = [Uint8Array.of(0x62, 0xf1, 0x05, 0x2e, 0xd8, 0xcc)];
  const { end, what } = new FuzzMachines().run({ ...caseOf(1), mode: 64, instructions });
  expect({ end, what }).toMatchObject({ end: 'unimplemented', what: expect.stringContaining('EVEX_VPSUBUSB') });
});
