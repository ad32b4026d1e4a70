import { vmcbFields, vmcsFields } from '../../engine-target.ts';
import { UserError } from '../../errors.ts';
import { plainFieldName } from '../../expression/names.ts';
import { hex } from '../../hexadecimal.ts';
import { type Evaluated, evaluateText } from '../evaluate-text.ts';
import type { Session } from '../session.ts';
import { type DataTarget, structureOf } from './data-target.ts';

const MAXIMUM_BYTES = 4096;
const PORTS = 0x1_0000;
const CONTROL_REGISTER = /^(?:cr[02348]|dr[0-367]|xcr0)$/;
const PREFIXED = /^\s*(msr|port|vmcs|vmcb|pte)\s*:\s*(.+)$/i;
const FIELD_OF = /^\s*vmc[sb]\./i;

export interface DataOptions {
  readonly frameId?: number | undefined;
  /** The expression's value is the address. */
  readonly asAddress?: boolean | undefined;
  readonly bytes?: number | undefined;
}

/**
 * What an expression is about: memory (`dword [rsp]`, a symbol, `gpa:0x1000`), `cr3`, `IA32_EFER`, `vmcs.guest_rip` (with
 * AMD-V `vmcb.rip`), or
 * what only data breakpoints know: `msr:0x10`, `port:0x3f8`, `vmcs:GUEST_RIP`, `pte:LINEAR` for the page-table entry.
 *
 * @throws UserError for what cannot be watched
 */
export function dataTargetOf(text: string, session: Session, options: DataOptions = {}): DataTarget {
  const { bytes } = options;
  if (bytes !== undefined && (bytes < 1 || bytes > MAXIMUM_BYTES)) {
    throw new UserError('The range is too large', { expected: `1 to ${MAXIMUM_BYTES} bytes`, found: String(bytes) });
  }
  const [, prefix = '', rest = ''] = PREFIXED.exec(text) ?? [];
  const prefixed = PREFIXES[prefix.toLowerCase()];
  if (prefixed !== undefined) {
    return prefixed(rest, session, options);
  }
  const field = FIELD_OF.test(text) ? fieldNamed(text.replace(FIELD_OF, ''), session) : undefined;
  if (field !== undefined) {
    return field;
  }
  return ofEvaluated(text, evaluateText(text, session, options.frameId), session, options);
}

const PREFIXES: Readonly<Record<string, (text: string, session: Session, options: DataOptions) => DataTarget>> = {
  msr(text, session, { frameId }) {
    const vcpu = session.vcpu(session.frame(frameId)?.vcpu);
    const found = vcpu.findMsr(text) ?? vcpu.findMsr(Number(evaluateText(text, session, frameId).result.value));
    if (found === undefined) {
      throw new UserError('The CPU has no such MSR', { expected: 'a name, as IA32_EFER, or a number', found: text });
    }
    return { kind: 'msr', index: found.index };
  },
  port(text, session, { frameId, bytes = 1 }) {
    const port = Number(evaluateText(text, session, frameId).result.value);
    if (port + bytes > PORTS) {
      throw new UserError('There is no such port', { expected: 'a number up to 0xFFFF', found: text });
    }
    return { kind: 'port', port, lengthBytes: bytes };
  },
  vmcs: ofStructure,
  vmcb: ofStructure,
  pte(text, session, { frameId }) {
    const { result, context } = evaluateText(text, session, frameId);
    return { kind: 'page-table-entry', linear: result.value, vcpu: context.vcpu.index };
  },
};

function ofStructure(text: string, session: Session): DataTarget {
  const field = fieldNamed(text, session);
  if (field === undefined) {
    const found = text.trim();
    const what = `The ${structureOf(session)} has no such field`;
    throw new UserError(what, { expected: "a field by the manual's name", found });
  }
  return field;
}

function fieldNamed(text: string, session: Session): DataTarget | undefined {
  const plain = plainFieldName(text.trim());
  const fields: readonly { readonly name: string }[] = structureOf(session) === 'VMCB' ? vmcbFields : vmcsFields;
  const field = fields.find(({ name }) => plainFieldName(name) === plain);
  return field === undefined ? undefined : { kind: 'vmcs-field', name: field.name };
}

function ofEvaluated(
  text: string,
  { result, context }: Evaluated,
  session: Session,
  { asAddress = false, bytes }: DataOptions,
): DataTarget {
  const { place, symbol, space } = result;
  const { vcpu } = context;
  const register = place?.kind === 'register' ? registerTarget(place.name, vcpu) : undefined;
  if (register !== undefined) {
    return register;
  }
  if (place?.kind === 'memory' && !asAddress) {
    return {
      kind: 'range',
      space: place.space,
      address: place.address,
      lengthBytes: bytes ?? place.lengthBytes,
      vcpu: vcpu.index,
    };
  }
  if (!asAddress && symbol === undefined && space === undefined) {
    throw new UserError(`${text} cannot be watched`, {
      expected: 'memory, as dword [rsp], a symbol, an address, a control register, an MSR or a VMCS field',
      found: place?.kind === 'register' ? 'a register' : 'a value',
    });
  }
  const lengthBytes = bytes ?? (sizeOfSymbol(symbol, session) || vcpu.mode().codeSize / 8);
  return { kind: 'range', space: space ?? 'linear', address: result.value, lengthBytes, vcpu: vcpu.index };
}

/** A control register or MSR, also by a part of it, as `cr0.pg`. */
function registerTarget(name: string, vcpu: Evaluated['context']['vcpu']): DataTarget | undefined {
  const whole = name.replace(/\..*$/, '');
  if (CONTROL_REGISTER.test(whole)) {
    return { kind: 'control-register', name: whole };
  }
  const msr = vcpu.findMsr(whole);
  return msr === undefined ? undefined : { kind: 'msr', index: msr.index };
}

function sizeOfSymbol(name: string | undefined, session: Session): number {
  return name === undefined ? 0 : Math.min(MAXIMUM_BYTES, session.debuggee.program.symbols.find(name)?.size ?? 0);
}

/** What a watched value became: `0x1 → 0x2`. */
export function describeChange(before: bigint | undefined, after: bigint | undefined): string {
  const shown = (value: bigint | undefined) => (value === undefined ? '?' : hex(value));
  if (before === undefined || before === after) {
    return shown(after);
  }
  return `${shown(before)} → ${shown(after)}`;
}
