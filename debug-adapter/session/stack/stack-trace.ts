import type { DebugProtocol as P } from '@vscode/debugprotocol';
import type { Vcpu } from '../../engine-target.ts';
import { hex } from '../../hexadecimal.ts';
import type { Handlers } from '../handlers.ts';
import { formatReference } from '../memory-reference.ts';
import type { Session } from '../session.ts';
import { sourceOf } from '../sources.ts';
import { guestView, type Position } from './position.ts';
import { callersOf } from './unwind.ts';

/** A chain that is longer is one that the heuristics made up. */
const MAXIMUM_FRAMES = 256;

export const stackTrace: Handlers = {
  threads(_, session) {
    const { control } = session.debuggee;
    return { threads: control.vcpus.map((vcpu) => ({ id: vcpu.index + 1, name: threadName(vcpu) })) };
  },

  stackTrace({ threadId, startFrame = 0, levels = 0 }, session) {
    const vcpu = session.vcpuOfThread(threadId);
    const wanted = levels === 0 ? MAXIMUM_FRAMES : levels;
    const stackFrames: P.StackFrame[] = [];
    let index = 0;
    let hasMore = false;
    for (const frame of framesOf(vcpu, session)) {
      if (index >= startFrame + wanted || index >= MAXIMUM_FRAMES) {
        hasMore = index < MAXIMUM_FRAMES;
        break;
      }
      if (index >= startFrame) {
        stackFrames.push(frame());
      }
      index += 1;
    }
    // One more than is known asks the client to come back for the rest.
    return { stackFrames, totalFrames: hasMore ? index + 1 : index };
  },

  source({ source, sourceReference }, session) {
    const content = session.sources.text(source?.sourceReference ?? sourceReference);
    return { content: content ?? 'This text belongs to an earlier session.', mimeType: 'text/plain' };
  },
};

const vmxWords = { root: 'VMX root', 'non-root': 'VMX non-root' } as const;
const svmWords = { root: 'host mode', 'non-root': 'guest mode' } as const;

function threadName(vcpu: Vcpu): string {
  const { ring, virtualization, vmxOperation, operatingMode, activityState } = vcpu.mode();
  const words = virtualization === 'AMD-V' ? svmWords : vmxWords;
  const vmx = vmxOperation === 'off' ? '' : `, ${words[vmxOperation]}`;
  const activity = /^active$/i.test(activityState) ? '' : `, ${activityState}`;
  return `vCPU ${vcpu.index} (ring ${ring}, ${operatingMode}${vmx}${activity})`;
}

/** Frames as they are asked for: stages of the handler, then the guest's, then the guest of a guest's hypervisor. */
function* framesOf(vcpu: Vcpu, session: Session): Generator<() => P.StackFrame, void, void> {
  for (const stage of vcpu.handlerFrames()) {
    yield () => stageFrame(stage.name, stage.half, stage.explanation, vcpu, session);
  }
  const { program, disassembler } = session.debuggee;
  const { position } = guestView(vcpu);
  yield () => guestFrame(vcpu, position.address, ownRegisters(position), session);
  for (const caller of callersOf(vcpu, program, disassembler)) {
    const registers = callerRegisters(position, caller.address, caller.stackTop);
    yield () => guestFrame(vcpu, caller.address, registers, session, caller.kind);
  }
  const exited = exitedGuest(vcpu, position);
  if (exited !== undefined) {
    yield () => labelFrame('VM exit from the guest at', vcpu, session);
    yield () => guestFrame(vcpu, exited, new Map([['rip', exited]]), session);
  }
}

/** While the guest's exit is handled, its instruction and stack pointers are not those of the CPU. */
function ownRegisters({ stages, address, stackPointer, codeSize }: Position): ReadonlyMap<string, bigint> {
  if (stages === 0) {
    return new Map();
  }
  return new Map(
    codeSize === 64
      ? [
          ['rip', address],
          ['rsp', stackPointer],
        ]
      : [['esp', stackPointer]],
  );
}

function callerRegisters(position: Position, address: bigint, stackTop: bigint): ReadonlyMap<string, bigint> {
  const base = position.stackTop - (position.codeSize === 16 ? position.stackPointer & 0xffffn : position.stackPointer);
  const pointer = stackTop - base;
  const code =
    position.codeSize === 64 ? [['rip', address] as const, ['rsp', pointer] as const] : [['esp', pointer] as const];
  return new Map(code);
}

/** Fields that tell where a guest left, by the state of a VMCS or VMCB that has one. */
const leftAt: Readonly<Record<string, readonly [rip: string, codeBase: string]>> = {
  launched: ['Guest RIP', 'Guest CS base'],
  'host mode': ['RIP', 'CS base'],
};

/** In root operation with a launched VMCS, or in host mode after a VMRUN: the address at which the guest left. */
function exitedGuest(vcpu: Vcpu, position: Position): bigint | undefined {
  const fields = position.vmx === 'root' && position.stages === 0 ? leftAt[vcpu.vmcs()?.launchState ?? ''] : undefined;
  const rip = fields && vcpu.readVmcs(fields[0]);
  return fields && rip !== undefined ? BigInt.asUintN(64, rip + (vcpu.readVmcs(fields[1]) ?? 0n)) : undefined;
}

function stageFrame(name: string, half: string, explanation: string, vcpu: Vcpu, session: Session): P.StackFrame {
  const title = `${name} — hypervisor, ${half} half`;
  return {
    id: session.frames.add({ vcpu: vcpu.index, address: undefined, registers: new Map() }),
    name: title,
    line: session.client.linesStartAt1 ? 1 : 0,
    column: session.client.columnsStartAt1 ? 1 : 0,
    source: { name: `${name}.txt`, sourceReference: session.sources.reference(title, `${title}\n\n${explanation}\n`) },
    moduleId: 'hypervisor',
  };
}

function labelFrame(name: string, vcpu: Vcpu, session: Session): P.StackFrame {
  const id = session.frames.add({ vcpu: vcpu.index, address: undefined, registers: new Map() });
  return { id, name, line: 0, column: 0, presentationHint: 'label' };
}

function guestFrame(
  vcpu: Vcpu,
  address: bigint,
  registers: ReadonlyMap<string, bigint>,
  session: Session,
  kind: 'call' | 'interrupt' | 'top' = 'top',
): P.StackFrame {
  const { program } = session.debuggee;
  // A return address may be the first byte of the next line: the call is before it.
  const within = kind === 'call' ? address - 1n : address;
  const line = program.lines.at(within);
  const name = program.symbols.functionAt(within)?.symbol.name ?? program.symbols.describe(within) ?? hex(address);
  return {
    id: session.frames.add({ vcpu: vcpu.index, address, registers }),
    name: kind === 'interrupt' ? `${name} (interrupted)` : name,
    line: line === undefined ? 0 : line.line - (session.client.linesStartAt1 ? 0 : 1),
    column: line === undefined ? 0 : Math.max(line.column, 1) - (session.client.columnsStartAt1 ? 0 : 1),
    ...(line === undefined ? {} : { source: sourceOf(line.path) }),
    instructionPointerReference: formatReference({ space: 'linear', address, vcpu: vcpu.index }),
    moduleId: 'program',
  };
}
