/** The filter "stale translation used": where it stops, what it says is missing, and that it changes nothing. */
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { MachineEvent, Stop } from '../../engine/index.ts';
import type { Machine } from '../../engine/machine/machine.ts';
import { SECONDARY } from '../../engine/vmx/controls.ts';
import { bootGuest } from '../support/guests.ts';
import { guestFromFile, guestFromSource } from '../vmm/run-guest.ts';
import { bareHypervisor, EPT_ROOT, SKIP } from '../vmx/bare-hypervisor.ts';

const samples = resolve(import.meta.dirname, '../../samples');
const benchGuests = resolve(import.meta.dirname, '../bench/guests');

/** RBX is the address of a page that only [table] maps; R8 one that is mapped by [table + 8]. */
const paged = (body: string): string => `bits 64
org 0x100000
table equ 0x202000
  mov rsp, 0x90000
  mov rax, cr3
  mov qword [rax + 8], 0x200003
  mov qword [0x200000], 0x201003
  mov qword [0x201000], table + 3
  mov qword [table], 0x300003
  mov qword [table + 8], 0x301003
  mov rbx, 0x8000000000
  lea r8, [rbx + 0x1000]
  ${body}
  mov al, 0
  out 0xf4, al
`;
const hotSpots = { hotAfter: 1_000_000, watchedBlocks: 8 };

async function armed(body: string, options: Parameters<typeof guestFromSource>[1] = { hotSpots }): Promise<Machine> {
  const { machine } = await guestFromSource(paged(body), { virtualization: 'none', ...options });
  machine.setFilter('stale-translation', true);
  machine.history.checkpoint();
  return machine;
}

function eventOf(stop: Stop): MachineEvent {
  if (stop.kind !== 'event') throw new Error(`stopped by ${JSON.stringify(stop)}`);
  return stop.event;
}
/** Every stop to the end: title, and at which instruction. */
function stopsOf(machine: Machine): string[] {
  const all: string[] = [];
  for (let stop = machine.run(); stop.kind !== 'exited'; stop = machine.run()) {
    all.push(`${eventOf(stop).title} @${machine.instructionCount}`);
  }
  return all;
}

describe('stops after', () => {
  test('a read of a page that is another one now; whoever invalidates it is left alone', async () => {
    const machine = await armed(
      'mov eax, [rbx]\n mov qword [table], 0x302003\n mov eax, [rbx]\n invlpg [rbx]\n mov eax, [rbx]',
    );
    const { title, values, explanation } = eventOf(machine.run());
    expect(title).toBe('Stale translation used: read of 0x8000000000, which the TLB has at 0x300000');
    expect(values).toMatchObject({
      address: 0x80_0000_0000n,
      access: 'read',
      physical: 0x30_0000n,
      now: 0x30_2000n,
      table: 'guest',
    });
    expect(explanation).toEqual([
      expect.stringMatching(/was accessed at physical address 0x300000, .* the tables now lead to 0x302000\.$/),
      expect.stringMatching(/entry at 0x202000 was last written by MOV at 0x1000\w\w, at instruction \d+\.$/),
      expect.stringMatching(/^INVLPG 0x8000000000 is missing/),
    ]);
    expect(machine.run()).toMatchObject({ kind: 'exited' });
  });
  test.each([
    ['a page that is not present any more', 'mov eax, [rbx]\n mov qword [table], 0\n mov eax, [rbx]', 'not present'],
    [
      'a write that is not allowed any more',
      'mov [rbx], eax\n mov qword [table], 0x300001\n mov [rbx], eax',
      'do not allow',
    ],
    ['a reserved bit', 'mov eax, [rbx]\n mov byte [table + 6], 8\n mov eax, [rbx]', 'reserved bit'],
    [
      'a global page, which MOV to CR3 keeps',
      'mov rax, cr4\n or al, 0x80\n mov cr4, rax\n or byte [table + 1], 1\n mov eax, [rbx]\n mov qword [table], 0x302103\n mov rax, cr3\n mov cr3, rax\n mov eax, [rbx]',
      'lead to 0x302000',
    ],
    [
      'an entry of a higher table',
      'mov eax, [rbx]\n mov qword [0x201000], 0x203003\n mov qword [0x203000], 0x304003\n mov eax, [rbx]',
      'lead to 0x304000',
    ],
  ])('%s', async (_, body, words) => {
    const machine = await armed(body);
    expect(eventOf(machine.run()).explanation[0]).toContain(words);
    expect(machine.run()).toMatchObject({ kind: 'exited' });
  });
  test('each access by a stale entry, of system instructions and pushes too', async () => {
    const stale = 'mov eax, [rbx]\n mov [rbx], eax\n mov qword [table], 0x302003\n';
    const machine = await armed(
      `${stale} add [rbx], eax\n lea rsp, [rbx + 64]\n push rax\n sgdt [rbx]\n mov eax, [r8]`,
    );
    expect(stopsOf(machine).map((text) => text.replace(/:? of .*/, '').split(': ')[1])).toEqual([
      'write',
      'write',
      'write',
    ]);
  });
  test('each page of many under an entry that was changed', async () => {
    const eachPage = (turn: string) => `mov ecx, 20\n ${turn}:\n mov rdx, rcx\n shl rdx, 12\n`;
    const machine = await armed(
      `${eachPage('first')} lea rsi, [rdx + 0x300003]\n mov [table + rcx * 8], rsi\n mov eax, [rbx + rdx]\n loop first
       mov qword [0x201000], 0x203003\n ${eachPage('second')} mov eax, [rbx + rdx]\n loop second`,
    );
    expect(stopsOf(machine)).toHaveLength(20);
  });
  test('a condition', async () => {
    const machine = await armed('mov [rbx], eax\n mov qword [table], 0x302003\n mov eax, [rbx]\n mov [rbx + 8], eax');
    machine.setFilter('stale-translation', true, ({ values }) => values.access === 'write');
    expect(eventOf(machine.run()).title).toContain('write of 0x8000000008');
  });
});

