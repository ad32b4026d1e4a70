/** The stages that the handling of a VM exit goes through, as a debugger shows and steps them. */

/** A frame of the hypervisor while it handles an exit. */
export interface Stage {
  readonly name: string;
  readonly half: 'kernel' | 'user';
  /** What happens here, in words; only asked for when somebody looks. */
  readonly explain: () => string;
}

/**
 * The handling of an exit. It pauses after each stage was entered and before its work is done, so that whoever steps sees
 * where it is; whoever does not step runs it to its end at once.
 */
export type Handling = Generator<undefined, void, undefined>;

export class Stages {
  readonly #stack: Stage[] = [];

  enter(stage: Stage): void {
    this.#stack.push(stage);
  }
  leave(): void {
    this.#stack.pop();
  }
  clear(): void {
    this.#stack.length = 0;
  }

  /** Innermost first. */
  frames(): { name: string; half: 'kernel' | 'user'; explanation: string }[] {
    return this.#stack.map((stage) => ({ name: stage.name, half: stage.half, explanation: stage.explain() })).reverse();
  }
}

export const kernelStage = (name: string, explanation: string): Stage => ({
  name,
  half: 'kernel',
  explain: () => explanation,
});
