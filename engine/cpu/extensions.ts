/**
 * Which extensions of the instruction set the control registers enable, and the faults of those that they do not (SDM
 * volume 2, "Exceptions Classification of Instructions"; volume 3, "System Programming for Instruction Set Extensions").
 */
import { EXTENSION } from '../isa/extensions.ts';
import { type GuestFault, NM, UD } from './events.ts';
import { usesRealSelectors } from './modes.ts';
import { CR0, CR4 } from './register-bits.ts';
import type { CpuState } from './state.ts';

/** XCR0: SSE and AVX state, both of which VEX needs. */
const XCR0_AVX = 6;

/** What enables them. */
type ExtensionControls = Pick<CpuState, 'cr0' | 'cr4' | 'xcr0' | 'flagsOther'>;

/** Mask of EXTENSION: those whose instructions execute now. */
export function enabledExtensions(state: ExtensionControls): number {
  const { cr0 } = state;
  if (cr0 & CR0.TS) return 0;
  const avx = avxExists(state) ? EXTENSION.AVX : 0;
  if (cr0 & CR0.EM) return avx;
  return EXTENSION.MMX | (state.cr4 & CR4.OSFXSR ? EXTENSION.SSE : 0) | avx;
}

/** Whether VEX prefixes are recognized: not in real-address and virtual-8086 mode. */
function avxExists(state: ExtensionControls): boolean {
  return (state.cr4 & CR4.OSXSAVE) !== 0 && (state.xcr0 & XCR0_AVX) === XCR0_AVX && !usesRealSelectors(state);
}

/** The fault of an instruction that needs these extensions (a mask), if they are not all enabled. */
export function extensionFault(state: CpuState, needed: number): GuestFault | undefined {
  if ((needed & ~enabledExtensions(state)) === 0) return undefined;
  const { cr0, cr4 } = state;
  if (needed & EXTENSION.AVX && !avxExists(state)) return UD();
  if (needed & (EXTENSION.SSE | EXTENSION.MMX) && cr0 & CR0.EM) return UD();
  if (needed & EXTENSION.SSE && (cr4 & CR4.OSFXSR) === 0) return UD();
  return NM();
}
