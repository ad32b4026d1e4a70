import { UserError } from '../errors.ts';

/** A part of the variables tree of one vCPU. */
export type Container =
  | { readonly kind: 'registers'; readonly vcpu: number; readonly group: string }
  | { readonly kind: 'register'; readonly vcpu: number; readonly group: string; readonly register: string }
  | { readonly kind: 'vmcs'; readonly vcpu: number }
  | { readonly kind: 'vmcs-group'; readonly vcpu: number; readonly group: string }
  | { readonly kind: 'vmcs-field'; readonly vcpu: number; readonly field: string };

/**
 * References of containers. One keeps its reference over stops, so that the client keeps what the user has opened; its
 * contents are read when they are asked for.
 */
export class Containers {
  readonly #byKey = new Map<string, number>();
  readonly #list: Container[] = [];

  reference(container: Container): number {
    const key = JSON.stringify(container);
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      return known;
    }
    const reference = this.#list.push(container);
    this.#byKey.set(key, reference);
    return reference;
  }

  get(reference: number): Container {
    const container = this.#list[reference - 1];
    if (container === undefined) {
      throw new UserError('There are no such variables', { found: `reference ${reference}` });
    }
    return container;
  }
}
