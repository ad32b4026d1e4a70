/** The debug session that the views follow: which one, whether it is stopped, and which vCPU has the focus. */
import * as vscode from 'vscode';
import type { RingsideCommand, RingsideRequests } from '../../debug-adapter/protocol/requests.ts';
import type { Question } from '../views/row.ts';

export const debugType = 'ringside';

/** DAP messages, as far as a tracker looks into them. */
interface TrackedMessage {
  readonly type: string;
  readonly event?: string;
  readonly command?: string;
  readonly success?: boolean;
  readonly body?: { readonly threadId?: number };
}

interface SessionState {
  isStopped: boolean;
  vcpu: number;
  frameId: number | undefined;
  /** Runs out if nobody asks for the stack after a stop. */
  stackDue: ReturnType<typeof setTimeout> | undefined;
}

/**
 * After a stop VS Code asks for the stack first, and goes to where the answer leads, with what it has to say of the stop. What
 * the views ask would hold that up, so they wait, but not for longer than this.
 */
const STACK_MS = 500;

/** Requests after whose success the guest runs. */
const resuming = new Set(['continue', 'next', 'stepIn', 'stepOut', 'stepBack', 'reverseContinue']);

/** Events after which everything shown may be different. */
const changing = new Set(['invalidated', 'memory']);

const vcpuOfThread = (threadId: number): number => threadId - 1;

export class DebugModel implements vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #resumed = new vscode.EventEmitter<void>();
  readonly #states = new Map<string, SessionState>();
  /** Answers since the last change: views that ask the same share one request. */
  readonly #answers = new Map<string, Promise<unknown>>();
  readonly #subscriptions: vscode.Disposable[] = [];

  /** Fires when what views show may be different: a stop, another focus, an edit, the beginning or end of a session. */
  readonly onDidChange = this.#changed.event;
  /** Fires when the guest begins to run. */
  readonly onDidResume = this.#resumed.event;

  constructor() {
    const createDebugAdapterTracker = (session: vscode.DebugSession) => this.#track(session);
    this.#subscriptions.push(
      this.#changed,
      this.#resumed,
      vscode.debug.registerDebugAdapterTrackerFactory(debugType, { createDebugAdapterTracker }),
      vscode.debug.onDidChangeActiveDebugSession(() => this.refresh()),
      vscode.debug.onDidChangeActiveStackItem((item) => this.#focus(item)),
      vscode.debug.onDidTerminateDebugSession((session) => {
        clearTimeout(this.#states.get(session.id)?.stackDue);
        if (this.#states.delete(session.id)) this.refresh();
      }),
    );
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  /** The active session, if it is one of ours. One that has ended stays VS Code's active one for a moment. */
  get session(): vscode.DebugSession | undefined {
    const session = vscode.debug.activeDebugSession;
    return session && this.#states.has(session.id) ? session : undefined;
  }

  get #state(): SessionState | undefined {
    return this.session && this.#states.get(this.session.id);
  }

  get isStopped(): boolean {
    return this.#state?.isStopped ?? false;
  }

  /** Index of the focused vCPU. */
  get vcpu(): number {
    return this.#state?.vcpu ?? 0;
  }

  /** The focused stack frame, for expressions. */
  get frameId(): number | undefined {
    return this.#state?.frameId;
  }

  /** Forgets all answers and has the views ask again. */
  refresh(): void {
    this.#answers.clear();
    this.#changed.fire();
  }

  /** Sends a custom request about the focused vCPU. */
  async request<C extends RingsideCommand>(
    command: C,
    question: Question<C>,
  ): Promise<RingsideRequests[C]['response']> {
    const { session } = this;
    if (!session) throw new Error('no guest is being debugged; start one first');
    const scope = command === 'ringside/cpuMode' ? {} : { vcpu: this.vcpu };
    return session.customRequest(command, { ...scope, ...question });
  }

  /** As `request`, answered once until something changes. */
  ask<C extends RingsideCommand>(command: C, question: Question<C>): Promise<RingsideRequests[C]['response']> {
    const key = JSON.stringify([this.session?.id, this.vcpu, command, question]);
    const known = this.#answers.get(key);
    if (known) return known as Promise<RingsideRequests[C]['response']>;
    const answer = this.request(command, question);
    this.#answers.set(key, answer);
    return answer;
  }

  #track(session: vscode.DebugSession): vscode.DebugAdapterTracker {
    const state: SessionState = { isStopped: false, vcpu: 0, frameId: undefined, stackDue: undefined };
    this.#states.set(session.id, state);
    return { onDidSendMessage: (message: TrackedMessage) => this.#hear(session, state, message) };
  }

  #hear(session: vscode.DebugSession, state: SessionState, message: TrackedMessage): void {
    const { type, event, command, success } = message;
    const resumed = event === 'continued' || (type === 'response' && success === true && resuming.has(command ?? ''));
    if (resumed) {
      clearTimeout(state.stackDue);
      state.isStopped = false;
      state.frameId = undefined;
      this.#resumed.fire();
    }
    if (event === 'stopped') {
      state.isStopped = true;
      if (message.body?.threadId !== undefined) state.vcpu = vcpuOfThread(message.body.threadId);
      this.#answers.clear();
      clearTimeout(state.stackDue);
      state.stackDue = setTimeout(() => this.#settled(session, state), STACK_MS);
    }
    if (type === 'response' && command === 'stackTrace' && state.stackDue !== undefined) this.#settled(session, state);
    if (type === 'event' && changing.has(event ?? '')) this.#refreshIfShown(session);
  }

  /** The stop is on the screen: it is the views' turn. */
  #settled(session: vscode.DebugSession, state: SessionState): void {
    clearTimeout(state.stackDue);
    state.stackDue = undefined;
    this.#refreshIfShown(session);
  }

  #refreshIfShown(session: vscode.DebugSession): void {
    if (session.id === this.session?.id) this.refresh();
  }

  #focus(item: vscode.DebugThread | vscode.DebugStackFrame | undefined): void {
    const state = item && this.#states.get(item.session.id);
    if (!state) return;
    state.frameId = 'frameId' in item ? item.frameId : undefined;
    const vcpu = vcpuOfThread(item.threadId);
    if (vcpu === state.vcpu) return;
    state.vcpu = vcpu;
    this.refresh();
  }
}
