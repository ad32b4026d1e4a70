import { Response } from '@vscode/debugadapter/lib/messages';
import { ProtocolServer } from '@vscode/debugadapter/lib/protocol';
import type { DebugProtocol } from '@vscode/debugprotocol';
import { isUserError, UserError } from '../errors.ts';
import { features } from './features.ts';
import { type AdapterServices, Session } from './session.ts';

type AnyHandler = (args: unknown, session: Session) => unknown;

/** Errors of these requests are shown where the user typed, not in a dialog. */
const SHOWN_IN_PLACE = new Set([
  'evaluate',
  'setVariable',
  'setExpression',
  'completions',
  'readMemory',
  'disassemble',
]);

/**
 * The adapter as a DAP server: messages by a stream (`start`) or one by one (`handleMessage`, `onDidSendMessage`).
 * Every request gets exactly one answer.
 */
export class RingsideServer extends ProtocolServer {
  readonly session: Session;
  readonly #handlers = new Map<string, AnyHandler>();
  readonly #pending = new Set<number>();
  readonly #cancelled = new Set<number>();

  constructor(services: AdapterServices) {
    super();
    this.session = new Session(services, (event, body) => this.#send(event, body));
    for (const feature of features) {
      for (const [command, handler] of Object.entries(feature)) {
        this.#handlers.set(command, handler as AnyHandler);
      }
    }
  }

  protected override dispatchRequest(request: DebugProtocol.Request): void {
    void this.#answer(request);
  }

  async #answer(request: DebugProtocol.Request): Promise<void> {
    const response = new Response(request);
    this.#pending.add(request.seq);
    try {
      const body = await this.#handle(request);
      if (this.#cancelled.has(request.seq)) {
        throw new UserError('cancelled');
      }
      if (body !== undefined) {
        Object.assign(response, { body });
      }
    } catch (error) {
      this.#fail(response, request.command, error);
    }
    this.#pending.delete(request.seq);
    this.#cancelled.delete(request.seq);
    this.sendResponse(response);
    this.session.afterResponse();
  }

  #handle(request: DebugProtocol.Request): unknown {
    if (request.command === 'cancel') {
      this.#cancel(request.arguments);
      return undefined;
    }
    const handler = this.#handlers.get(request.command);
    if (handler === undefined) {
      throw new UserError(`The request '${request.command}' is not supported`);
    }
    return handler(request.arguments ?? {}, this.session);
  }

  #cancel(args: DebugProtocol.CancelArguments | undefined): void {
    if (args?.requestId !== undefined && this.#pending.has(args.requestId)) {
      this.#cancelled.add(args.requestId);
    }
  }

  #fail(response: DebugProtocol.Response, command: string, error: unknown): void {
    const message = isUserError(error) ? error.message : this.session.describeInternalError(error);
    response.success = false;
    response.message = message;
    const showUser = !SHOWN_IN_PLACE.has(command) && !command.startsWith('ringside/');
    Object.assign(response, { body: { error: { id: 1, format: message, showUser } } });
  }

  #send(event: string, body: unknown): void {
    this.sendEvent({ seq: 0, type: 'event', event, body });
  }
}
