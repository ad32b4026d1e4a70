/** Texts that the client can show like source files: what a stage of the hypervisor's handler does. */
export class VirtualSources {
  readonly #byName = new Map<string, number>();
  readonly #texts: string[] = [];

  /** The reference of a text; the same name and text keep theirs. */
  reference(name: string, text: string): number {
    const key = `${name}\n${text}`;
    const known = this.#byName.get(key);
    if (known !== undefined) {
      return known;
    }
    const reference = this.#texts.push(text);
    this.#byName.set(key, reference);
    return reference;
  }

  text(reference: number): string | undefined {
    return this.#texts[reference - 1];
  }
}
