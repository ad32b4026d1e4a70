/** Debug exceptions, which leave their cause in DR6 (SDM volume 3, "Debug Exceptions"). */
import { GuestFault, Vector } from './events.ts';

/** A #DB with the bits it sets in DR6. Delivery stores them; a VM exit reports them in its qualification instead. */
export class DebugFault extends GuestFault {
  readonly dr6: number;
  /** True for a trap: RIP is that of the next instruction and RF is saved as it is. */
  readonly trap: boolean;

  constructor(dr6: number, trap: boolean) {
    super(Vector.DB);
    this.dr6 = dr6;
    this.trap = trap;
  }
}

export const isDebugFault = (fault: GuestFault): fault is DebugFault => fault instanceof DebugFault;
