/**
 * What can end an instruction before it completes. Both are thrown by the TypeScript side of the CPU (never across
 * wasm frames: the imports of compiled code catch them) and carry plain data, no stack trace.
 */
import type { LinearAddress } from '../isa/linear-address.ts';

/** Exception and interrupt vectors (SDM volume 3, "Exception and Interrupt Reference"). */
export const Vector = {
  DE: 0, DB: 1, NMI: 2, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, DF: 8, TS: 10, NP: 11, SS: 12, GP: 13, PF: 14,
  MF: 16, AC: 17, MC: 18, XM: 19, VE: 20, CP: 21, SX: 30,
} as const; // biome-ignore format: one table

/** An architectural exception, to be delivered to the guest (or turned into a VM exit). */
export class GuestFault {
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** The faulting linear address of #PF, which delivery stores to CR2. */
  readonly linear: LinearAddress | undefined;
  /** Whether the IRET that faults has ended blocking by NMI. */
  unblockedNmi?: boolean;

  constructor(vector: number, errorCode?: number, linear?: LinearAddress) {
    this.vector = vector;
    this.errorCode = errorCode;
    this.linear = linear;
  }
}

export const DE = () => new GuestFault(Vector.DE);
export const DB = () => new GuestFault(Vector.DB);
export const UD = () => new GuestFault(Vector.UD);
export const NM = () => new GuestFault(Vector.NM);
export const BR = () => new GuestFault(Vector.BR);
export const TS = (code: number) => new GuestFault(Vector.TS, code);
export const NP = (code: number) => new GuestFault(Vector.NP, code);
export const SS_ = (code: number) => new GuestFault(Vector.SS, code);
export const GP = (code: number) => new GuestFault(Vector.GP, code);
export const AC = () => new GuestFault(Vector.AC, 0);
export const PF = (code: number, linear: LinearAddress) => new GuestFault(Vector.PF, code, linear);

/** A VM exit to be taken instead of completing the instruction (fault-like) or after it (trap-like; see vmx/). */
export class VmExit {
  /** Basic exit reason number; of AMD-V, the exit code. */
  readonly reason: number;
  /** Exit qualification; of AMD-V, EXITINFO1. */
  readonly qualification: bigint;
  /** Guest-linear address, if the exit reports one. */
  readonly guestLinear: LinearAddress | undefined;
  /** Guest-physical address, if the exit reports one. */
  readonly guestPhysical: number | undefined;
  /** VM-exit instruction-information field, if the exit reports one. */
  readonly instructionInformation: number | undefined;
  /** Of an EPT violation: whether the EPT entry forbids that it becomes a virtualization exception. */
  readonly suppressesVe: boolean;
  /** Interruption information and error code, for exits due to events. */
  readonly interruption: { readonly information: number; readonly errorCode?: number } | undefined;
  /** The second word that a #VMEXIT of AMD-V tells besides `qualification`, if it is none of the addresses. */
  readonly secondInformation: bigint | undefined;

  constructor(
    reason: number,
    qualification = 0n,
    more: {
      guestLinear?: LinearAddress;
      guestPhysical?: number;
      instructionInformation?: number;
      suppressesVe?: boolean;
      interruption?: { information: number; errorCode?: number };
      secondInformation?: bigint;
    } = {},
  ) {
    this.reason = reason;
    this.qualification = qualification;
    this.guestLinear = more.guestLinear;
    this.guestPhysical = more.guestPhysical;
    this.instructionInformation = more.instructionInformation;
    this.suppressesVe = more.suppressesVe ?? false;
    this.interruption = more.interruption;
    this.secondInformation = more.secondInformation;
  }
}

/** Something the engine does not implement yet: stops the run visibly, by its specification name. */
export class Unimplemented {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}
