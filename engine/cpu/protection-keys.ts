/** RDPKRU and WRPKRU: the rights that protection keys give to user-mode pages (SDM volume 2; volume 3, "Protection Keys"). */
import { GP, UD } from './events.ts';
import type { SystemInstruction } from './instruction.ts';
import type { Processor } from './processor.ts';
import { CR4, hasBit } from './register-bits.ts';

const RAX = 0;
const RCX = 1;
const RDX = 2;

function checkAccess({ state }: Processor): void {
  if (!hasBit(state.cr4, CR4.PKE)) throw UD();
  if (state.gpr32(RCX) !== 0) throw GP(0);
}

export const RDPKRU: SystemInstruction = (cpu) => {
  checkAccess(cpu);
  cpu.state.setGpr32(RAX, cpu.state.pkru);
  cpu.state.setGpr32(RDX, 0);
};

export const WRPKRU: SystemInstruction = (cpu) => {
  const { state } = cpu;
  checkAccess(cpu);
  if (state.gpr32(RDX) !== 0) throw GP(0);
  state.pkru = state.gpr32(RAX);
  cpu.tlb.keyRightsChanged();
};
