/** The rights that PKRU and IA32_PKRS give to pages by their protection keys (SDM volume 3, "Protection Keys"). */
import { CR4, EFER } from '../cpu/register-bits.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import { Access, Policy } from './access.ts';

/** For each key i, bit 2i (ADi) disables access, bit 2i + 1 (WDi) writes. */
export interface KeyRights {
  /** Of pages of user-mode addresses. */
  readonly pkru: number;
  /** Of pages of supervisor-mode addresses. */
  readonly pkrs: number;
}

const NOTHING_DENIED: KeyRights = { pkru: 0, pkrs: 0 };
const EVEN_BITS = 0x5555_5555;

/** PKRU and IA32_PKRS where they count, which is in IA-32e mode with CR4.PKE and CR4.PKS; else 0, which denies nothing. */
export function keyRights(view: DataView): KeyRights {
  const cr4 = view.getUint32(fieldAddress.cr4, true);
  if ((cr4 & (CR4.PKE | CR4.PKS)) === 0) return NOTHING_DENIED;
  if ((view.getUint32(fieldAddress.efer, true) & EFER.LMA) === 0) return NOTHING_DENIED;
  const of = (bit: number, field: 'pkru' | 'pkrs') => (cr4 & bit ? view.getUint32(fieldAddress[field], true) : 0);
  return { pkru: of(CR4.PKE, 'pkru'), pkrs: of(CR4.PKS, 'pkrs') };
}

/**
 * The protection keys that deny a data access: bit 2i for pages of user-mode addresses with key i, bit 2i + 1 for those of
 * supervisor-mode addresses. CR0.WP alone holds supervisor-mode accesses to WDi. User-mode accesses to the latter are denied
 * anyway; IA32_PKRS has no part in that, as QEMU has it.
 */
export function deniedKeys({ pkru, pkrs }: KeyRights, access: Access, policy: number): number {
  if ((pkru | pkrs) === 0 || access === Access.Execute) return 0;
  const isWrite = access === Access.Write;
  const byUserKeys = isWrite && (policy & (Policy.User | Policy.WriteProtect)) !== 0 ? pkru | (pkru >>> 1) : pkru;
  const supervisor = (policy & Policy.User) === 0 ? pkrs : 0;
  const bySupervisorKeys =
    isWrite && (policy & Policy.WriteProtect) !== 0 ? supervisor | (supervisor >>> 1) : supervisor;
  return ((byUserKeys & EVEN_BITS) | ((bySupervisorKeys & EVEN_BITS) << 1)) >>> 0;
}
