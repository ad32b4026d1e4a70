/** The heavy instructions by name: the key under which the executions find the function of a decoded instruction. */
import { CLTS, LMSW, MOV_FROM_CR, MOV_TO_CR, SMSW } from './control-registers.ts';
import { MOV_FROM_DR, MOV_TO_DR } from './debug-registers.ts';
import * as descriptor from './descriptor-instructions.ts';
import { CALL_FAR, JMP_FAR, RETF } from './far-transfer.ts';
import type { DecodedInstruction, SystemInstruction } from './instruction.ts';
import { instructionsOf } from './instruction-table.ts';
import { INT_N, INT1, INT3, INTO } from './interrupt-instructions.ts';
import * as io from './io-instructions.ts';
import { IRET, IRETD, IRETQ } from './iret.ts';
import * as masked from './masked-moves.ts';
import { MONITOR, MWAIT } from './monitor-wait.ts';
import * as keys from './protection-keys.ts';
import * as random from './random-numbers.ts';
import * as segment from './segment-instructions.ts';
import * as calls from './system-calls.ts';
import * as system from './system-instructions.ts';
import { x87Instructions } from './x87/x87-table.ts';
import * as fxsave from './xsave/fxsave.ts';
import * as xcr0 from './xsave/xcr0.ts';
import * as xsave from './xsave/xsave.ts';

/**
 * Keys are the decoder's mnemonics. Of MOV, PUSH, POP, JMP and CALL only some forms are heavy; those have keys of their
 * own: `Mov to cr`, `Mov from cr`, the same with `dr` and `sreg`, `Push sreg`, `Pop sreg`, `Jmp far`, `Call far`.
 * `systemInstructionKey` tells which.
 */
export const systemInstructions: Readonly<Record<string, SystemInstruction>> = {
  'Mov from cr': MOV_FROM_CR,
  'Mov to cr': MOV_TO_CR,
  'Mov from dr': MOV_FROM_DR,
  'Mov to dr': MOV_TO_DR,
  'Mov from sreg': segment.MOV_FROM_SEGMENT,
  'Mov to sreg': segment.MOV_TO_SEGMENT,
  'Push sreg': segment.PUSH_SEGMENT,
  'Pop sreg': segment.POP_SEGMENT,
  'Jmp far': JMP_FAR,
  'Call far': CALL_FAR,
  Retf: RETF,
  Iret: IRET,
  Iretd: IRETD,
  Iretq: IRETQ,
  Int: INT_N,
  Int1: INT1,
  Int3: INT3,
  Into: INTO,
  Lds: segment.LDS,
  Les: segment.LES,
  Lfs: segment.LFS,
  Lgs: segment.LGS,
  Lss: segment.LSS,
  Lgdt: descriptor.LGDT,
  Lidt: descriptor.LIDT,
  Sgdt: descriptor.SGDT,
  Sidt: descriptor.SIDT,
  Lldt: descriptor.LLDT,
  Sldt: descriptor.SLDT,
  Ltr: descriptor.LTR,
  Str: descriptor.STR,
  Lar: descriptor.LAR,
  Lsl: descriptor.LSL,
  Verr: descriptor.VERR,
  Verw: descriptor.VERW,
  Arpl: descriptor.ARPL,
  Clts: CLTS,
  Lmsw: LMSW,
  Smsw: SMSW,
  Syscall: calls.SYSCALL,
  Sysret: calls.SYSRET,
  Sysretq: calls.SYSRET,
  Sysenter: calls.SYSENTER,
  Sysexit: calls.SYSEXIT,
  Sysexitq: calls.SYSEXIT,
  Swapgs: calls.SWAPGS,
  Rdfsbase: calls.RDFSBASE,
  Rdgsbase: calls.RDGSBASE,
  Wrfsbase: calls.WRFSBASE,
  Wrgsbase: calls.WRGSBASE,
  In: io.IN,
  Out: io.OUT,
  Insb: io.INSB,
  Insw: io.INSW,
  Insd: io.INSD,
  Outsb: io.OUTSB,
  Outsw: io.OUTSW,
  Outsd: io.OUTSD,
  Hlt: system.HLT,
  Cli: system.CLI,
  Sti: system.STI,
  Pushf: system.PUSHF,
  Pushfd: system.PUSHFD,
  Pushfq: system.PUSHFQ,
  Popf: system.POPF,
  Popfd: system.POPFD,
  Popfq: system.POPFQ,
  Invlpg: system.INVLPG,
  Invpcid: system.INVPCID,
  Invd: system.INVD,
  Wbinvd: system.WBINVD,
  Rdtsc: system.RDTSC,
  Rdtscp: system.RDTSCP,
  Rdpmc: system.RDPMC,
  Rdmsr: system.RDMSR,
  Wrmsr: system.WRMSR,
  Cpuid: system.CPUID,
  Pause: system.PAUSE,
  Rdrand: random.RDRAND,
  Rdseed: random.RDSEED,
  Rdpid: system.RDPID,
  Rdpkru: keys.RDPKRU,
  Wrpkru: keys.WRPKRU,
  Wbnoinvd: system.WBNOINVD,
  Clac: system.CLAC,
  Stac: system.STAC,
  Monitor: MONITOR,
  Mwait: MWAIT,
  Rsm: system.RSM,
  Ud0: system.UD0,
  Ud1: system.UD1,
  Ud2: system.UD2,
  Maskmovq: masked.MASKMOVQ,
  Maskmovdqu: masked.MASKMOVDQU,
  Vmaskmovdqu: masked.MASKMOVDQU,
  Vmaskmovps: masked.VMASKMOVPS,
  Vmaskmovpd: masked.VMASKMOVPD,
  Vpmaskmovd: masked.VMASKMOVPS,
  Vpmaskmovq: masked.VMASKMOVPD,
  Vgatherdps: masked.VGATHERDPS,
  Vgatherdpd: masked.VGATHERDPD,
  Vgatherqps: masked.VGATHERQPS,
  Vgatherqpd: masked.VGATHERQPD,
  Vpgatherdd: masked.VGATHERDPS,
  Vpgatherdq: masked.VGATHERDPD,
  Vpgatherqd: masked.VGATHERQPS,
  Vpgatherqq: masked.VGATHERQPD,
  ...x87Instructions,
  ...instructionsOf(fxsave, xcr0, xsave),
};

const fileNames: Readonly<Record<string, string>> = { control: 'cr', debug: 'dr', segment: 'sreg' };

/** The key in `systemInstructions` for an instruction, whether or not there is an entry under it. */
export function systemInstructionKey(insn: DecodedInstruction): string {
  const { mnemonic } = insn;
  if (insn.far) return mnemonic === 'Jmp' || mnemonic === 'Call' ? `${mnemonic} far` : mnemonic;
  if (mnemonic === 'Mov') return movKey(insn);
  if (mnemonic !== 'Push' && mnemonic !== 'Pop') return mnemonic;
  return insn.operand(0).kind === 'segment' ? `${mnemonic} sreg` : mnemonic;
}

function movKey(insn: DecodedInstruction): string {
  const to = fileNames[insn.operand(0).kind];
  if (to !== undefined) return `Mov to ${to}`;
  const from = fileNames[insn.operand(1).kind];
  return from === undefined ? 'Mov' : `Mov from ${from}`;
}
