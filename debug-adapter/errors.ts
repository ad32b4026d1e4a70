/** What makes a user error useful: each part is one short phrase, without a full stop. */
export interface UserErrorDetail {
  /** What would have been right: `a 32-bit x86 executable`. */
  readonly expected?: string;
  /** What was there instead: `machine 183 (AArch64)`. */
  readonly found?: string;
  /** File, offset, line or setting: `kernel.elf, offset 0x12`. */
  readonly where?: string;
  /** The next step for the user: `link with -no-pie`. */
  readonly whatToDo?: string;
}

/**
 * Something the user gave us is wrong: shown as it is, never with a stack trace.
 *
 * The other kinds of error have their own ways: a guest fault is delivered to the guest, an internal bug is any
 * other exception, and what is unimplemented stops the machine by its specification name.
 */
export class UserError extends Error {
  readonly kind = 'user';
  readonly summary: string;
  readonly detail: UserErrorDetail;

  constructor(summary: string, detail: UserErrorDetail = {}) {
    super(describe(summary, detail));
    this.name = 'UserError';
    this.summary = summary;
    this.detail = detail;
  }

  /** The same error with the parts that its thrower could not know, such as the file's path. */
  with(more: UserErrorDetail): UserError {
    return new UserError(this.summary, { ...more, ...this.detail });
  }

  /** The same error, its place preceded by an outer one: `kernel.elf` before `offset 0x12`. */
  within(outer: string): UserError {
    const { where } = this.detail;
    return new UserError(this.summary, { ...this.detail, where: where === undefined ? outer : `${outer}, ${where}` });
  }
}

/** True for an error to be shown to the user; also across bundles, where `instanceof` would not hold. */
export function isUserError(error: unknown): error is UserError {
  return error instanceof Error && 'kind' in error && error.kind === 'user';
}

/** Joins the parts into sentences: what is wrong and where, expected and found, what to do. */
function describe(summary: string, detail: UserErrorDetail): string {
  const sentences = [detail.where === undefined ? summary : `${summary} (${detail.where})`];
  const comparison = [
    detail.expected === undefined ? '' : `expected ${detail.expected}`,
    detail.found === undefined ? '' : `found ${detail.found}`,
  ].filter((part) => part !== '');
  if (comparison.length > 0) {
    sentences.push(capitalise(comparison.join(', ')));
  }
  if (detail.whatToDo !== undefined) {
    sentences.push(capitalise(detail.whatToDo));
  }
  return sentences.map((sentence) => (sentence.endsWith('?') ? sentence : `${sentence}.`)).join(' ');
}

function capitalise(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
