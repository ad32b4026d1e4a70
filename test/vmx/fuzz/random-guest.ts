/** Random guests of a bare hypervisor under random controls, whose handlers skip what exits. */
import { EXIT, PIN, PRIMARY, SECONDARY } from '../../../engine/vmx/controls.ts';
import { ExitReason, exitReasonTable } from '../../../engine/vmx/exit-reasons.ts';
import type { Random } from '../../machine/hostile/random.ts';
import { type BareHypervisor, EPT_ROOT, LOG, SKIP, write } from '../bare-hypervisor.ts';

const DATA = 0x30_0000;
const [VAPIC, PML, BITMAPS] = [0x27_0000, 0x2a_0000, 0x2b_0000];

const primaries = [
  'INVLPG exiting', 'MWAIT exiting', 'RDTSC exiting', 'CR3-load exiting', 'CR3-store exiting', 'CR8-load exiting',
  'CR8-store exiting', 'MOV-DR exiting', 'Unconditional I/O exiting', 'Use TSC offsetting', 'MONITOR exiting', 'PAUSE exiting',
  'Use MSR bitmaps', 'Use TPR shadow',
] as const; // biome-ignore format: a list of names
const secondaries = [
  'Enable VPID', 'Descriptor-table exiting', 'WBINVD exiting', 'RDRAND exiting', 'RDSEED exiting', 'Enable RDTSCP',
  'Enable INVPCID', 'Unrestricted guest', 'Mode-based execute control for EPT', 'PAUSE-loop exiting', 'Use TSC scaling',
  'Enable PML',
] as const; // biome-ignore format: a list of names

/** Registers that the handlers leave alone; R12 counts, and R15 is the host's. */
const registers = ['rax', 'rcx', 'rdx', 'rbx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11'] as const;

const place = (random: Random): string => `[${DATA + random.below(0x2000)}]`;
const ordinary: readonly ((random: Random) => string)[] = [
  (random) => `mov ${random.pick(registers)}, ${random.value64()}`,
  (random) =>
    `${random.pick(['add', 'adc', 'sub', 'xor', 'and', 'cmp', 'imul'])} ${random.pick(registers)}, ${random.pick(registers)}`,
  (random) => `mov ${place(random)}, ${random.pick(registers)}`,
  (random) => `mov ${random.pick(registers)}, ${place(random)}`,
  (random) => `lock add ${place(random)}, ${random.pick(registers)}`,
  (random) => `push ${random.pick(registers)}\n pop ${random.pick(registers)}`,
  () => `mov rdi, ${DATA}\n mov rsi, ${DATA + 0x1800}\n mov ecx, 40\n rep movsb`,
  (random) => `mov ecx, ${1 + random.below(30)}\n .l${random.below(2 ** 30)}_${random.below(2 ** 30)}: dec ecx`,
];
const sensitive = [
  'cpuid', 'rdtsc', 'pause', 'mov rax, cr0\n mov cr0, rax', 'mov rax, cr3\n mov cr3, rax', 'mov rax, cr4\n mov cr4, rax',
  'mov rax, cr8', 'xor eax, eax\n mov cr8, rax', 'mov rax, dr7\n mov dr7, rax', `invlpg [${DATA}]`, 'in al, 0x61', 'out 0x80, al',
  'mov ecx, 0xc0000102\n rdmsr', 'mov ecx, 0x174\n rdmsr\n wrmsr', 'pushfq\n popfq', `sgdt [${DATA + 0x100}]`, 'str ax', 'sldt ax',
  'smsw ax', 'clts', 'wbinvd', 'invd', 'rdrand rax', 'rdseed rbx', 'int 0x20', 'sti\n nop\n cli', `vmptrst [${DATA + 0x200}]`,
  'mov eax, 0x4402\n vmread rbx, rax', `mov eax, ${DATA}\n xor ecx, ecx\n xor edx, edx\n monitor`, 'vmlaunch',
] as const; // biome-ignore format: a list of instructions

function piece(random: Random): string {
  const lines = Array.from({ length: 12 + random.below(16) }, () =>
    random.once(4) ? random.pick(sensitive) : random.pick(ordinary)(random),
  );
  return `mov r12d, ${20 + random.below(200)}\n .again${random.below(2 ** 30)}_${random.below(2 ** 30)}:\n ${lines.join('\n ')}\n`;
}
/** Loops one after another, with their ends. */
function guest(random: Random): string {
  const pieces = Array.from({ length: 3 }, () => piece(random));
  return pieces
    .map((text) => {
      const label = /\.again\w+/.exec(text)?.[0] ?? '';
      return `${text} dec r12d\n jnz ${label}`;
    })
    .join('\n');
}

const chosen = <Name extends string>(
  random: Random,
  names: readonly Name[],
  bits: Readonly<Record<Name, number>>,
): number => names.reduce((value, name) => (random.once(3) ? value | bits[name] : value), 0);

/** By exit reason: what takes the place of an instruction is skipped, and the rest goes on. */
function handlers(timer: number): Record<number, string> {
  const anew = `mov r15, ${LOG}\n`;
  const all: Record<number, string> = {};
  for (const { number, skips } of exitReasonTable) if (skips && number !== ExitReason.VMCALL) all[number] = anew + SKIP;
  all[ExitReason['Monitor trap flag']] = anew;
  all[ExitReason['VMX-preemption timer expired']] = anew + write('VMX-preemption timer value', timer);
  all[ExitReason['Page-modification log full']] = anew + write('PML index', 511);
  return all;
}

export function randomGuest(random: Random): BareHypervisor {
  const usesEpt = random.once(2);
  const secondary = usesEpt ? chosen(random, secondaries, SECONDARY) | SECONDARY['Enable EPT'] : 0;
  const timer = 20 + random.below(200);
  return {
    pin: (random.once(3) ? PIN['Activate VMX-preemption timer'] : 0) | (random.once(3) ? PIN['NMI exiting'] : 0),
    primary: chosen(random, primaries, PRIMARY) | (random.once(8) ? PRIMARY['Monitor trap flag'] : 0),
    secondary,
    exit: random.once(3) ? EXIT['Save IA32_EFER'] | EXIT['Save IA32_PAT'] : 0,
    fields: {
      'Virtual-processor identifier': 1 + random.below(3),
      'EPT pointer': EPT_ROOT | (random.once(2) ? 0x5e : 0x1e),
      'Virtual-APIC address': VAPIC,
      'PML address': PML,
      'PML index': random.below(8),
      'Address of MSR bitmaps': BITMAPS,
      'TSC multiplier': `0x${(1 + random.below(1000)).toString(16)}0000000000`,
      'TSC offset': random.value(),
      'VMX-preemption timer value': timer,
      PLE_Gap: random.below(2000),
      PLE_Window: random.below(5000),
      'Exception bitmap': 0,
      'CR0 guest/host mask': random.once(2) ? 0x8 : 0,
      'CR4 guest/host mask': random.once(2) ? 0x2000 : 0,
    },
    handlers: handlers(timer),
    guest: guest(random),
  };
}
