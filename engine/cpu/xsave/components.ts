/** The state components that XSAVE manages: their bits in XCR0, and when each is in its initial configuration. */
import type { CpuState } from '../state.ts';
import { VECTOR_REGISTERS, vectorAddress, X87_REGISTERS, x87Address } from '../state-layout.ts';
import { FCW_INITIAL, initialize } from '../x87/register-stack.ts';

/** Bits of XCR0, XSTATE_BV, XCOMP_BV and of EDX:EAX. */
export const COMPONENT = { X87: 1, SSE: 2, AVX: 4, PKRU: 1 << 9 } as const;
export const MXCSR_INITIAL = 0x1f80;
/** Bits that MXCSR has. */
export const MXCSR_MASK = 0xffff;

/** Offset of the upper halves of the YMM registers, in the standard and, as nothing can come before, in the compacted format. */
export const AVX_OFFSET = 576;
export const AVX_BYTES = 256;
/** Offset of PKRU in the standard format: where Intel's processors have it, behind components that there are not. */
export const PKRU_OFFSET = 2688;
export const PKRU_BYTES = 8;
/** Legacy region and header. */
export const HEADER_END = 576;

/** Every bit that XCR0 may have. */
export const supportedComponents = ({ model }: { model: { has(feature: string): boolean } }): number =>
  COMPONENT.X87 | COMPONENT.SSE | (model.has('AVX') ? COMPONENT.AVX : 0) | (model.has('PKU') ? COMPONENT.PKRU : 0);

/** Where PKRU is in the compacted format, of an area that has room for these components. */
export const compactedPkruOffset = (components: number): number =>
  components & COMPONENT.AVX ? AVX_OFFSET + AVX_BYTES : HEADER_END;

/** Bytes of an area that holds these components, in the standard format. */
export function areaBytes(components: number): number {
  if (components & COMPONENT.PKRU) return PKRU_OFFSET + PKRU_BYTES;
  return components & COMPONENT.AVX ? AVX_OFFSET + AVX_BYTES : HEADER_END;
}
/** The same in the compacted format. */
export const compactedBytes = (components: number): number =>
  compactedPkruOffset(components) + (components & COMPONENT.PKRU ? PKRU_BYTES : 0);

/** XINUSE: the components that are not in their initial configuration, told by what they hold. */
export function componentsInUse(state: CpuState): number {
  return (
    (isX87Initial(state) ? 0 : COMPONENT.X87) |
    (isHalfZero(state, 0) ? 0 : COMPONENT.SSE) |
    (isHalfZero(state, 16) ? 0 : COMPONENT.AVX) |
    (state.pkru === 0 ? 0 : COMPONENT.PKRU)
  );
}

function isX87Initial(state: CpuState): boolean {
  const { fcw, fsw, ftw, fop, fip, fdp, fcs, fds } = state;
  if (fcw !== FCW_INITIAL || (fsw | ftw | fop | fcs | fds) !== 0 || fip !== 0 || fdp !== 0) return false;
  for (let n = 0; n < X87_REGISTERS; n++) if (state.x87Register(n) !== 0n) return false;
  return true;
}

/** Whether all XMM registers, or all upper halves, are 0. */
function isHalfZero({ view }: CpuState, offset: 0 | 16): boolean {
  for (let n = 0; n < VECTOR_REGISTERS; n++) {
    const at = vectorAddress(n) + offset;
    if (view.getBigUint64(at, true) !== 0n || view.getBigUint64(at + 8, true) !== 0n) return false;
  }
  return true;
}

export function initializeX87(state: CpuState): void {
  initialize(state);
  for (let n = 0; n < X87_REGISTERS; n++) {
    state.view.setBigUint64(x87Address(n), 0n, true);
    state.view.setBigUint64(x87Address(n) + 8, 0n, true);
  }
}
