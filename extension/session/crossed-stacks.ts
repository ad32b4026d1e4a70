/** Whether requests for the first frames of a thread crossed, after it stopped with something to explain. */

/** What was asked for later was not asked for by the stop. */
const SETTLED_MS = 2000;

/** DAP messages, as far as they are looked into. */
export interface StackMessage {
  readonly type: string;
  readonly seq: number;
  readonly event?: string;
  readonly command?: string;
  readonly request_seq?: number;
  readonly arguments?: { readonly threadId?: number; readonly startFrame?: number };
  readonly body?: {
    readonly reason?: string;
    readonly threadId?: number;
    readonly stackFrames?: readonly { readonly id: number }[];
  };
}

interface Stop {
  readonly threadId: number | undefined;
  readonly since: number;
  /** Requests that are not answered yet, by their numbers. */
  readonly open: Set<number>;
  asked: number;
  /** Ids of the top frame, which has another one in each answer. */
  readonly topIds: Set<number>;
}

/** Events after which the stop, or its stack, is another. */
const ending = new Set(['continued', 'invalidated', 'terminated']);

export class CrossedStacks {
  #stop: Stop | undefined;

  /** `now` is in milliseconds. */
  asked({ type, command, seq, arguments: asked }: StackMessage, now: number): void {
    const stop = this.#stop;
    if (!stop || type !== 'request' || command !== 'stackTrace' || now - stop.since > SETTLED_MS) return;
    if (asked?.threadId !== stop.threadId || (asked?.startFrame ?? 0) > 0) return;
    stop.open.add(seq);
    stop.asked++;
  }

  told({ type, event, body, command, request_seq: request }: StackMessage, now: number): void {
    if (event === 'stopped') {
      const isExplained = body?.reason === 'exception';
      this.#stop = isExplained
        ? { threadId: body?.threadId, since: now, open: new Set(), asked: 0, topIds: new Set() }
        : undefined;
    } else if (event !== undefined && ending.has(event)) this.#stop = undefined;
    else if (type === 'response' && command === 'stackTrace' && this.#stop?.open.delete(request ?? 0)) {
      const [top] = body?.stackFrames ?? [];
      if (top) this.#stop.topIds.add(top.id);
    }
  }

  /** Whether more than one request was made for the top frame, all are answered, and this is the frame, by its id. */
  crossedAt(frameId: number): boolean {
    const stop = this.#stop;
    return stop !== undefined && stop.asked > 1 && stop.open.size === 0 && stop.topIds.has(frameId);
  }

  /** That is dealt with. */
  settle(): void {
    this.#stop = undefined;
  }
}
