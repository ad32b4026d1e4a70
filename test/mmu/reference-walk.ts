/** A straightforward BigInt reading of the manual's paging chapter, to hold the MMU against. No caches, no effects. */
import { CR0, CR4, EFER } from '../../engine/cpu/register-bits.ts';
import type { LinearAddress } from '../../engine/isa/linear-address.ts';
import { Access } from '../../engine/mmu/access.ts';
import { PagingMode, pagingMode } from '../../engine/mmu/paging-structures.ts';
import type { Bench } from './machine.ts';

const M = 39n;
const bit = (value: bigint, n: number | bigint): boolean => ((value >> BigInt(n)) & 1n) === 1n;
const ones = (last: bigint, first: bigint): bigint => (last < first ? 0n : ((1n << (last - first + 1n)) - 1n) << first);

class Stop {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}

/** `0x…` of the host-physical address, or `#PF(code)`, `exit 48 qualification gpa`, `exit 49 gpa`. */
export function referenceTranslate(b: Bench, linear: LinearAddress, access: Access, asUser: boolean): string {
  try {
    return `0x${walk(b, BigInt.asUintN(64, BigInt(linear)), access, asUser).toString(16)}`;
  } catch (stop) {
    if (stop instanceof Stop) return stop.what;
    throw stop;
  }
}

function walk(b: Bench, linear: bigint, access: Access, asUser: boolean): bigint {
  const { cr0, cr3, cr4, efer } = b.state;
  const mode = pagingMode(cr0, cr4, efer);
  const nxe = (efer & EFER.NXE) !== 0;
  const reportsFetch = (cr4 & CR4.SMEP) !== 0 || ((cr4 & CR4.PAE) !== 0 && nxe);
  const base =
    (access === Access.Write ? 2 : 0) | (asUser ? 4 : 0) | (access === Access.Execute && reportsFetch ? 16 : 0);
  const fault = (bits: number) => new Stop(`#PF(${base | bits})`);
  const final = (gpa: bigint, guestRights: number) => ept(b, gpa, [1, 2, 4][access] ?? 0, 0x100 | guestRights);
  if (mode === PagingMode.None) return final(linear, 0x600);

  const wide = mode !== PagingMode.Bits32;
  const levels: [shift: bigint, large: boolean][] = wide
    ? [
        [39n, false],
        [30n, true],
        [21n, true],
        [12n, false],
      ]
    : [
        [22n, (cr4 & CR4.PSE) !== 0],
        [12n, false],
      ];
  if (mode === PagingMode.Level5) levels.unshift([48n, false]);
  let table = BigInt(cr3) & ~0xfffn;
  if (mode === PagingMode.PAE) {
    levels.splice(0, 2);
    const register = BigInt(b.mmu.vcpu.pdptes[Number((linear >> 30n) & 3n)] ?? 0);
    if (!bit(register, 0)) throw fault(0);
    table = register & ones(M - 1n, 12n);
  }
  let writable = true;
  let user = true;
  let executable = true;
  for (const [shift, large] of levels) {
    const index = (linear >> shift) & (wide ? 0x1ffn : 0x3ffn);
    const gpa = table + index * (wide ? 8n : 4n);
    const hpa = Number(ept(b, gpa, b.mmu.context.ept?.accessedDirty ? 3 : 1, 0));
    const entry = wide ? b.memory.readU64(hpa) : BigInt(b.memory.readU32(hpa));
    if (!bit(entry, 0)) throw fault(0);
    const leaf = shift === 12n || (large && bit(entry, 7));
    let reserved = 0n;
    if (wide) {
      reserved |= ones(51n, M);
      if (mode === PagingMode.PAE) reserved |= ones(62n, 52n);
      if (!nxe) reserved |= 1n << 63n;
      if (shift >= 39n) reserved |= 1n << 7n;
      if (leaf && shift !== 12n) reserved |= ones(shift - 1n, 13n);
    } else if (leaf && shift === 22n) reserved |= ones(21n, M - 19n);
    if (entry & reserved) throw fault(9);
    writable &&= bit(entry, 1);
    user &&= bit(entry, 2);
    executable &&= !(wide && bit(entry, 63));
    if (!leaf) {
      if (!bit(entry, 5)) ept(b, gpa, 3, 0);
      table = entry & ones(wide ? M - 1n : 31n, 12n);
      continue;
    }
    if (!allowed(b, access, asUser, writable, user, executable)) throw fault(1);
    if (!bit(entry, 5) || (access === Access.Write && !bit(entry, 6))) ept(b, gpa, 3, 0);
    let page = entry & ones(wide ? M - 1n : 31n, shift);
    if (!wide && shift === 22n) page |= ((entry >> 13n) & 0xffn) << 32n;
    const guestRights = (user ? 0x200 : 0) | (writable ? 0x400 : 0) | (executable ? 0 : 0x800);
    return final(page | (linear & ones(shift - 1n, 0n)), guestRights);
  }
  throw new Error('no leaf');
}

function allowed(b: Bench, access: Access, asUser: boolean, writable: boolean, user: boolean, executable: boolean) {
  const { cr0, cr4, flagsOther } = b.state;
  if (asUser) return user && (access !== Access.Write || writable) && (access !== Access.Execute || executable);
  if (access === Access.Execute) return executable && !(user && cr4 & CR4.SMEP);
  if (user && cr4 & CR4.SMAP && !(flagsOther & (1 << 18))) return false;
  return access === Access.Read || writable || !(cr0 & CR0.WP);
}

function ept(b: Bench, gpa: bigint, rights: number, more: number): bigint {
  const { ept: context } = b.mmu.context;
  if (!context) return gpa;
  const violation = (allowedRights: number) => {
    const qualification = rights | (allowedRights << 3) | 0x80 | more;
    return new Stop(`exit 48 ${qualification} ${gpa}`);
  };
  let table = BigInt(context.root);
  let all = 7;
  for (const shift of [39n, 30n, 21n, 12n]) {
    const entry = b.memory.readU64(Number(table + ((gpa >> shift) & 0x1ffn) * 8n));
    all &= Number(entry & 7n);
    if ((entry & 7n) === 0n) throw violation(0);
    const leaf = shift === 12n || ((shift === 21n || shift === 30n) && bit(entry, 7));
    let reserved = ones(51n, M);
    if (!leaf) reserved |= shift === 39n ? ones(7n, 3n) : ones(6n, 3n);
    else if (shift !== 12n) reserved |= ones(shift - 1n, 12n);
    const type = Number((entry >> 3n) & 7n);
    const badType = leaf && (type === 2 || type === 3 || type === 7);
    if ((entry & 3n) === 2n || entry & reserved || badType) throw new Stop(`exit 49 ${gpa}`);
    if (!leaf) {
      table = entry & ones(M - 1n, 12n);
      continue;
    }
    if ((rights & ~all) !== 0) throw violation(all);
    return (entry & ones(M - 1n, shift)) | (gpa & ones(shift - 1n, 0n));
  }
  throw new Error('no leaf');
}
