/**
 * The test runner inside VS Code's extension host: small, because it must run in a web worker as well.
 * A suite file calls test() for each of its tests; VS Code then calls run().
 */

interface Test {
  name: string;
  body: () => Promise<void> | void;
}

/** What the outside learns of one test; printed as a line of JSON after `resultMark`. */
export interface Result {
  name: string;
  durationMs: number;
  /** The error's stack, if it failed. */
  error?: string;
}

export const resultMark = 'ringside-in-host-result ';
export const endMark = 'ringside-in-host-end';

const tests: Test[] = [];

export function test(name: string, body: Test['body']): void {
  tests.push({ name, body });
}

async function resultOf({ name, body }: Test): Promise<Result> {
  const started = performance.now();
  const took = () => Math.round(performance.now() - started);
  try {
    await body();
    return { name, durationMs: took() };
  } catch (error) {
    return { name, durationMs: took(), error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

/** VS Code calls this in the extension host once the window is up. */
export async function run(): Promise<void> {
  for (const each of tests) console.log(resultMark + JSON.stringify(await resultOf(each)));
  console.log(endMark);
}

/** Waits for `event` to satisfy `accept`; fails after `timeoutMs` with what it was waiting for. */
export function once<T>(
  event: (listener: (value: T) => void) => { dispose(): void },
  accept: (value: T) => boolean,
  waitingFor: string,
  timeoutMs = 20_000,
): Promise<T> {
  return new Promise((fulfil, reject) => {
    const timer = setTimeout(() => {
      subscription.dispose();
      reject(new Error(`expected ${waitingFor} within ${timeoutMs} ms`));
    }, timeoutMs);
    const subscription = event((value) => {
      if (!accept(value)) return;
      clearTimeout(timer);
      subscription.dispose();
      fulfil(value);
    });
  });
}

/** Fails unless both are the same when written as JSON. */
export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (found !== wanted) throw new Error(`${what}: expected ${wanted}, found ${found}`);
}

export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`expected: ${what}`);
}
