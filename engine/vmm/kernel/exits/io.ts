/** I/O instructions: one access is done at once in the kernel half or handed to the user half; strings are emulated. */
import { GuestFault } from '../../../cpu/events.ts';
import { hasBit, RFLAGS } from '../../../cpu/register-bits.ts';
import type { Handling, Stage } from '../../stages.ts';
import { kernelStage } from '../../stages.ts';
import { GuestLinear } from '../guest-linear.ts';
import type { VirtualCpu } from '../virtual-cpu.ts';

const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
/** Iterations of a REP that one exit carries out; the instruction exits again for the rest. */
const MAX_ITERATIONS = 16;

interface IoExit {
  readonly port: number;
  readonly sizeBytes: number;
  readonly direction: 'read' | 'write';
}

const TO_USER: Stage = kernelStage(
  'KVM_EXIT_IO',
  'The kernel half has no device at this port: it returns from KVM_RUN to the user half, with the access in shared memory.',
);

export function* handleIo(vcpu: VirtualCpu): Handling {
  const { guest, userHalf } = vcpu.parts;
  const { qualification } = guest;
  const access: IoExit = {
    port: qualification >>> 16,
    sizeBytes: (qualification & 7) + 1,
    direction: qualification & 8 ? 'read' : 'write',
  };
  const inKernel = userHalf.isKernelPort(access.port);
  if (!inKernel) vcpu.stages.enter(TO_USER);
  if (!inKernel) yield;
  vcpu.stages.enter(userHalf.portStage({ ...access, address: access.port }));
  yield;
  if (qualification & 16) stringIo(vcpu, access, hasBit(qualification, 32));
  else registerIo(vcpu, access);
  vcpu.stages.leave();
  if (!inKernel) vcpu.stages.leave();
}

function registerIo(vcpu: VirtualCpu, { port, sizeBytes, direction }: IoExit): void {
  const { state, userHalf } = vcpu.parts;
  if (direction === 'write') userHalf.writePort(port, sizeBytes, cut(state.gpr32(RAX), sizeBytes));
  else {
    const value = cut(userHalf.readPort(port, sizeBytes), sizeBytes);
    if (sizeBytes === 4) state.setGpr32(RAX, value);
    else {
      const mask = (1n << BigInt(sizeBytes * 8)) - 1n;
      state.setGpr(RAX, (state.gpr(RAX) & ~mask) | BigInt(value));
    }
  }
  vcpu.skipInstruction();
}

const cut = (value: number, sizeBytes: number): number =>
  sizeBytes === 4 ? value >>> 0 : value & (2 ** (8 * sizeBytes) - 1);

/** INS and OUTS, with or without REP: exit information holds the segment and the address size. */
function stringIo(vcpu: VirtualCpu, access: IoExit, isRep: boolean): void {
  const { guest, state } = vcpu.parts;
  const addressBits = ([16, 32, 64] as const)[(guest.instructionInformation >>> 7) & 7] ?? 64;
  const segment = (guest.instructionInformation >>> 15) & 7;
  const mask = (1n << BigInt(addressBits)) - 1n;
  const index = access.direction === 'read' ? RDI : RSI;
  const step = BigInt(hasBit(guest.rflags, RFLAGS.DF) ? -access.sizeBytes : access.sizeBytes);
  const advance = (register: number, by: bigint): void => {
    const value = state.gpr(register);
    // 32-bit addresses clear the upper half of the register, 16-bit ones keep the rest.
    const kept = addressBits === 16 ? value & ~mask : 0n;
    state.setGpr(register, kept | ((value + by) & mask));
  };
  const linear = new GuestLinear(vcpu.parts);
  for (let iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
    const offset = state.gpr(index) & mask;
    try {
      transfer(vcpu, linear, access, segment, offset);
    } catch (fault) {
      if (!(fault instanceof GuestFault)) throw fault;
      return guest.injectFault(fault);
    }
    advance(index, step);
    if (!isRep) return vcpu.skipInstruction();
    advance(RCX, -1n);
    if ((state.gpr(RCX) & mask) === 0n) return vcpu.skipInstruction();
  }
}

function transfer(vcpu: VirtualCpu, linear: GuestLinear, access: IoExit, segment: number, offset: bigint): void {
  const { userHalf } = vcpu.parts;
  const { port, sizeBytes, direction } = access;
  const place = { segment, offset, bytes: sizeBytes, forWrite: direction === 'read' };
  if (direction === 'write') return userHalf.writePort(port, sizeBytes, Number(linear.read(place)));
  linear.probe(place);
  linear.write(place, BigInt(cut(userHalf.readPort(port, sizeBytes), sizeBytes)));
}
