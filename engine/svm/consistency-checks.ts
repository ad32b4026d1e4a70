/**
 * What VMRUN demands of guest state and controls: each rule broken is a #VMEXIT(INVALID) (AMD64 APM volume 2,
 * "Canonicalization and Consistency Checks", "Event Injection", "Nested Paging").
 */
import { cr4Allowed } from '../cpu/control-registers.ts';
import { ASIDS } from '../cpu/cpuid.ts';
import { Vector } from '../cpu/events.ts';
import { eferWritable } from '../cpu/msrs.ts';
import { CR0, CR4, EFER } from '../cpu/register-bits.ts';
import { decodeEvent, InjectedType } from './event-information.ts';
import { ExitCode } from './exit-codes.ts';
import { isIntercepted, type SvmParts, usesNestedPaging } from './svm-parts.ts';
import { type VmcbFieldName, vmcbField } from './vmcb-fields.ts';

export interface ConsistencyRule {
  /** Kebab-case, unique. */
  readonly id: string;
  /** Fields the rule is about, the one to correct first. */
  readonly fields: readonly VmcbFieldName[];
  /** What the manual demands, in one sentence. */
  readonly text: string;
  /** The title of the section that demands it, in volume 2. */
  readonly section: string;
  violated(guest: CheckedGuest): boolean;
}

/** What the rules read; the host's registers are still in place. */
export interface CheckedGuest {
  readonly parts: SvmParts;
  value(name: VmcbFieldName): bigint;
  has(name: VmcbFieldName, bits: number): boolean;
}

const IOPM_BYTES = 0x3000n;
const MSRPM_BYTES = 0x2000n;
const PAGE = ~0xfffn;
const EVENT_RESERVED = 0x7fff_f000n;
/** CS.L and CS.D as the VMCB has them. */
const CS_L = 1 << 9;
const CS_D = 1 << 10;

const isLong = (guest: CheckedGuest): boolean => guest.has('EFER', EFER.LME) && guest.has('CR0', CR0.PG);
const usesNesting = ({ parts }: CheckedGuest): boolean => usesNestedPaging(parts.vmcb);
const beyondPhysical = ({ parts }: CheckedGuest, address: bigint): boolean =>
  address >> BigInt(parts.mmu.physicalAddressBits) !== 0n;
const high = (value: bigint): bigint => value >> 32n;

const rule = (
  id: string,
  fields: readonly VmcbFieldName[],
  text: string,
  violated: ConsistencyRule['violated'],
  section = 'Canonicalization and Consistency Checks',
): ConsistencyRule => ({ id, fields, text, section, violated });

