/** Which instructions random guests do without, and why. */
import type { Judge } from '../traces.ts';

interface Form {
  /** The name of iced-x86's `Code`. */
  readonly form: string;
  readonly mnemonic: string;
  readonly features: readonly string[];
}

/** What does not depend on the mode alone is held against the silicon by the vectors and the fuzz. */
const FEATURES = /^(INTEL(8086|186|286|386|486)|X64|CMOV|CX8|CMPXCHG16B|POPCNT|MOVBE|BMI[12]|ADX|MULTIBYTENOP)$/;

const LEFT_OUT: readonly (readonly [RegExp, string])[] = [
  [/^(J|Loop|Call|Ret|Iret|Int|Bound|Ud|Sys)/, 'leaves its place'],
  [/^(Hlt|Invd|Wbinvd|Rdmsr|Wrmsr|Cpuid)/, 'ends the run, or tells of the machine'],
  [/^(L[gi]dt|S[gi]dt|Lldt|Ltr|Sldt|Str|Lmsw|Smsw|Clts|Invlpg|Swapgs)/, 'is a matter of the guests written by hand'],
  [/^(Ins|Outs|In$|Out$|Sti|Cli|Popf|Enter|Leave|Cmps|Bs[fr]|Wait|Pop$)/, 'changes more, or tells of the machine'],
];
const LEFT_OUT_FORMS: readonly (readonly [RegExp, string])[] = [
  [/^Mov_r64m16_Sreg/, 'this KVM stores more than a selector'],
  [/_F[67]r1$/, 'neither KVM nor QEMU knows it'],
  [/^Push[dq]_[CDEFGS]S$/, 'QEMU stores more than a selector'],
  [/_(cr|dr)/, 'is a matter of the guests written by hand'],
  [/moffs/, 'has an address of its own'],
  [/^VEX_/, 'is a matter of the vectors'],
  [/^(Bswap_r16|Sh[lr]d_rm16_.*)/, 'has no defined result'],
  [/_r64_m1664$/, 'has offsets of 32 bits on AMD processors, whom QEMU follows'],
];

/** What faults in ring 3, whatever it would do. */
const PRIVILEGED = /^(Hlt|Invd|Wbinvd|Rdmsr|Wrmsr|L[gi]dt|Lldt|Ltr|Lmsw|Clts|Invlpg|Swapgs|Ins|Outs|In|Out|Sti|Cli)$/;
const PRIVILEGED_FORMS = /_(cr|dr)/;

const OF_JUDGE: Readonly<Record<Judge, readonly (readonly [RegExp, string])[]>> = {
  kvm: [
    [
      /^(Aa[adms]|Da[as]|La[rs]|Lsl|Ver[rw]|Arpl|Salc|Leave|Reservednop|Nop|Movbe|[LT]zcnt|Popcnt|Ad[co]x)/,
      'this KVM does not emulate it as it is',
    ],
  ],
  qemu: [
    [/^(Reservednop|Nop)/, 'QEMU has no form with registers'],
    [/^Rc[lr]$/, 'QEMU changes flags before it faults'],
    [/^Lar$/, 'QEMU leaves out the limit, which silicon has'],
    [/^Arpl/, 'QEMU writes what it does not change'],
    [/^Movbe/, 'QEMU writes more of a register of 16 bits'],
  ],
};

export function reasonLeftOut({ form, mnemonic, features }: Form, ring: number, judge: Judge): string | undefined {
  if (!features.every((feature) => FEATURES.test(feature))) return 'belongs to other features';
  if (ring === 3 && (PRIVILEGED.test(mnemonic) || PRIVILEGED_FORMS.test(form))) return undefined;
  const byName = [...LEFT_OUT, ...OF_JUDGE[judge]].find(([pattern]) => pattern.test(mnemonic));
  const byForm = LEFT_OUT_FORMS.find(([pattern]) => pattern.test(form));
  return byName?.[1] ?? byForm?.[1];
}
