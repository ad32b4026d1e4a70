import { UserError } from '../errors.ts';

/** A frame as the client may ask about it while the machine stands. */
export interface Frame {
  readonly vcpu: number;
  /** Linear address of the next instruction; undefined for a stage of the hypervisor's handler. */
  readonly address: bigint | undefined;
  /** Registers that differ from the vCPU's, by lower-case name. */
  readonly registers: ReadonlyMap<string, bigint>;
}

/** Ids of frames, valid until the machine runs again. */
export class FrameTable {
  readonly #frames = new Map<number, Frame>();
  #nextId = 1;

  add(frame: Frame): number {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#frames.set(id, frame);
    return id;
  }

  get(id: number): Frame {
    const frame = this.#frames.get(id);
    if (frame === undefined) {
      throw new UserError('The stack frame is gone', {
        expected: 'a frame of the present stop',
        found: 'one of an earlier stop',
      });
    }
    return frame;
  }

  clear(): void {
    this.#frames.clear();
  }
}
