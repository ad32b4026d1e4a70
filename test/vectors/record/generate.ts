/** Makes the cases of every form, and turns what a recorder observed into vectors. */
import { DEFAULT_EXTENDED_STATE, extendedItems } from '../extended-state.ts';
import { type Mode, STATUS_FLAGS } from '../layout.ts';
import type { MachineState, MemoryBytes, Vector } from '../read-vectors.ts';
import { definedFlags, isResultUndefined } from './defined-flags.ts';
import { decode, type Encoding, encodingsOf, format } from './encodings.ts';
import { faultGroups } from './faults.ts';
import { type Form, formsOf } from './forms.ts';
import type { Case, Outcome } from './harness.ts';
import { generalInputs } from './inputs.ts';
import { Random } from './random.ts';
import { specialInputs } from './special-inputs.ts';

/** A case with what the vector made from it will say. */
export interface PlannedCase extends Case {
  group: string;
  name: string;
  disassembly: string;
  flagsMask: number;
  /** Vectors of the exceptions that are an expected result; another one means that the inputs were unlucky. */
  allowedExceptions: readonly number[] | 'any';
  /** Where the instruction stores MXCSR_MASK, if it does. */
  mxcsrMaskAddress?: number;
}

const ALLOWED_EXCEPTIONS: Record<string, number[]> = {
  Div: [0],
  Idiv: [0],
  Aam: [0],
  Bound: [5],
  Int3: [3],
  Into: [4],
  Ud0: [6],
  Ud1: [6],
  Ud2: [6],
};

/** #GP (alignment, reserved bits), #MF, #XM. */
const FEATURE_EXCEPTIONS = [13, 16, 19];

/** The cases of a mode, group by group and form by form; of all groups or of one. */
export function planCases(mode: Mode, only?: string): PlannedCase[] {
  const isWanted = (group: string) => only === undefined || group === only;
  const forms = formsOf(mode).recorded.filter((form) => isWanted(form.group));
  forms.sort((a, b) => a.group.localeCompare(b.group) || a.code - b.code);
  const cases = forms.flatMap((form) => casesOf(form));
  for (const [group, faults] of faultGroups(mode)) {
    if (!isWanted(group)) continue;
    for (const { name, bytes, input } of faults) cases.push(plannedFault(mode, group, name, bytes, input));
  }
  return cases;
}

function plannedFault(mode: Mode, group: string, name: string, bytes: Uint8Array, input: MachineState): PlannedCase {
  const instruction = decode(bytes, mode);
  const disassembly = instruction.isInvalid ? '(bad)' : format(instruction);
  instruction.free();
  return { mode, group, name, bytes, disassembly, input, flagsMask: STATUS_FLAGS, allowedExceptions: 'any' };
}

function casesOf(form: Form): PlannedCase[] {
  const random = new Random(`${form.mode} ${form.name}`);
  return encodingsOf(form, random).flatMap((encoding) => {
    const cases = casesOfEncoding(encoding, random);
    encoding.instruction.free();
    return cases;
  });
}

function casesOfEncoding(encoding: Encoding, random: Random): PlannedCase[] {
  const { form, bytes, disassembly, instruction } = encoding;
  const cases = new Map<string, PlannedCase>();
  for (let i = 0; i < caseCount(form); i++) {
    const builder = generalInputs(encoding, random);
    specialInputs(builder);
    const input = builder.state;
    if (isResultUndefined(instruction, input)) continue;
    const planned: PlannedCase = {
      mode: form.mode,
      group: form.group,
      name: form.name,
      bytes,
      disassembly,
      input,
      flagsMask: definedFlags(form.mode, instruction, input),
      allowedExceptions: form.featureGroup ? FEATURE_EXCEPTIONS : (ALLOWED_EXCEPTIONS[form.mnemonic] ?? []),
    };
    if (isStateSaving(form) && builder.operandAddress !== undefined)
      planned.mxcsrMaskAddress = builder.operandAddress + MXCSR_MASK_OFFSET;
    cases.set(inputKey(input), planned);
  }
  return [...cases.values()];
}

const isStateSaving = (form: Form): boolean => /^(F?x|X)save/i.test(form.mnemonic);
const MXCSR_MASK_OFFSET = 28;
/** MXCSR_MASK bit 17, in its third byte: AMD's mask of misalignment exceptions, which Intel's processors do not have. */
const MISALIGNED_MASK = 2;

/** The memory without what only AMD's processors put into MXCSR_MASK. */
function withoutMisalignedMask(memory: MemoryBytes[], maskAddress: number | undefined): MemoryBytes[] {
  if (maskAddress === undefined) return memory;
  return memory.map(({ address, bytes }) => ({
    address,
    bytes: bytes.map((byte, i) => (address + i === maskAddress + 2 ? byte & ~MISALIGNED_MASK : byte)),
  }));
}

const inputKey = (input: MachineState) =>
  `${extendedItems(DEFAULT_EXTENDED_STATE, input.extended).join()}${input.gpr.join()} ${input.flags} ${input.memory.map(({ address, bytes }) => `${address}=${bytes.join()}`).join()}`;

function caseCount(form: Form): number {
  const { featureGroup, mode } = form;
  if (featureGroup) return (mode === 64 ? undefined : featureGroup.cases32) ?? featureGroup.cases ?? 4;
  if (form.group === 'legacy') return 16;
  if (form.operandKinds.length === 0) return form.mode === 64 ? 12 : 8;
  if (form.mode !== 64) return /control-transfer|shift|segment/.test(form.group) ? 4 : 3;
  if (form.group === 'lea' || form.group === 'undefined') return 2;
  if (form.group === 'conditional') return 4;
  return /control-transfer|string/.test(form.group) ? 8 : /shift/.test(form.group) ? 5 : 7;
}

/** What became of a case: the vector, or nothing when an exception came that the form is not recorded for. */
export function toVector(planned: PlannedCase, outcome: Outcome): Vector | undefined {
  const vector = outcome.exception?.vector;
  if (vector !== undefined && planned.allowedExceptions !== 'any' && !planned.allowedExceptions.includes(vector))
    return undefined;
  const { mode, bytes, disassembly, input, name, group, flagsMask } = planned;
  return {
    name,
    id: `${group} ${name}`,
    mode,
    bytes,
    disassembly,
    input,
    output: { ...outcome, memory: withoutMisalignedMask(outcome.memory, planned.mxcsrMaskAddress) },
    flagsMask: flagsMask & definedAfterFault(outcome),
  };
}

/** A divide error leaves the flags undefined as a division does. */
function definedAfterFault(outcome: Outcome): number {
  return outcome.exception?.vector === 0 ? ~(STATUS_FLAGS & ~0x400) : -1;
}