export const consistencyRules: readonly ConsistencyRule[] = [
  rule('efer-svme', ['EFER'], 'EFER.SVME must be 1.', (g) => !g.has('EFER', EFER.SVME)),
  rule('cr0-cd-nw', ['CR0'], 'CR0.NW must be 0 if CR0.CD is 0.', (g) => g.has('CR0', CR0.NW) && !g.has('CR0', CR0.CD)),
  rule('cr0-high', ['CR0'], 'CR0[63:32] must be zero.', (g) => high(g.value('CR0')) !== 0n),
  rule(
    'cr3-mbz',
    ['CR3'],
    'CR3 must not have bits beyond the physical-address width in long mode.',
    (g) => isLong(g) && beyondPhysical(g, g.value('CR3')),
  ),
  rule(
    'cr4-mbz',
    ['CR4'],
    'CR4 must not have bits that the processor does not support.',
    (g) => (g.value('CR4') & ~BigInt(cr4Allowed(g.parts.processor) >>> 0)) !== 0n,
  ),
  rule('dr6-high', ['DR6'], 'DR6[63:32] must be zero.', (g) => high(g.value('DR6')) !== 0n),
  rule('dr7-high', ['DR7'], 'DR7[63:32] must be zero.', (g) => high(g.value('DR7')) !== 0n),
  rule(
    'efer-mbz',
    ['EFER'],
    'EFER must not have bits that the processor does not support.',
    (g) => (g.value('EFER') & ~eferWritable(g.parts.processor)) !== 0n,
  ),
  rule(
    'long-mode-pae',
    ['CR4', 'EFER', 'CR0'],
    'CR4.PAE must be 1 if EFER.LME and CR0.PG are.',
    (g) => isLong(g) && !g.has('CR4', CR4.PAE),
  ),
  rule(
    'long-mode-pe',
    ['CR0', 'EFER'],
    'CR0.PE must be 1 if EFER.LME and CR0.PG are.',
    (g) => isLong(g) && !g.has('CR0', CR0.PE),
  ),
  rule(
    'long-mode-cs',
    ['CS attributes', 'EFER', 'CR0', 'CR4'],
    'CS.L and CS.D must not both be 1 if EFER.LME, CR0.PG and CR4.PAE are.',
    (g) => isLong(g) && g.has('CR4', CR4.PAE) && g.has('CS attributes', CS_L) && g.has('CS attributes', CS_D),
  ),
  rule(
    'vmrun-intercept',
    ['Intercept vector 4'],
    'The VMRUN intercept must be set.',
    (g) => !isIntercepted(g.parts.vmcb, ExitCode.VMRUN),
  ),
  rule('msrpm-address', ['MSRPM_BASE_PA'], 'The MSR permissions map must end within the physical addresses.', (g) =>
    beyondPhysical(g, (g.value('MSRPM_BASE_PA') & PAGE) + MSRPM_BYTES - 1n),
  ),
  rule('iopm-address', ['IOPM_BASE_PA'], 'The I/O permissions map must end within the physical addresses.', (g) =>
    beyondPhysical(g, (g.value('IOPM_BASE_PA') & PAGE) + IOPM_BYTES - 1n),
  ),
  rule(
    'asid-zero',
    ['Guest ASID'],
    'The ASID must not be zero, which is the host’s.',
    (g) => g.value('Guest ASID') === 0n,
  ),
  rule(
    'asid-range',
    ['Guest ASID'],
    'The ASID must be one that CPUID says there is.',
    (g) => g.value('Guest ASID') >= BigInt(ASIDS),
  ),
  rule(
    'nested-paging-host',
    ['NP_ENABLE'],
    'Nested paging demands that the host’s CR0.PG is 1.',
    ({ parts }) => usesNestedPaging(parts.vmcb) && (parts.state.cr0 & CR0.PG) === 0,
    'Enabling Nested Paging',
  ),
  rule(
    'n-cr3-mbz',
    ['N_CR3'],
    'N_CR3 must not have bits beyond the physical-address width, with nested paging.',
    (g) => usesNesting(g) && beyondPhysical(g, g.value('N_CR3')),
    'Enabling Nested Paging',
  ),
  rule(
    'g-pat',
    ['G_PAT'],
    'G_PAT must hold memory types that there are, with nested paging.',
    (g) => usesNesting(g) && hasInvalidType(g.value('G_PAT')),
    'Enabling Nested Paging',
  ),
  rule(
    'event-injection',
    ['EVENTINJ'],
    'EVENTINJ must hold an event that the guest could meet in its mode.',
    isIllegalInjection,
    'Event Injection',
  ),
];

/** Each byte of a PAT holds a memory type; 2, 3 and 8 and above are reserved. */
function hasInvalidType(pat: bigint): boolean {
  for (let shift = 0n; shift < 64n; shift += 8n) {
    const type = Number((pat >> shift) & 0xffn);
    if (type > 7 || type === 2 || type === 3) return true;
  }
  return false;
}

function isIllegalInjection(guest: CheckedGuest): boolean {
  const low = guest.value('EVENTINJ') & 0xffff_ffffn;
  const { type, vector, isValid } = decodeEvent(Number(low));
  if (!isValid) return false;
  if ((low & EVENT_RESERVED) !== 0n || !Object.values<number>(InjectedType).includes(type)) return true;
  return type === InjectedType.exception && !couldMeet(guest, vector);
}

/** Whether an exception of a vector can arise in the guest's mode. */
function couldMeet(guest: CheckedGuest, vector: number): boolean {
  if (vector === Vector.NMI || vector > 31) return false;
  const is64Bit = isLong(guest) && guest.has('CS attributes', CS_L);
  return !(is64Bit && (vector === Vector.BR || vector === Vector.OF));
}

/** The VMCB of the parts, for the rules. */
export function checkedGuest(parts: SvmParts): CheckedGuest {
  const value = (name: VmcbFieldName): bigint => parts.vmcb.field(vmcbField(name));
  return { parts, value, has: (name, bits) => (Number(value(name) & 0xffff_ffffn) & bits) !== 0 };
}

/** The first rule that the VMCB breaks; undefined if none. */
export function firstViolation(parts: SvmParts): ConsistencyRule | undefined {
  const guest = checkedGuest(parts);
  return consistencyRules.find(({ violated }) => violated(guest));
}
export function violations(parts: SvmParts): ConsistencyRule[] {
  const guest = checkedGuest(parts);
  return consistencyRules.filter(({ violated }) => violated(guest));
}
