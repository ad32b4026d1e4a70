/**
 * The interrupts of a local APIC on their way to the processor: requested (IRR), in service (ISR), level-triggered
 * (TMR), and which of them comes next. Source: SDM volume 3, "Interrupt, Task, and Processor Priority" and "Interrupt
 * Acceptance for Fixed Interrupts".
 */
import { VectorSet } from './vector-set.ts';

export interface ApicRequestsState {
  readonly isr: readonly number[];
  readonly tmr: readonly number[];
  readonly irr: readonly number[];
}

export class ApicRequests {
  readonly isr = new VectorSet();
  readonly tmr = new VectorSet();
  readonly irr = new VectorSet();

  add(vector: number, level: boolean): void {
    this.irr.add(vector);
    if (level) this.tmr.add(vector);
    else this.tmr.delete(vector);
  }

  /** PPR: the higher of the task's priority and that of what is in service. */
  processorPriority(tpr: number): number {
    const inService = Math.max(0, this.isr.highest());
    return tpr >> 4 >= inService >> 4 ? tpr : inService & 0xf0;
  }

  /** The vector that the processor would be given, or -1. */
  deliverable(tpr: number): number {
    const vector = this.irr.highest();
    return vector >= 0 && vector >> 4 > this.processorPriority(tpr) >> 4 ? vector : -1;
  }

  takeIntoService(vector: number): void {
    this.irr.delete(vector);
    this.isr.add(vector);
  }

  /** EOI: returns the vector that has been served if it was level-triggered. */
  endOfInterrupt(): number | undefined {
    const vector = this.isr.highest();
    if (vector < 0) return undefined;
    this.isr.delete(vector);
    return this.tmr.has(vector) ? vector : undefined;
  }

  /** One of the 24 registers, ISR, TMR and IRR in that order. */
  word(index: number): number {
    return [this.isr, this.tmr, this.irr][index >> 3]?.word(index & 7) ?? 0;
  }

  clear(): void {
    for (const set of [this.isr, this.tmr, this.irr]) set.clear();
  }
  save(): ApicRequestsState {
    return { isr: this.isr.save(), tmr: this.tmr.save(), irr: this.irr.save() };
  }
  restore({ isr, tmr, irr }: ApicRequestsState): void {
    this.isr.restore(isr);
    this.tmr.restore(tmr);
    this.irr.restore(irr);
  }
}
