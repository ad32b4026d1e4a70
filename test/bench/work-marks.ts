/** The lines by which a guest says when a piece of work begins and ends: `@B name` and `@E name iters=… ck=…`. */

/** A piece of work that a guest has done. */
export interface Work {
  readonly name: string;
  readonly seconds: number;
  /** How often the work was done, as the guest counts it. */
  readonly iterations: number;
  /** 16 hexadecimal digits; the same on every machine that computes rightly. */
  readonly checksum: string;
  /** Guest instructions retired, each iteration of a REP counted as one, if the machine counts them. */
  readonly instructions: number | undefined;
}

/** When something happened, by the host's clock and by the guest's instructions. */
interface Moment {
  readonly ms: number;
  readonly instructions: number | undefined;
}

/** Reads the guest's console as it comes. The time from the end of an `@B` line to the start of its `@E` counts. */
export class WorkMarks {
  readonly works: Work[] = [];
  /** The code of the guest's `@X exit` line, once it has come. */
  exitCode: number | undefined;
  /** Lines that are no marks, for messages. */
  readonly otherLines: string[] = [];
  #line = '';
  #lineStart: Moment = { ms: 0, instructions: undefined };
  #begun: { readonly name: string; readonly at: Moment } | undefined;

  feed(text: string, now: Moment): void {
    for (const character of text) {
      if (this.#line === '') this.#lineStart = now;
      if (character === '\n') {
        this.#endLine(this.#line.trimEnd(), now);
        this.#line = '';
      } else this.#line += character;
    }
  }

  /** What is wrong with a run that has ended, or undefined. */
  failure(how: string): string | undefined {
    if (this.exitCode === 0) return undefined;
    const during = this.#begun === undefined ? '' : ` during ${this.#begun.name}`;
    const said = [...this.otherLines.slice(-2), this.#line].filter((line) => line !== '').join(' / ');
    return `${how}${during}${said === '' ? '' : `; the guest's last words: ${said}`}`;
  }

  #endLine(line: string, now: Moment): void {
    const [mark, name = '', ...fields] = line.split(' ');
    if (mark === '@B') this.#begun = { name, at: now };
    else if (mark === '@E') this.#endWork(name, fields);
    else if (mark === '@X') this.exitCode = Number(fields[0]);
    else this.otherLines.push(line);
  }

  #endWork(name: string, fields: readonly string[]): void {
    const { at } = this.#begun ?? {};
    if (this.#begun?.name !== name || at === undefined) throw new Error(`@E ${name} without its @B`);
    const { ms, instructions } = this.#lineStart;
    this.works.push({
      name,
      seconds: (ms - at.ms) / 1000,
      iterations: Number(fieldOf(fields, 'iters')),
      checksum: fieldOf(fields, 'ck'),
      instructions: instructions === undefined ? undefined : instructions - (at.instructions ?? 0),
    });
    this.#begun = undefined;
  }
}

function fieldOf(fields: readonly string[], key: string): string {
  const field = fields.find((one) => one.startsWith(`${key}=`));
  if (field === undefined) throw new Error(`expected ${key}= in the guest's line, found: ${fields.join(' ')}`);
  return field.slice(key.length + 1);
}
