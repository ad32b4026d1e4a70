/**
 * INVLPG and MOV to CR3 in WebAssembly do exactly what their functions do, to which a filter for such instructions leads:
 * random programs that change mappings and forget to invalidate some, run both ways, see the same stale translations.
 */
import { describe, expect, test } from 'vitest';
import { type Random, random } from '../support/random.ts';
import { type GuestRun, guestFromSource, MIB, runToEnd } from '../vmm/run-guest.ts';

/** Two address spaces that share the low GiB and differ in the second; each has a table of 4-KiB pages in the latter. */
const ROOTS = [0x20_0000, 0x21_0000];
const [PDPT, PD, LOW_PD, PT] = [0x1000, 0x2000, 0x3000, 0x4000];
const AREA = 0x4000_0000;
const PAGES = 24;
const FRAMES = 0x40_0000;
const GLOBAL = 0x100;
const STEPS = 700;

const pick = <T>(next: Random, values: readonly T[]): T => values[next(values.length)] as T;
const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
/** A present, writable, accessed and dirty entry for one of sixteen frames. */
const entry = (next: Random): number => (FRAMES + next(16) * 4096) | 0x63 | (next(4) ? 0 : GLOBAL);

const store = (address: number, value: number): string => `mov qword [${hex(address)}], ${hex(value)}`;

/** Tables of both spaces, and a number in each frame. */
function setUp(next: Random): string[] {
  const lines = [];
  for (const root of ROOTS) {
    lines.push(store(root, (root + PDPT) | 3), store(root + PDPT, (root + LOW_PD) | 3));
    lines.push(store(root + PDPT + 8, (root + PD) | 3), store(root + PD, (root + PT) | 3));
    for (let index = 0; index < 4; index++) lines.push(store(root + LOW_PD + index * 8, (index << 21) | 0xe3));
    // One page of 2 MBytes in the upper GiB as well.
    lines.push(store(root + PD + 8, 0x40_0000 | 0xe3));
    for (let page = 0; page < PAGES; page++) lines.push(store(root + PT + page * 8, entry(next)));
  }
  for (let frame = 0; frame < 16; frame++) lines.push(store(FRAMES + frame * 4096, 0x1111 * frame + 1));
  return lines;
}

function step(next: Random, pcids: boolean): string[] {
  const page = AREA + (next(12) ? next(PAGES) * 4096 : 0x20_0000 + next(4) * 4096);
  switch (next(12)) {
    case 0: {
      const root = BigInt(pick(next, ROOTS)) + BigInt(pcids ? next(3) : 0);
      const keep = pcids && next(2) === 0 ? 1n << 63n : 0n;
      return [`mov rax, ${hex(root | keep)}`, 'mov cr3, rax'];
    }
    case 1:
    case 2:
      return [`invlpg [${hex(page + next(4096))}]`];
    case 3:
      return [`mov ecx, ${hex(page - 0x1000)}`, 'mov edx, 0x200', `invlpg [rcx + rdx*8]`];
    case 4:
    case 5:
    case 6:
      return [store(pick(next, ROOTS) + PT + next(PAGES) * 8, entry(next))];
    case 7:
      return [`mov [${hex(page + 8)}], r12d`];
    default:
      return [`add r12, [${hex(page + 8 * next(2))}]`, 'rol r12, 5'];
  }
}

function program(seed: number, pcids: boolean): string {
  const next = random(seed);
  const body = Array.from({ length: STEPS }, () => step(next, pcids)).flat();
  const features = pcids ? 0x2_0080 : 0x80;
  return ['bits 64', 'org 0x100000', ...setUp(next), `mov eax, ${hex(ROOTS[0] as number)}`, 'mov cr3, rax']
    .concat(['mov rax, cr4', `or eax, ${hex(features)}`, 'mov cr4, rax', 'mov r12d, 1', ...body, 'hlt'])
    .join('\n');
}

const bare = (source: string) => guestFromSource(source, { virtualization: 'none', memoryBytes: 8 * MIB });

function remembered({ machine }: GuestRun) {
  const { mmu } = machine.host;
  return { hash: machine.stateHash(), count: machine.instructionCount, tlb: mmu.tlb.linear.entries() };
}

describe('INVLPG and MOV to CR3', () => {
  test.each([1, 2, 3].flatMap((seed) => [false, true].map((pcids) => [seed, pcids] as const)))(
    'program %i, PCIDs %s: both ways see the same',
    async (seed, pcids) => {
      const source = program(seed * 0x9e37, pcids);
      const [fast, slow] = [await bare(source), await bare(source)];
      let told = 0;
      slow.machine.setFilter('privileged-instruction', true, () => ++told < 0);
      for (const guest of [fast, slow]) expect(runToEnd(guest)).toMatchObject({ kind: 'halted' });
      expect(told).toBeGreaterThan(STEPS / 6);
      expect(remembered(fast)).toEqual(remembered(slow));
      const { mmu, physical } = fast.machine.host;
      const stale = mmu.tlb.linear.entries().filter(({ page, root, pageShift, physical: frame }) => {
        if (page < AREA || pageShift !== 12) return false;
        return (physical.readU32(root + PT + (page - AREA) / 512) & ~0xfff) !== frame;
      });
      expect(stale.length, 'stale translations at the end').toBeGreaterThan(0);
    },
  );

  test('code that is mapped elsewhere is still fetched from where it was, until INVLPG', async () => {
    const at = (value: number) => `mov edi, ${hex(value)}\ncall rdi`;
    const { machine } = await bare(`
bits 64
org 0x100000
  mov esp, 0x180000
${setUp(random(7)).join('\n')}
${store((ROOTS[0] as number) + PT, FRAMES | 0x63)}
  mov eax, ${hex(ROOTS[0] as number)}
  mov cr3, rax
  mov dword [${hex(FRAMES)}], 0xc3c0ff
  mov dword [${hex(FRAMES + 0x1000)}], 0xc3c3ff
  xor eax, eax
  xor ebx, ebx
  mov ecx, 100
again:
  ${at(AREA)}
  loop again
${store((ROOTS[0] as number) + PT, (FRAMES + 0x1000) | 0x63)}
  ${at(AREA)}
  invlpg [${hex(AREA + 8)}]
  ${at(AREA)}
  hlt`);
    expect(machine.run()).toMatchObject({ kind: 'halted' });
    const vcpu = machine.vcpus[0];
    expect([vcpu?.readRegister('rax'), vcpu?.readRegister('rbx')]).toEqual([101n, 1n]);
  });

  test('where a run stops after a branch, the target has not been fetched', async () => {
    const { machine } = await bare(`
bits 64
org 0x100000
  mov esp, 0x180000
${setUp(random(7)).join('\n')}
  mov eax, ${hex(ROOTS[0] as number)}
  mov cr3, rax
  mov dword [${hex(AREA)}], 0xc3c0ff
again:
  invlpg [${hex(AREA)}]
  mov edi, ${hex(AREA)}
  call rdi
  jmp again`);
    const { mmu } = machine.host;
    let stopsAtTarget = 0;
    for (let slice = 0; slice < 1000; slice++) {
      machine.run({ instructions: 1000 + (slice % 7) });
      if (machine.vcpus[0]?.readRegister('rip') !== BigInt(AREA)) continue;
      stopsAtTarget++;
      expect(mmu.tlb.linear.entries().filter(({ page }) => page === AREA)).toEqual([]);
    }
    expect(stopsAtTarget).toBeGreaterThan(20);
  });
});
