/**
 * VM entries of random VMCSs, and random instructions and events in the guest, against what the rules of VM entry predict
 * and what holds for every VM exit.
 */
import { readFlags } from '../../../engine/cpu/flags.ts';
import { ACTIVITY } from '../../../engine/cpu/register-bits.ts';
import type { EntryRule } from '../../../engine/vmx/entry-checks/entry-rule.ts';
import { controlRules, guestRules, hostRules } from '../../../engine/vmx/entry-checks/rules.ts';
import { ENTRY_FAILURE, exitReason } from '../../../engine/vmx/exit-reasons.ts';
import { LAUNCH_STATE_OFFSET } from '../../../engine/vmx/vmcs.ts';
import { Random } from '../../machine/hostile/random.ts';
import { exitCases } from '../exit-cases.ts';
import { informationCases } from '../information-cases.ts';
import { insn, type VmxMachine } from '../machine.ts';
import { wrongWithExit } from './legal-exit.ts';
import { breakRules, validMachine } from './random-vmcs.ts';

export interface Tally {
  cases: number;
  entered: number;
  refused: number;
  failed: number;
  exits: number;
  readonly reasons: Set<number>;
}
export const emptyTally = (): Tally => ({ cases: 0, entered: 0, refused: 0, failed: 0, exits: 0, reasons: new Set() });

/** What VMLAUNCH or VMRESUME has to do: the rules that are broken are told. */
interface Prediction {
  readonly outcome: string;
  readonly violated: readonly string[];
}

const ENTERED = 'entered';
const ids = (rules: readonly EntryRule[]): string[] => rules.map(({ id }) => id);

function predict(m: VmxMachine, launch: boolean): Prediction {
  const { parts } = m.vmx;
  const isLaunched = m.physical.readU32(m.state.currentVmcs + LAUNCH_STATE_OFFSET) === 1;
  if (launch === isLaunched) return { outcome: `error ${launch ? 4 : 5}`, violated: [] };
  const broken = (rules: readonly EntryRule[]): EntryRule[] => rules.filter((rule) => rule.violated(parts));
  const [controls, host, guest] = [broken(controlRules), broken(hostRules), broken(guestRules)];
  if (controls.length > 0) return { outcome: 'error 7', violated: ids(controls) };
  if (host.length > 0) return { outcome: 'error 8', violated: ids(host) };
  const [first] = guest;
  if (first) return { outcome: `exit 33, ${first.qualification ?? 0}`, violated: ids(guest) };
  return { outcome: ENTERED, violated: [] };
}

