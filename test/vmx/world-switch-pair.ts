/**
 * The same guest on two machines, one of which makes no plans for VM entries and exits in compiled code; and changes of
 * what those depend on.
 */
import { expect } from 'vitest';
import type { Machine } from '../../engine/machine/machine.ts';
import { PRIMARY, SECONDARY } from '../../engine/vmx/controls.ts';
import { vmcsFields } from '../../engine/vmx/fields.ts';
import { offsetOf } from '../../engine/vmx/vmcs.ts';
import { random } from '../support/random.ts';
import { MIB } from '../vmm/run-guest.ts';
import { type BareHypervisor, bareHypervisor, EPT_ROOT, SKIP } from './bare-hypervisor.ts';

const ALLOW = `or qword [${EPT_ROOT + 0x1000}], 2\n mov qword [0x9100], ${EPT_ROOT | 0x1e}\n mov qword [0x9108], 0\n mov eax, 1\n invept rax, [0x9100]`;

/** CPUID, VMCALL, an access that EPT denies at first, HLT and RDMSR, with flags and registers that change. */
export const rounds = (count: number): BareHypervisor => ({
  primary: PRIMARY['HLT exiting'],
  secondary: SECONDARY['Enable EPT'] | SECONDARY['Enable VPID'],
  fields: { 'EPT pointer': EPT_ROOT | 0x1e, 'Virtual-processor identifier': 3 },
  handlers: {
    10: `${SKIP} inc rdi`,
    12: SKIP,
    18: `test ebp, ebp\n jnz on_other\n mov al, 18\n out 0xf4, al\non_other:\n ${SKIP}`,
    31: SKIP,
    48: ALLOW,
  },
  setUp: `mov qword [${EPT_ROOT + 0x1000}], 0xb5`,
  guest: `
  mov ebp, ${count}
.again:
  mov eax, ebp
  and eax, 7
  cpuid
  mov [0x5000], ebp
  sub eax, ebp
  pushfq
  or qword [rsp], 0x40001
  popfq
  vmcall
  mov ecx, 0x1b
  rdmsr
  cmp ebp, 3
  cpuid
  hlt
  dec ebp
  jnz .again`,
});

/** The same, but the host takes away the right to write that EPT gave before, and says so to nobody. */
export const withStaleEpt = (count: number): BareHypervisor => ({
  ...rounds(count),
  handlers: { ...rounds(count).handlers, 12: `and qword [${EPT_ROOT + 0x1000}], ~2\n ${SKIP}` },
});

const wrmsr = (index: number, low: string | number, high = 0): string =>
  `mov ecx, ${index}\n mov eax, ${low}\n mov edx, ${high}\n wrmsr`;

/** Exits from ring 3 and from ring 0 in turn. */
export const rings = (count: number): BareHypervisor => ({
  ...rounds(count),
  setUp: `
  mov rsi, cr3
  or qword [rsi], 4
  or qword [rsi + 0x1000], 4
  mov ecx, 8
user_pages:
  or qword [rsi + 0x2000 + rcx * 8 - 8], 4
  loop user_pages
  ${wrmsr(0xc000_0080, 0x501)}
  ${wrmsr(0xc000_0081, 0, 0x0010_0008)}
  ${wrmsr(0xc000_0082, 'from_user')}
  ${wrmsr(0xc000_0084, 0x200)}`,
  guest: `
  mov ebp, ${count}
to_user:
  mov rcx, user
  mov r11d, 2
  o64 sysret
user:
  cpuid
  xor eax, eax
  mov ds, eax
  cpuid
  syscall
from_user:
  cpuid
  mov ax, 16
  mov es, ax
  cpuid
  dec ebp
  jnz to_user`,
});

export interface Pair {
  readonly planned: Machine;
  readonly stepwise: Machine;
  /** How often compiled code has switched worlds, or more often. */
  switches(): number;
}

export async function pairOf(program: BareHypervisor): Promise<Pair> {
  const options = { memoryBytes: 4 * MIB };
  const [planned, stepwise] = [
    (await bareHypervisor(program, options)).machine,
    (await bareHypervisor(program, options)).machine,
  ];
  stepwise.host.vmx.plans = false;
  let switches = 0;
  const { vmx } = planned.host;
  const follow = vmx.followSwitch.bind(vmx);
  vmx.followSwitch = () => {
    switches++;
    follow();
  };
  return { planned, stepwise, switches: () => switches };
}

export const observed = (machine: Machine) => ({
  count: machine.instructionCount,
  state: machine.stateHash(),
  log: machine.exitLog(),
});

type Change = readonly [name: string, change: (machine: Machine) => void];

const stateFields = [
  'dr7',
  'debugctl',
  'interruptibility',
  'pendingDebug',
  'flagsOther',
  'cr0',
  'cr4',
  'efer',
  'xcr0',
  'cr8',
  'monitorArmed',
  'monitorTrap',
] as const;

/** Something that switches depend on becomes another. */
function randomChange(seed: number): Change {
  const next = random(seed + 1);
  const bit = next(32);
  if (next(3) === 0) {
    const field = stateFields[next(stateFields.length)] as (typeof stateFields)[number];
    return [`bit ${bit} of ${field}`, ({ host }) => void (host.state[field] = (host.state[field] ^ (1 << bit)) >>> 0)];
  }
  const field = vmcsFields[next(vmcsFields.length)] as (typeof vmcsFields)[number];
  return [
    `bit ${bit} of ${field.name}`,
    ({ host: { state, physical } }) => {
      const at = state.currentVmcs + offsetOf(field.name);
      physical.view.setUint32(at, physical.view.getUint32(at, true) ^ (1 << bit), true);
    },
  ];
}

/** Makes a random change in both machines somewhere in their run, and holds against each other how they go on. */
export async function compareAfterChange(seed: number): Promise<void> {
  const { planned, stepwise } = await pairOf(rounds(40));
  const [what, change] = randomChange(seed);
  const before = 400 + random(seed + 1000)(300);
  for (const machine of [planned, stepwise]) {
    machine.run({ instructions: before });
    change(machine);
  }
  for (const instructions of [1, 40, 400]) {
    expect(planned.run({ instructions }), what).toEqual(stepwise.run({ instructions }));
    expect(observed(planned), what).toEqual(observed(stepwise));
  }
}