test('stops before an instruction that is fetched from a page that is another one now, at each of its instructions', async () => {
  const code =
    'mov dword [0x300000], 0xc3909090\n mov dword [0x302000], 0xc3909090\n call rbx\n mov qword [table], 0x302003\n call rbx';
  const machine = await armed(code);
  const event = eventOf(machine.run());
  expect(event.title).toContain('fetch of 0x8000000000');
  expect(machine.vcpus[0]?.rip).toBe(0x80_0000_0000n);
  const rest = stopsOf(machine).map((title) => /of (0x\w+)/.exec(title)?.[1]);
  expect(rest).toEqual(['0x8000000001', '0x8000000002', '0x8000000003']);
});

describe('in a hot loop', () => {
  /** 20,000 turns that read two pages; at a turn of its own one of them becomes another, and stays so for some turns. */
  const loop = `
  mov ecx, 20000
again:
  add rax, [rbx]
  add rax, [r8]
  cmp ecx, 3000
  jne over
  mov qword [table + 8], 0x305003
over:
  cmp ecx, 2990
  jne on
  invlpg [r8]
on:
  dec ecx
  jnz again`;
  test('compiled code stops where the interpreter does, forwards and backwards', async () => {
    const interpreted = stopsOf(await armed(loop));
    expect(interpreted.length).toBe(10);
    const compiled = await armed(loop, { hotSpots: { hotAfter: 1, sampleEvery: 100, watchedBlocks: 8 } });
    expect(stopsOf(compiled)).toEqual(interpreted);
    for (const expected of [...interpreted].reverse().slice(0, 3)) {
      const reverse = compiled.history.reverse(() => true);
      let result = reverse.next();
      while (!result.done) result = reverse.next();
      expect(`${eventOf(result.value as Stop).title} @${compiled.instructionCount}`).toBe(expected);
    }
  });
});

describe('under EPT', () => {
  const secondary = SECONDARY['Enable EPT'] | SECONDARY['Enable VPID'];
  const fields = { 'EPT pointer': EPT_ROOT + 0x1e, 'Virtual-processor identifier': 7 };
  // The entry of the second GByte, which the guest reads at 1 GByte + 3 MBytes, leads to the first one.
  const guest = 'mov ebx, 0x40300000\n mov eax, [rbx]\n cpuid\n mov eax, [rbx]';
  const change = `mov dword [${EPT_ROOT + 0x1008}], 0x000000b7`;
  test('a changed EPT entry asks for INVEPT', async () => {
    const { machine } = await bareHypervisor({ secondary, fields, guest, handlers: { 10: `${change}\n ${SKIP}` } });
    machine.setFilter('stale-translation', true);
    const { values, explanation } = eventOf(machine.run());
    expect(values).toMatchObject({ table: 'EPT', physical: 0x4030_0000n, now: 0x30_0000n, non_root: 1n });
    expect(explanation.at(-1)).toBe(
      `INVEPT is missing after the change: single-context with EPTP 0x${(EPT_ROOT + 0x1e).toString(16)}, or all contexts.`,
    );
  });
  test('not with it', async () => {
    const invept = `${change}\n mov eax, 2\n invept rax, [zeros]\n ${SKIP}`;
    const data = 'align 16\nzeros: dq 0, 0';
    const { machine } = await bareHypervisor({ secondary, fields, guest, handlers: { 10: invept }, data });
    machine.setFilter('stale-translation', true);
    expect(machine.run()).toMatchObject({ kind: 'exited', code: 18 });
  });
});

test('page faults at each turn are what they are without the filter', async () => {
  const end = async (isOn: boolean) => {
    const { machine } = await bootGuest(`${benchGuests}/ring64.elf`, { commandLine: 'sys=10 int=10 pf=20000' });
    machine.setFilter('stale-translation', isOn);
    expect(machine.run()).toMatchObject({ kind: 'exited' });
    return { instructions: machine.instructionCount, hash: machine.stateHash() };
  };
  expect(await end(true)).toEqual(await end(false));
});

test.each(['c-program/c-program.elf', 'rings/rings.asm', 'paging/paging.asm'])(
  '%s runs as without the filter',
  async (sample) => {
    const run = async (isOn: boolean) => {
      const { machine } = await guestFromFile(`${samples}/${sample}`, { virtualization: 'none' });
      const titles: string[] = [];
      machine.setFilter('stale-translation', isOn, ({ title }) => {
        titles.push(title);
        return false;
      });
      expect(machine.run({ instructions: 5_000_000 })).toMatchObject({ kind: 'exited' });
      return { titles, hash: machine.stateHash() };
    };
    const [plain, watched] = [await run(false), await run(true)];
    expect(watched.hash).toBe(plain.hash);
    expect(watched.titles.length).toBe(sample.startsWith('paging') ? 1 : 0);
  },
);