const ZF = 0x40;
const CF = 1;
function outcomeOf(m: VmxMachine): string {
  const reason = Number(m.read('Exit reason'));
  if (m.state.nonRoot) return ENTERED;
  if (reason >= ENTRY_FAILURE) return `exit ${reason & 0xffff}, ${m.read('Exit qualification')}`;
  const flags = readFlags(m.state);
  if (flags & CF) return 'invalid';
  return flags & ZF ? `error ${m.read('VM-instruction error')}` : ENTERED;
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.join() === b.join();

/** VMLAUNCH or VMRESUME, held against the prediction; true if the guest was entered. */
function enter(m: VmxMachine, launch: boolean, tally: Tally): boolean {
  const expected = predict(m, launch);
  const told: string[] = [];
  m.vmx.onVmEntryFailure = ({ violated }) => void told.push(...ids(violated));
  // What an earlier exit has left does not count.
  m.write({ 'Exit reason': 0 });
  m.step(launch ? insn.vmlaunch : insn.vmresume);
  const found = outcomeOf(m);
  const isMsrFailure = expected.outcome === ENTERED && found.startsWith('exit 34,');
  if (!isMsrFailure && (found !== expected.outcome || !same(told, expected.violated))) {
    throw new Error(`expected ${JSON.stringify(expected)}, found ${found}, told ${told}`);
  }
  if (found.startsWith('error')) tally.refused++;
  else if (found === ENTERED) tally.entered++;
  else tally.failed++;
  if (!m.state.nonRoot && !found.startsWith('error')) leave(m, tally);
  return found === ENTERED;
}

/** After a VMX abort nothing holds. */
function leave(m: VmxMachine, tally: Tally): void {
  if (m.state.activityState === ACTIVITY.SHUTDOWN) return;
  tally.exits++;
  tally.reasons.add(Number(m.read('Exit reason')) & 0xffff);
  const wrong = wrongWithExit(m);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
}

const instructions = [
  ...new Set([
    ...exitCases.flatMap(({ exits }) => (typeof exits === 'string' ? [exits] : [])),
    ...informationCases.flatMap(({ rows }) => rows.map(({ hex }) => hex)),
  ]),
  '0f 20 c0', '0f 20 e0', '0f 22 c0', '0f 22 e0', '0f 01 e0', '0f 05', '0f 34', 'fa', 'fb', '9c', '9d', 'cd 20', 'cd 80',
  '8e d0', '0f 01 ca', '0f 01 cb', '0f 06', 'cb', 'cf', '0f ae f8', '0f c7 f8', '0f 01 d0', '66 0f 3a 63 c1 00',
]; // biome-ignore format: bytes

/** Instructions that the machine of these tests, which has no other executions, does not know are left out. */
function stepIfKnown(m: VmxMachine, hex: string): void {
  try {
    m.step(hex);
  } catch (error) {
    if (!(error instanceof Error) || !/^(undecodable|no system instruction)/.test(error.message)) throw error;
  }
}

/** What the run loop offers at a boundary, in its order, until something exits. */
function atBoundary(random: Random, m: VmxMachine): void {
  const { vmx } = m;
  vmx.completeInstruction();
  const offers = [
    () => vmx.apicExit(),
    () => vmx.monitorTrapExit(),
    () => vmx.exitByTimer(),
    () => vmx.exitBeforeNmis(),
    () => random.once(8) && vmx.onNmiPending(),
    () => vmx.interruptWindowExit(),
    () => vmx.onVirtualInterrupt(),
    () => random.once(4) && vmx.onExternalInterruptPending(() => 0x20 + random.below(0xe0)),
  ];
  for (const offer of offers) if (m.state.nonRoot) offer();
}

const STEPS = 12;
/** Random registers, instructions and events, as long as the guest runs. */
function runGuest(random: Random, m: VmxMachine): void {
  for (let step = 0; step < STEPS && m.state.nonRoot; step++) {
    for (let register = 0; register < 16; register++) {
      if (random.once(4)) m.state.setGpr(register, BigInt(random.pick([random.value(), random.below(0x10_0000)])));
    }
    m.clock += BigInt(random.below(1000));
    if (m.state.activityState === ACTIVITY.ACTIVE) stepIfKnown(m, random.pick(instructions));
    atBoundary(random, m);
  }
}

/** What a hypervisor does about an exit: skips the instruction, or not, and changes a field at times. */
function handle(random: Random, m: VmxMachine): void {
  const info = exitReason(Number(m.read('Exit reason')));
  if (info?.skips && random.once(2)) {
    m.write({ 'Guest RIP': m.read('Guest RIP') + m.read('VM-exit instruction length') });
  }
  if (random.once(4)) breakRules(random, m);
}

/** One VMCS from its first VM entry on. Throws what is wrong with it. */
export function tryVmcs(seed: number, tally: Tally): void {
  tally.cases++;
  const random = new Random(seed);
  const m = validMachine(random);
  breakRules(random, m);
  let launch = !random.once(20);
  for (let turn = 0; turn < 6; turn++) {
    if (!enter(m, launch, tally)) return;
    if (m.state.nonRoot) {
      runGuest(random, m);
      if (m.state.nonRoot) return;
      leave(m, tally);
    }
    if (m.state.activityState === ACTIVITY.SHUTDOWN) return;
    handle(random, m);
    launch = false;
  }
}
