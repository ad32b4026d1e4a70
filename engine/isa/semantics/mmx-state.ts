/** What MMX instructions do to the x87 FPU, whose registers theirs are (SDM volume 3, "Intel MMX Technology System Programming"). */
import { constant } from '../../expr/expr.ts';
import type { Semantics } from '../semantics-builder.ts';

const MATH_FAULT = 16;
/** FSW: an unmasked exception is pending (ES); the top of the stack. */
const EXCEPTION_SUMMARY = 7;
const TOP = 0x3800;
const ALL_VALID = 0xff;

/** Records an instruction of MMX: a pending x87 exception comes first; the top of the stack becomes 0, all registers valid. */
export function inMmxMode(m: Semantics, record: () => void): void {
  m.raiseIf(m.state('fsw').bit(EXCEPTION_SUMMARY), MATH_FAULT);
  const changes = [
    { field: 'fsw', value: m.state('fsw').and(constant(32, ~TOP)) },
    { field: 'ftw', value: constant(32, ALL_VALID) },
  ] as const;
  m.changeEarly(changes);
  record();
  for (const { field, value } of changes) m.setState(field, value);
}

/** EMMS — Empty MMX Technology State. All registers of the x87 FPU become empty. */
export function EMMS(m: Semantics): void {
  m.setState('ftw', constant(32, 0));
}
