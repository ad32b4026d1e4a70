/**
 * The way of inter-processor interrupts: from the interrupt command register of one local APIC to those whom its
 * destination names. Source: SDM volume 3, "Issuing Interprocessor Interrupts" and "Determining IPI Destination".
 */
import { DELIVERY, deliveryMode, ICR, SHORTHAND } from './apic-registers.ts';

/** A local APIC as the others reach it. */
export interface ApicReceiver {
  readonly id: number;
  /** False while IA32_APIC_BASE disables it: it takes part in nothing. */
  readonly isPresent: boolean;
  /** Bits 31:24 of the logical destination register. */
  readonly logicalId: number;
  /** Bits 31:28 of the destination format register: 15 for the flat model, 0 for the cluster model. */
  readonly model: number;
  /** What lowest-priority delivery compares. */
  readonly arbitrationPriority: number;
  /** Whether a message with a vector would be accepted. */
  readonly isEnabled: boolean;
  receive(mode: number, vector: number): void;
}

const BROADCAST = 0xff;
const FLAT = 0xf;
const CLUSTER_BROADCAST = 0xf;

export class ApicBus {
  readonly #receivers: ApicReceiver[] = [];

  /** Receivers are asked in the order in which they were added. */
  add(receiver: ApicReceiver): void {
    this.#receivers.push(receiver);
  }

  /** Sends what an interrupt command register says. */
  send(sender: ApicReceiver, icrLow: number, icrHigh: number): void {
    const mode = deliveryMode(icrLow);
    // INIT level de-assert only synchronized arbitration IDs, which no longer exist.
    if (mode === DELIVERY.INIT && (icrLow & (ICR.LEVEL | ICR.ASSERT)) === ICR.LEVEL) return;
    const targets = this.#targets(sender, icrLow, icrHigh >>> 24);
    const vector = icrLow & 0xff;
    if (mode === DELIVERY.LOWEST) lowest(targets)?.receive(DELIVERY.FIXED, vector);
    else for (const target of targets) target.receive(mode, vector);
  }

  #targets(sender: ApicReceiver, icrLow: number, destination: number): ApicReceiver[] {
    const present = this.#receivers.filter(({ isPresent }) => isPresent);
    switch ((icrLow >>> 18) & 3) {
      case SHORTHAND.SELF:
        // Only fixed interrupts can be sent to oneself alone.
        return deliveryMode(icrLow) === DELIVERY.FIXED ? [sender] : [];
      case SHORTHAND.ALL:
        return present;
      case SHORTHAND.OTHERS:
        return present.filter((receiver) => receiver !== sender);
      default:
        return present.filter((receiver) =>
          icrLow & ICR.LOGICAL ? isLogicalTarget(receiver, destination) : isPhysicalTarget(receiver, destination),
        );
    }
  }
}

const isPhysicalTarget = ({ id }: ApicReceiver, destination: number): boolean =>
  destination === BROADCAST || destination === id;

function isLogicalTarget({ logicalId, model }: ApicReceiver, destination: number): boolean {
  if (destination === BROADCAST) return true;
  if (model === FLAT) return (logicalId & destination) !== 0;
  const cluster = destination >>> 4;
  return (cluster === CLUSTER_BROADCAST || cluster === logicalId >>> 4) && (logicalId & destination & 0xf) !== 0;
}

/** The one with the lowest priority, the first of several. */
function lowest(targets: readonly ApicReceiver[]): ApicReceiver | undefined {
  const willing = targets.filter(({ isEnabled }) => isEnabled);
  return willing.reduce<ApicReceiver | undefined>(
    (best, target) => (best && best.arbitrationPriority <= target.arbitrationPriority ? best : target),
    undefined,
  );
}
