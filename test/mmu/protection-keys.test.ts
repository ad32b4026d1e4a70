import { describe, expect, test } from 'vitest';
import { Access, Privilege } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { interruptTable } from '../support/interrupt-table.ts';
import { bootSource } from '../support/source-guests.ts';
import { A, bench, D, enable, map, P, RW, setCpl, thrown, US } from './machine.ts';

const PKE = 1 << 22;
const PKS = 1 << 24;
const WP = 1 << 16;
const LINEAR = 0x40_3000;
const KEY = 5;
const ACCESS_DISABLE = 1 << (2 * KEY);
const WRITE_DISABLE = 2 << (2 * KEY);

/** A page of key 5; its accesses at a CPL under a PKRU give nothing, or the fault. */
function page(
  entry: bigint,
  {
    cpl,
    pkru = 0,
    pkrs = 0,
    cr4 = PKE,
    cr0 = WP,
  }: Partial<Record<'pkru' | 'pkrs' | 'cr4' | 'cr0', number>> & { cpl: number },
) {
  const b = bench();
  enable(b, PagingMode.Level4);
  map(b, PagingMode.Level4, LINEAR, 0x5000n | entry | (BigInt(KEY) << 59n));
  b.state.cr4 |= cr4;
  b.state.cr0 = (b.state.cr0 & ~WP) | cr0;
  b.state.pkru = pkru;
  b.state.pkrs = pkrs;
  b.mmu.contextChanged();
  setCpl(b, cpl);
  return (access: Access, privilege: Privilege = Privilege.Current) =>
    thrown(() => b.mmu.translate(LINEAR, access, privilege));
}

const USER = P | RW | US | A | D;
const OPEN = 'nothing';

describe('a page of the user', () => {
  test('whose key disables access', () => {
    for (const cpl of [0, 3]) {
      const access = page(USER, { cpl, pkru: ACCESS_DISABLE });
      const user = cpl === 3 ? 4 : 0;
      expect(access(Access.Read)).toBe(`#PF(${0x21 | user})`);
      expect(access(Access.Write)).toBe(`#PF(${0x23 | user})`);
      expect(access(Access.Execute)).toBe(OPEN);
    }
  });
  test('whose key disables writes', () => {
    const access = page(USER, { cpl: 3, pkru: WRITE_DISABLE });
    expect(access(Access.Read)).toBe(OPEN);
    expect(access(Access.Write)).toBe('#PF(39)');
  });
  test('whose key disables writes: a supervisor is held to it by CR0.WP alone', () => {
    expect(page(USER, { cpl: 0, pkru: WRITE_DISABLE })(Access.Write)).toBe('#PF(35)');
    expect(page(USER, { cpl: 0, pkru: WRITE_DISABLE, cr0: 0 })(Access.Write)).toBe(OPEN);
  });
  test('whose key is open while all others are not', () => {
    const access = page(USER, { cpl: 3, pkru: ~(ACCESS_DISABLE | WRITE_DISABLE) >>> 0 });
    expect([access(Access.Read), access(Access.Write)]).toEqual([OPEN, OPEN]);
  });
  test('without CR4.PKE', () => {
    expect(page(USER, { cpl: 3, pkru: ACCESS_DISABLE, cr4: 0 })(Access.Write)).toBe(OPEN);
  });
  test('that is read-only besides: the error code says both', () => {
    expect(page(P | US | A, { cpl: 3, pkru: WRITE_DISABLE })(Access.Write)).toBe('#PF(39)');
    expect(page(P | US | A, { cpl: 3, pkru: 0 })(Access.Write)).toBe('#PF(7)');
  });
});

describe('a page of the supervisor', () => {
  const SUPERVISOR = P | RW | A | D;
  test('has no key in PKRU', () => {
    const access = page(SUPERVISOR, { cpl: 0, pkru: 0xffff_ffff, cr4: PKE | PKS });
    expect([access(Access.Read), access(Access.Write)]).toEqual([OPEN, OPEN]);
  });
  test('whose key IA32_PKRS disables: all data accesses fault, fetches do not', () => {
    const access = page(SUPERVISOR, { cpl: 0, pkrs: ACCESS_DISABLE, cr4: PKS });
    expect(access(Access.Read)).toBe('#PF(33)');
    expect(access(Access.Write)).toBe('#PF(35)');
    expect(access(Access.Execute)).toBe(OPEN);
  });
  test('whose key disables access: implicit accesses fault too, from CPL 3 as from CPL 0', () => {
    const access = page(SUPERVISOR, { cpl: 3, pkrs: ACCESS_DISABLE, cr4: PKS });
    expect(access(Access.Read, Privilege.Supervisor)).toBe('#PF(33)');
  });
  test('whose key disables writes: CR0.WP decides', () => {
    const access = page(SUPERVISOR, { cpl: 0, pkrs: WRITE_DISABLE, cr4: PKS });
    expect([access(Access.Read), access(Access.Write)]).toEqual([OPEN, '#PF(35)']);
    expect(page(SUPERVISOR, { cpl: 0, pkrs: WRITE_DISABLE, cr4: PKS, cr0: 0 })(Access.Write)).toBe(OPEN);
  });
  test('without CR4.PKS', () => {
    expect(page(SUPERVISOR, { cpl: 0, pkrs: 0xffff_ffff })(Access.Write)).toBe(OPEN);
  });
  test('accessed by the user: denied by U/S alone', () => {
    expect(page(SUPERVISOR, { cpl: 3, pkrs: ACCESS_DISABLE, cr4: PKS })(Access.Read)).toBe('#PF(5)');
  });
});

