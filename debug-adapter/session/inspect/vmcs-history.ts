import type { VmcsFieldView } from '../../engine-target.ts';

type Values = ReadonlyMap<string, bigint>;

interface Seen {
  readonly stop: number;
  readonly values: Values;
  /** At the stop at which the VMCS was looked at before. */
  readonly before: Values | undefined;
}

/** Which fields of a VMCS have changed since it was looked at before. A VMCS that nobody looks at costs nothing. */
export class VmcsHistory {
  #stop = 0;
  readonly #seen = new Map<string, Seen>();

  /** The machine runs: what is seen from now on is of another stop. */
  advance(): void {
    this.#stop += 1;
  }

  /** Names of the fields that differ from the stop before; looking twice at one stop gives the same. */
  changed(vcpu: number, address: bigint, fields: readonly VmcsFieldView[]): string[] {
    const key = `${vcpu} ${address}`;
    const last = this.#seen.get(key);
    const values = new Map(fields.map(({ name, value }) => [name, value]));
    const before = last?.stop === this.#stop ? last.before : last?.values;
    this.#seen.set(key, { stop: this.#stop, values, before });
    return fields.filter(({ name, value }) => before?.has(name) && before.get(name) !== value).map(({ name }) => name);
  }
}
