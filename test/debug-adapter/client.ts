/** A DAP client in the same process: sends requests, keeps events, waits for them. */
import { readFile } from 'node:fs/promises';
import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { assembleProgram } from '../../debug-adapter/assemble-program.ts';
import { type CreateTarget, createMachine } from '../../debug-adapter/engine-target.ts';
import type { Requests } from '../../debug-adapter/session/handlers.ts';
import { RingsideServer } from '../../debug-adapter/session/server.ts';

type Event = P.Event;
export type StoppedBody = P.StoppedEvent['body'];

export interface LaunchOptions extends Record<string, unknown> {
  readonly initialize?: Partial<P.InitializeRequestArguments>;
}

export class Client {
  readonly server: RingsideServer;
  readonly events: Event[] = [];
  private readonly answers = new Map<number, (response: P.Response) => void>();
  private readonly waiting: (() => void)[] = [];
  private seq = 1;
  private seen = 0;

  /** @param texts source files by path, beside those on disk */
  constructor(texts: Readonly<Record<string, string | Uint8Array>> = {}, createTarget: CreateTarget = createMachine) {
    const files = {
      async read(path: string) {
        const text = texts[path];
        if (text === undefined) {
          return new Uint8Array(await readFile(path).catch(() => Promise.reject(new Error('no such file'))));
        }
        return typeof text === 'string' ? new TextEncoder().encode(text) : text;
      },
    };
    this.server = new RingsideServer({ files, assemble: assembleProgram, createTarget });
    this.server.onDidSendMessage((message: unknown) => this.receive(message as P.ProtocolMessage));
  }

  private receive(message: P.ProtocolMessage): void {
    // What leaves the adapter must survive its way as JSON.
    const copy = JSON.parse(JSON.stringify(message));
    if (copy.type === 'response') {
      this.answers.get(copy.request_seq)?.(copy);
      this.answers.delete(copy.request_seq);
    } else {
      this.events.push(copy);
      for (const wake of this.waiting.splice(0)) wake();
    }
  }

  respond(command: string, args?: unknown): Promise<P.Response> {
    const seq = this.seq++;
    return new Promise((resolve) => {
      this.answers.set(seq, resolve);
      const request = { seq, type: 'request', command, arguments: args } as P.Request;
      this.server.handleMessage(JSON.parse(JSON.stringify(request)));
    });
  }

  async request<Command extends keyof Requests>(
    command: Command,
    args?: Requests[Command][0],
  ): Promise<Requests[Command][1]> {
    const response = await this.respond(command, args);
    if (!response.success) throw new Error(response.message);
    return response.body;
  }

  /** The error message of a request that must fail. */
  async failure(command: keyof Requests, args?: unknown): Promise<string> {
    const response = await this.respond(command, args);
    if (response.success) throw new Error(`${command} succeeded: ${JSON.stringify(response.body)}`);
    return response.message ?? '';
  }

  /** The next event of a name that has not been waited for yet; events before it are passed over. */
  async event(...names: string[]): Promise<Event> {
    for (;;) {
      for (; this.seen < this.events.length; ) {
        const event = this.events[this.seen++];
        if (event !== undefined && names.includes(event.event)) return event;
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  async stopped(): Promise<StoppedBody> {
    const event = await this.event('stopped', 'terminated');
    if (event.event === 'terminated') throw new Error(`the guest ended: ${this.console()}`);
    return event.body;
  }

  /** initialize and launch, up to the `initialized` event. */
  async launch({ initialize = {}, ...attributes }: LaunchOptions): Promise<void> {
    await this.request('initialize', {
      adapterID: 'ringside',
      supportsInvalidatedEvent: true,
      supportsMemoryEvent: true,
      ...initialize,
    });
    await this.request('launch', attributes);
    await this.event('initialized');
  }

  /** Launches and stops at the first instruction. */
  async launchStopped(options: LaunchOptions): Promise<StoppedBody> {
    await this.launch({ stopOnEntry: true, ...options });
    await this.request('configurationDone');
    return this.stopped();
  }

  async next(granularity?: P.SteppingGranularity): Promise<StoppedBody> {
    await this.request('next', { threadId: 1, ...(granularity ? { granularity } : {}) });
    return this.stopped();
  }
  async stepIn(granularity?: P.SteppingGranularity): Promise<StoppedBody> {
    await this.request('stepIn', { threadId: 1, ...(granularity ? { granularity } : {}) });
    return this.stopped();
  }
  async stepOut(): Promise<StoppedBody> {
    await this.request('stepOut', { threadId: 1 });
    return this.stopped();
  }
  async continue(): Promise<StoppedBody> {
    await this.request('continue', { threadId: 1 });
    return this.stopped();
  }

  async frames(threadId = 1): Promise<P.StackFrame[]> {
    return (await this.request('stackTrace', { threadId })).stackFrames;
  }
  async top(): Promise<P.StackFrame> {
    const [frame] = await this.frames();
    if (frame === undefined) throw new Error('no frame');
    return frame;
  }
  /** `file.asm:12 main` of the innermost frame. */
  async where(): Promise<string> {
    const { name, line, source } = await this.top();
    return `${source?.name ?? '?'}:${line} ${name}`;
  }

  async evaluate(expression: string, context = 'watch'): Promise<string> {
    return (await this.request('evaluate', { expression, context })).result;
  }

  /** Everything written to the debug console, of one category or all. */
  console(category?: string): string {
    return this.events
      .filter(({ event, body }) => event === 'output' && (category === undefined || body.category === category))
      .map(({ body }) => body.output)
      .join('');
  }

  async setBreakpoints(path: string, ...breakpoints: P.SourceBreakpoint[]): Promise<P.Breakpoint[]> {
    return (await this.request('setBreakpoints', { source: { path }, breakpoints })).breakpoints;
  }
}

/** The number of the line that holds a marker. */
export function lineOf(source: string, marker: string): number {
  const lines = source.split('\n');
  const index = lines.findIndex((line) => line.includes(marker));
  if (index < 0 || lines.slice(index + 1).some((line) => line.includes(marker)))
    throw new Error(`expected one line with ${marker}`);
  return index + 1;
}
