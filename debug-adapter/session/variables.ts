import type { DebugProtocol as P } from '@vscode/debugprotocol';
import type { RegisterView, Vcpu, VmcsFieldView } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { plainFieldName } from '../expression/names.ts';
import { hex } from '../hexadecimal.ts';
import type { Container } from './containers.ts';
import { announceEdit } from './edits.ts';
import { evaluateText } from './evaluate-text.ts';
import type { Handlers } from './handlers.ts';
import { formatReference } from './memory-reference.ts';
import type { Session } from './session.ts';

const EXPENSIVE = ['MSRs', 'x87', 'Vector', 'Debug'];

export const variables: Handlers = {
  scopes({ frameId }, session) {
    const vcpu = session.vcpu(session.frame(frameId)?.vcpu);
    const { index } = vcpu;
    const scopes: P.Scope[] = vcpu.registers().map(({ name, registers }) => ({
      name,
      presentationHint: 'registers',
      variablesReference: session.containers.reference({ kind: 'registers', vcpu: index, group: name }),
      namedVariables: registers.length,
      expensive: EXPENSIVE.includes(name),
    }));
    if (vcpu.vmcs() !== undefined) {
      const variablesReference = session.containers.reference({ kind: 'vmcs', vcpu: index });
      scopes.push({ name: 'VMCS', variablesReference, expensive: true });
    }
    return { scopes };
  },

  variables({ variablesReference, start = 0, count = 0 }, session) {
    const all = childrenOf(session.containers.get(variablesReference), session);
    return { variables: all.slice(start, count === 0 ? undefined : start + count) };
  },

  setVariable({ variablesReference, name, value }, session) {
    const expression = expressionOfVariable(variablesReference, name, session);
    const container = session.containers.get(variablesReference);
    const vcpu = session.vcpu(container.vcpu);
    const { result } = evaluateText(value, session, undefined);
    if (result.text !== undefined) {
      throw new UserError('The value is not a number', { expected: 'a number or an expression', found: value });
    }
    const problem =
      container.kind === 'vmcs-group'
        ? vcpu.writeVmcs(name, result.value)
        : vcpu.writeRegister(expression, result.value);
    if (problem !== undefined) {
      throw new UserError(`${name} cannot be set to ${hex(result.value)}`, { found: problem });
    }
    announceEdit(session, { kind: 'register' });
    const written = childrenOf(container, session).find((one) => one.name === name);
    return { value: written?.value ?? hex(result.value), variablesReference: written?.variablesReference ?? 0 };
  },
};

/** The expression by which a variable can be evaluated. */
export function expressionOfVariable(reference: number, name: string, session: Session): string {
  const container = session.containers.get(reference);
  switch (container.kind) {
    case 'registers':
      return name.toLowerCase();
    case 'register':
      return settable(container.register, name, session.vcpu(container.vcpu));
    case 'vmcs-group':
      return `vmcs.${plainFieldName(name)}`;
    case 'vmcs':
    case 'vmcs-field':
      throw new UserError(`${name} is not a value of its own`, { expected: 'a register or a VMCS field' });
  }
}

/** `cs.base`, `rflags.zf`, if the machine knows it. */
function partExpression(register: string, part: string, vcpu: Vcpu): string | undefined {
  const name = `${register}.${part}`.toLowerCase().replaceAll(' ', '_');
  return vcpu.readRegister(name) === undefined ? undefined : name;
}

function settable(register: string, part: string, vcpu: Vcpu): string {
  const known = partExpression(register, part, vcpu);
  if (known === undefined) {
    throw new UserError(`${part} of ${register} is not a value of its own`, { whatToDo: `set ${register} instead` });
  }
  return known;
}

function childrenOf(container: Container, session: Session): P.Variable[] {
  const vcpu = session.vcpu(container.vcpu);
  switch (container.kind) {
    case 'registers':
      return registersOf(vcpu, container.group).map((register) => registerVariable(register, container, session));
    case 'register': {
      const register = registersOf(vcpu, container.group).find(({ name }) => name === container.register);
      return (register?.parts ?? []).map((part) =>
        partVariable(part, partExpression(container.register, part.name, vcpu)),
      );
    }
    case 'vmcs':
      return vmcsGroups(vcpu, session);
    case 'vmcs-group':
      return vmcsFields(vcpu)
        .filter(({ group }) => group === container.group)
        .map((field) => fieldVariable(field, vcpu, session));
    case 'vmcs-field':
      return (vmcsFields(vcpu).find(({ name }) => name === container.field)?.parts ?? []).map((part) =>
        partVariable(part),
      );
  }
}

function registersOf(vcpu: Vcpu, group: string): readonly RegisterView[] {
  return vcpu.registers().find(({ name }) => name === group)?.registers ?? [];
}

function registerVariable(
  { name, value, widthBits, parts = [], description, writable }: RegisterView,
  container: Container & { kind: 'registers' },
  session: Session,
): P.Variable {
  const { vcpu, group } = container;
  const symbol = group === 'General' ? nearSymbol(value, session) : '';
  const isAddress = group === 'General' && widthBits === 64;
  return {
    name,
    value: hex(value, Math.ceil(widthBits / 4)) + symbol,
    type: description ?? `${widthBits} bits`,
    evaluateName: name.toLowerCase(),
    variablesReference:
      parts.length === 0 ? 0 : session.containers.reference({ kind: 'register', vcpu, group, register: name }),
    namedVariables: parts.length,
    ...(isAddress ? { memoryReference: formatReference({ space: 'linear', address: value, vcpu }) } : {}),
    ...(writable ? {} : { presentationHint: { attributes: ['readOnly'] } }),
  };
}

/** ` <main+0x4>`, if the value is an address of the program. */
function nearSymbol(value: bigint, session: Session): string {
  const name = value < 0x100n ? undefined : session.debuggee.program.symbols.describe(value);
  return name === undefined ? '' : ` <${name}>`;
}

/** Without an expression it cannot be set: the client offers no edit. */
function partVariable(
  { name, value, description }: { name: string; value: string; description: string },
  evaluateName?: string,
): P.Variable {
  return {
    name,
    value,
    type: description,
    variablesReference: 0,
    ...(evaluateName === undefined ? { presentationHint: { attributes: ['readOnly'] } } : { evaluateName }),
  };
}

function vmcsFields(vcpu: Vcpu): readonly VmcsFieldView[] {
  return vcpu.vmcs()?.fields ?? [];
}

function vmcsGroups(vcpu: Vcpu, session: Session): P.Variable[] {
  const counts = new Map<string, number>();
  for (const { group } of vmcsFields(vcpu)) {
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  return [...counts].map(([group, count]) => ({
    name: group,
    value: `${count} fields`,
    variablesReference: session.containers.reference({ kind: 'vmcs-group', vcpu: vcpu.index, group }),
    presentationHint: { kind: 'virtual' },
  }));
}

function fieldVariable(
  { name, value, widthBits, description, parts }: VmcsFieldView,
  vcpu: Vcpu,
  session: Session,
): P.Variable {
  const container = { kind: 'vmcs-field', vcpu: vcpu.index, field: name } as const;
  return {
    name,
    value: hex(value, widthBits / 4),
    type: description,
    evaluateName: `vmcs.${plainFieldName(name)}`,
    variablesReference: parts.length === 0 ? 0 : session.containers.reference(container),
    namedVariables: parts.length,
  };
}
