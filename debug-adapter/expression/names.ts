import { closest } from '../closest.ts';
import type { Vcpu } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import type { EvaluationContext, Result } from './context.ts';
import { type IntegerType, integerTypeNamed, integerTypes } from './syntax.ts';

const VMCS_PREFIX = /^vm(?:cs|cb)\./i;

/** Of the names of general-purpose and segment registers; all others are taken as 64 bits wide. */
const REGISTER_BITS: readonly (readonly [RegExp, 8 | 16 | 32])[] = [
  [/^(?:[abcd][lh]|(?:si|di|bp|sp)l|r(?:8|9|1[0-5])(?:b|l))$/, 8],
  [/^(?:[abcd]x|si|di|bp|sp|ip|[cdefgs]s|r(?:8|9|1[0-5])w|tr|ldtr)$/, 16],
  [/^(?:e(?:[abcd]x|si|di|bp|sp|ip|flags)|r(?:8|9|1[0-5])d|mxcsr)$/, 32],
];

export function unsignedType(bits: 8 | 16 | 32 | 64): IntegerType {
  return integerTypes.find((type) => type.bits === bits && !type.signed) ?? uint64;
}
export const uint64: IntegerType = { name: 'qword', bits: 64, signed: false };

/** The value of a register, symbol, VMCS field or value of the event. */
export function resolveName(name: string, start: number, context: EvaluationContext): Result {
  const ofEvent = context.values?.[name.toLowerCase()];
  if (ofEvent !== undefined) {
    return typeof ofEvent === 'string'
      ? { value: 0n, type: uint64, text: ofEvent }
      : { value: BigInt.asUintN(64, ofEvent), type: uint64, isRaw: true };
  }
  if (VMCS_PREFIX.test(name)) {
    return readVmcsField(name.replace(VMCS_PREFIX, ''), context.vcpu);
  }
  const found = readRegister(name, context) ?? readSymbol(name, context) ?? readFlag(name, context);
  if (found === undefined) {
    throw unknownName(name, start, context);
  }
  return found;
}

function readRegister(written: string, context: EvaluationContext): Result | undefined {
  const name = written.replace(/^[$%]/, '').toLowerCase();
  const value = context.frameRegisters?.get(name) ?? context.vcpu.readRegister(name);
  if (value === undefined) {
    return undefined;
  }
  const bits = REGISTER_BITS.find(([pattern]) => pattern.test(name))?.[1] ?? 64;
  return { value, type: unsignedType(bits), place: { kind: 'register', name }, isRaw: true };
}

/** `zf` for `rflags.zf`, unless the program gives that name to something of its own. */
function readFlag(name: string, context: EvaluationContext): Result | undefined {
  return name.includes('.') ? undefined : readRegister(`rflags.${name.replace(/^[$%]/, '')}`, context);
}

function readSymbol(name: string, { symbols }: EvaluationContext): Result | undefined {
  const symbol = symbols?.find(name);
  if (symbol === undefined) {
    return undefined;
  }
  const value = BigInt.asUintN(64, symbol.address);
  return symbol.kind === 'constant'
    ? { value, type: uint64 }
    : { value, type: uint64, symbol: symbol.name, space: 'linear' };
}

/** `Guest RIP` and `GUEST_RIP` alike. */
export function plainFieldName(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '');
}

/** The engine's name of a VMCS field, from a name as users write it, or an encoding. */
export function findVmcsField(written: string, vcpu: Vcpu): string {
  const view = vcpu.vmcs();
  if (view === undefined) {
    throw new UserError('There is no current VMCS', {
      expected: 'a vCPU that has executed VMPTRLD, or runs under the built-in hypervisor',
      found: `vCPU ${vcpu.index} without one`,
    });
  }
  const plain = plainFieldName(written);
  const encoding = /^(?:0x)?[0-9a-f]+h?$/i.test(written) ? Number.parseInt(written.replace(/^0x/i, ''), 16) : undefined;
  const field = view.fields.find((one) => plainFieldName(one.name) === plain || one.encoding === encoding);
  if (field === undefined) {
    const near = closest(
      plain,
      view.fields.map((one) => plainFieldName(one.name)),
    );
    throw new UserError('The VMCS has no such field', {
      expected: "a field by the manual's name, with underscores for spaces, as vmcs.guest_rip",
      found: `vmcs.${written}`,
      ...(near === undefined ? {} : { whatToDo: `did you mean vmcs.${near}?` }),
    });
  }
  return field.name;
}

function readVmcsField(written: string, vcpu: Vcpu): Result {
  const field = findVmcsField(written, vcpu);
  const value = vcpu.readVmcs(field) ?? 0n;
  const widthBits = vcpu.vmcs()?.fields.find((one) => one.name === field)?.widthBits;
  const type = widthBits === 16 || widthBits === 32 ? unsignedType(widthBits) : uint64;
  return { value, type, place: { kind: 'vmcs', field }, isRaw: true };
}

function unknownName(name: string, start: number, context: EvaluationContext): UserError {
  const isType = integerTypeNamed(name) !== undefined;
  const candidates = [
    ...Object.keys(context.values ?? {}),
    ...context.vcpu.registerNames(),
    ...(context.symbols?.namesFrom('', 5000) ?? []),
  ];
  const near = closest(name, candidates);
  return new UserError('The name is not known', {
    expected:
      context.values === undefined
        ? 'a register, a symbol or vmcs.FIELD'
        : 'a value of the event, a register or a symbol',
    found: name,
    where: `column ${start + 1}`,
    ...(isType
      ? { whatToDo: `write ${name} [address] to read memory` }
      : near === undefined
        ? {}
        : { whatToDo: `did you mean ${near}?` }),
  });
}
