/** What the hover says of a register. */
import { type RegisterInfo, registerNamed } from '../../debug-adapter/assembler/index.ts';

const stems = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];

const controlRegisters: Readonly<Record<number, string>> = {
  0: 'Protection (PE), paging (PG), write protection (WP), caching (CD, NW) and the FPU’s traps (MP, EM, TS, NE).',
  2: 'The linear address of the last page fault.',
  3: 'The physical address of the top paging structure, and with CR4.PCIDE the process-context identifier.',
  4: 'Paging features (PSE, PAE, PGE, PCIDE, SMEP, SMAP), VMX (VMXE), and what ring 3 may do (TSD, PCE, UMIP, FSGSBASE).',
  8: 'The task priority: interrupts of that class and below wait.',
};

const debugRegisters: Readonly<Record<number, string>> = {
  6: 'Debug status: which breakpoint, single step (BS) or access (BD) raised #DB.',
  7: 'Debug control: which breakpoints are armed, their kind and length; GD guards the debug registers.',
};

const segmentRegisters: readonly string[] = [
  'The extra segment: the destination of string instructions.',
  'The code segment: its descriptor decides the code size; the lower two bits show CPL.',
  'The stack segment: of accesses through RSP and RBP.',
  'The data segment: of all other accesses.',
  'A data segment; in 64-bit mode its base is IA32_FS_BASE.',
  'A data segment; in 64-bit mode its base is IA32_GS_BASE, which SWAPGS exchanges.',
];

/** Markdown. */
export function registerHover(name: string): string | undefined {
  const register = registerNamed(name);
  if (!register) return undefined;
  return `**${register.name.toUpperCase()}** — ${describe(register)}`;
}

function describe(register: RegisterInfo): string {
  const { number, sizeBits } = register;
  switch (register.class) {
    case 'r8':
    case 'r16':
    case 'r32':
    case 'r64':
      return describeGeneral(register);
    case 'segment':
      return `segment register. ${segmentRegisters[number] ?? ''}`;
    case 'cr':
      return `control register; only ring 0 can access it. ${controlRegisters[number] ?? 'It does not exist: #UD.'}`;
    case 'dr':
      return `debug register; only ring 0 can access it. ${debugRegisters[number] ?? `The linear address of breakpoint ${number}.`}`;
    case 'st':
      return `x87 register: ${number} places below the top of the stack, 80 bits.`;
    case 'xmm':
    case 'ymm':
    case 'zmm':
      return `vector register, ${sizeBits} bits${register.class === 'zmm' ? '' : `, the lower part of ZMM${number}`}.`;
    default:
      return `register number ${number} of class ${register.class}.`;
  }
}

function describeGeneral({ class: size, number, sizeBits, high, needsRex }: RegisterInfo): string {
  const index = high ? number - 4 : number;
  const full = index < 8 ? `R${stems[index]}` : `R${index}`;
  if (size === 'r64') return 'general-purpose register, 64 bits; only in 64-bit code.';
  const from = high ? 8 : 0;
  const rest =
    size === 'r32'
      ? ` In 64-bit code, writing it clears bits 63:32 of ${full}.`
      : ` Writing it leaves the rest of ${full} as it is.`;
  const mode = needsRex || index >= 8 ? ' Only in 64-bit code.' : '';
  const rex = high ? ' Not together with registers that need a REX prefix.' : '';
  return `bits ${from + sizeBits - 1}:${from} of ${full}.${rest}${mode}${rex}`;
}
