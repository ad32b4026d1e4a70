/** Which blocks make up a region, and when a block is hot. Blocks are given as bytes at their RIPs, of 64-bit code. */

import { describe, expect, test } from 'vitest';
import type { Block } from '../../engine/exec/block.ts';
import { HotSpots } from '../../engine/exec/compiler/hot-spots.ts';
import { regionFrom } from '../../engine/exec/compiler/region.ts';
import { decodeInstructions } from '../../engine/isa/decode.ts';
import type { LinearAddress } from '../../engine/isa/linear-address.ts';

const CODE = { codeSize: 64, stackSize: 64, extensions: 0 } as const;

function block(rip: number, bytes: readonly number[]): Block {
  const instructions = [...decodeInstructions(Uint8Array.from(bytes), 64, rip)];
  return {
    record: 0,
    count: instructions.length,
    pages: [0],
    location: { ...CODE, physical: rip, linear: rip, rip, pageOffset: rip },
    instructions,
    heat: 0,
    heatedSince: 0,
    targets: new Set(),
    valid: true,
    single: false,
    bound: [],
  };
}

const DEC_ECX = [0xff, 0xc9];
const RET = [0xc3];
/** Of two bytes, that end at `end`. */
const jnz = (end: number, to: number) => [0x75, (to - end) & 0xff];
const call = (end: number, to: number) => [0xe8, (to - end) & 0xff, 0xff, 0xff, 0xff];

interface Row {
  readonly name: string;
  readonly blocks: readonly Block[];
  /** RIPs of those in the region, in its order. */
  readonly region: readonly number[];
}

const rows: Row[] = [
  {
    name: 'a loop, without what follows',
    blocks: [block(0x100, [...DEC_ECX, ...jnz(0x104, 0x100)]), block(0x104, RET)],
    region: [0x100],
  },
  {
    name: 'an inner loop, with the outer one, without what follows',
    blocks: [
      block(0x100, [...DEC_ECX, ...jnz(0x104, 0x100)]),
      block(0x104, [...DEC_ECX, ...jnz(0x108, 0x100)]),
      block(0x108, RET),
    ],
    region: [0x100, 0x104],
  },
  {
    name: 'a loop, with all of the function it calls',
    blocks: [
      block(0x100, call(0x105, 0x80)),
      block(0x105, [...DEC_ECX, ...jnz(0x109, 0x100)]),
      block(0x109, RET),
      block(0x80, [...DEC_ECX, ...jnz(0x84, 0x90)]),
      block(0x84, RET),
      block(0x90, RET),
    ],
    region: [0x100, 0x80, 0x105, 0x90, 0x84],
  },
  {
    name: 'all that is reached, if nothing leads back',
    blocks: [block(0x100, [...DEC_ECX, ...jnz(0x104, 0x120)]), block(0x104, RET), block(0x120, RET)],
    region: [0x100, 0x120, 0x104],
  },
];

describe('a region has', () => {
  test.each(rows)('$name', ({ blocks, region }) => {
    const find = (_from: Block, rip: LinearAddress) => blocks.find(({ location }) => location.rip === rip);
    const { nodes } = regionFrom(blocks[0] as Block, find, new Set());
    expect(nodes.map((node) => node.block.location.rip)).toEqual(region);
  });
});

test('a block that is met after each few instructions is not hot before they have added up to samples', () => {
  const regions = {
    isEntry: () => false,
    isMember: () => false,
    isLoopHeader: () => false,
    compile: () => {},
    compileSoon: () => {},
  };
  const hotSpots = new HotSpots(regions, { hotAfter: 3, sampleEvery: 100, watchedBlocks: 1 });
  const met = block(0x100, [...DEC_ECX, ...jnz(0x104, 0x100)]);
  let executed = 0;
  for (; !hotSpots.isWatching; executed += 20) hotSpots.met(met, 20);
  expect(executed).toBe(300);
});