test('a page of the user has no key in IA32_PKRS', () => {
  const access = page(USER, { cpl: 0, pkrs: 0xffff_ffff, cr4: PKE | PKS });
  expect([access(Access.Read), access(Access.Write)]).toEqual([OPEN, OPEN]);
});

describe('in a guest', () => {
  /** Maps 2 MiB at 8 MiB for the user, with a key; AL at the end, or the error code of a page fault + 80H. */
  const run = (key: number, code: string, rights = 0x87): number => {
    const { machine } = bootSource(
      `bits 64
org 0x100000
start:
  lidt [idtr]
  mov rbx, cr3
  or qword [rbx], 4
  or qword [rbx + 0x1000], 4
  mov rax, 0x800000 | ${rights} | ${key} << 59
  mov [rbx + 0x2000 + 4 * 8], rax
  mov rax, cr4
  bts eax, 22
  mov cr4, rax
  mov rax, cr3
  mov cr3, rax
  mov ebx, 0x800000
  xor ecx, ecx
  xor edx, edx
  mov byte [rbx], 42
  ${code}
  out 0xf4, al
on_fault:
  pop rax
  add al, 0x80
  out 0xf4, al
${interruptTable({ 14: 'on_fault' })}`,
      { mode: 'long' },
    );
    const stop = machine.run({ instructions: 1_000_000 });
    if (stop.kind !== 'exited') throw new Error(`expected the guest to exit, found ${JSON.stringify(stop)}`);
    return stop.code;
  };
  const wrpkru = (value: number) => `mov eax, ${value}\nxor ecx, ecx\nwrpkru`;
  test.each([
    ['a page that was just accessed', 1, `${wrpkru(1 << 2)}\nmov al, [rbx]`, 0x80 + 0x21],
    ['a page of another key', 1, `${wrpkru(1 << 4)}\nmov al, [rbx]`, 42],
    ['key 0, as every page has it that says nothing', 0, `${wrpkru(1)}\nmov al, [rbx]`, 0x80 + 0x21],
    ['a page that is opened again', 1, `${wrpkru(1 << 2)}\n${wrpkru(0)}\nmov al, [rbx]`, 42],
    [
      'a write in a loop that is compiled',
      1,
      `mov ecx, 200000\n.l: inc byte [rbx]\nloop .l\n${wrpkru(2 << 2)}\ninc byte [rbx]`,
      0x80 + 0x23,
    ],
    [
      'a page that XRSTOR closes',
      1,
      `mov rax, cr4
  bts eax, 18
  mov cr4, rax
  mov eax, 0x207
  xsetbv
  mov qword [rbx + 0x1200], 0x200
  mov dword [rbx + 0x1000 + 2688], 1 << 2
  mov eax, 0x200
  xrstor [rbx + 0x1000]
  mov al, [rbx]`,
      0x80 + 0x21,
    ],
    ['RDPKRU', 1, `${wrpkru(0x54)}\nmov edx, -1\nrdpkru\nadd al, dl`, 0x54],
    ['OSPKE in CPUID', 1, 'mov eax, 7\nxor ecx, ecx\ncpuid\nmov eax, ecx\nshr eax, 3\nand al, 3', 3],
  ])('%s', (_name, key, code, expected) => {
    expect(run(key, code)).toBe(expected);
  });

  /** Writes IA32_PKRS, with CR4.PKS. */
  const pkrs = (value: number) =>
    `mov rax, cr4\nbts eax, 24\nmov cr4, rax\nmov ecx, 0x6e1\nmov eax, ${value}\nxor edx, edx\nwrmsr`;
  test.each([
    ['a page that was just accessed', 1, `${pkrs(1 << 2)}\nmov al, [rbx]`, 0x80 + 0x21],
    ['a page of another key', 1, `${pkrs(1 << 4)}\nmov al, [rbx]`, 42],
    ['a page that is opened again', 1, `${pkrs(1 << 2)}\n${pkrs(0)}\nmov al, [rbx]`, 42],
    [
      'a write in a loop that is compiled',
      1,
      `mov ecx, 200000\n.l: inc byte [rbx]\nloop .l\n${pkrs(2 << 2)}\ninc byte [rbx]`,
      0x80 + 0x23,
    ],
    [
      'CR4.PKS that is set after IA32_PKRS',
      1,
      `${pkrs(1 << 2).replace('bts', 'btr')}\n${pkrs(1 << 2)}\nmov al, [rbx]`,
      0xa1,
    ],
    ['RDMSR', 1, `${pkrs(0x54)}\nxor eax, eax\nrdmsr`, 0x54],
    ['PKS in CPUID', 1, 'mov eax, 7\nxor ecx, ecx\ncpuid\nmov eax, ecx\nshr eax, 31', 1],
  ])('IA32_PKRS: %s', (_name, key, code, expected) => {
    expect(run(key, code, 0x83)).toBe(expected);
  });
});
