/**
 * Has VS Code explain a stop at which two requests for the stack crossed. When a thread stops VS Code asks for its first frame,
 * which gets the focus; if the Call Stack view draws before the answer is there, it asks for the stack too, and its answer
 * replaces the frame by another of the same place. VS Code then takes the focused frame for none of the thread's, and does not
 * open what the session says of the exception. It does once the top frame has the focus anew.
 */
import * as vscode from 'vscode';
import { CrossedStacks, type StackMessage } from './crossed-stacks.ts';
import { debugType } from './debug-model.ts';

async function focusTop(): Promise<void> {
  // The last answer is on its way to VS Code. Whatever VS Code answers, it does when that has been dealt with.
  await vscode.commands.getCommands();
  await vscode.commands.executeCommand('workbench.action.debug.callStackTop');
}

class TopFrame implements vscode.DebugAdapterTracker {
  readonly #session: vscode.DebugSession;
  readonly #crossed = new CrossedStacks();

  constructor(session: vscode.DebugSession) {
    this.#session = session;
  }

  onWillReceiveMessage(message: StackMessage): void {
    this.#crossed.asked(message, Date.now());
  }

  onDidSendMessage(message: StackMessage): void {
    this.#crossed.told(message, Date.now());
    this.focused(vscode.debug.activeStackItem);
  }

  /** The focus may be set before the last answer, or after it, when the frame's file has been opened. */
  focused(item: vscode.DebugThread | vscode.DebugStackFrame | undefined): void {
    if (!item || !('frameId' in item) || item.session.id !== this.#session.id) return;
    if (!this.#crossed.crossedAt(item.frameId)) return;
    this.#crossed.settle();
    void focusTop();
  }
}

export function keepTopFrame(): vscode.Disposable {
  const frames = new Map<string, TopFrame>();
  const createDebugAdapterTracker = (session: vscode.DebugSession) => {
    const frame = new TopFrame(session);
    frames.set(session.id, frame);
    return frame;
  };
  return vscode.Disposable.from(
    vscode.debug.registerDebugAdapterTrackerFactory(debugType, { createDebugAdapterTracker }),
    vscode.debug.onDidChangeActiveStackItem((item) => item && frames.get(item.session.id)?.focused(item)),
    vscode.debug.onDidTerminateDebugSession(({ id }) => frames.delete(id)),
  );
}
