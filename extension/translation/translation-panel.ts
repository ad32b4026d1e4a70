/** The Translation panel: asks the adapter how an address is translated and has the webview draw the answer. */
import * as vscode from 'vscode';
import type { MemoryDocuments } from '../memory/memory-documents.ts';
import type { DebugModel } from '../session/debug-model.ts';
import type { FromPanel, Question, ToPanel } from '../webview/messages.ts';
import { panelHtml } from './panel-html.ts';

export const translationViewId = 'ringside.translation';

export class TranslationPanel implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #extension: vscode.Uri;
  readonly #model: DebugModel;
  readonly #memory: MemoryDocuments;
  readonly #subscriptions: vscode.Disposable[];
  #view: vscode.WebviewView | undefined;
  #question: Question = { expression: '', access: 'read' };
  #lastSent: ToPanel | undefined;

  constructor(extension: vscode.Uri, model: DebugModel, memory: MemoryDocuments) {
    this.#extension = extension;
    this.#model = model;
    this.#memory = memory;
    this.#subscriptions = [
      vscode.window.registerWebviewViewProvider(translationViewId, this),
      model.onDidChange(() => void this.#answer()),
    ];
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  /** What the panel shows now. */
  get shown(): ToPanel | undefined {
    return this.#lastSent;
  }

  /** Shows the panel with the translation of an address or expression. */
  async translate(expression: string): Promise<void> {
    this.#question = { ...this.#question, expression };
    await vscode.commands.executeCommand(`${translationViewId}.focus`);
    await this.#answer();
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    const { webview } = view;
    this.#view = view;
    webview.options = {
      enableScripts: true,
      localResourceRoots: [vscode.Uri.joinPath(this.#extension, 'dist/webview')],
    };
    webview.onDidReceiveMessage((message: FromPanel) => void this.#hear(message));
    view.onDidDispose(() => {
      this.#view = undefined;
    });
    webview.html = panelHtml(webview, this.#extension);
  }

  async #hear(message: FromPanel): Promise<void> {
    if (message.kind === 'show-memory') return this.#memory.show(message.reference);
    // A panel that was hidden comes back with the question that it kept, unless another was asked meanwhile.
    const isOlder = message.kind === 'ready' && this.#question.expression !== '';
    if (message.question && !isOlder) this.#question = message.question;
    await this.#answer();
  }

  async #answer(): Promise<void> {
    const question = this.#question;
    const answer = await this.#answerTo(question);
    // Another question may have been asked while this one was answered.
    if (answer && question === this.#question) await this.#send(answer);
  }

  async #answerTo(question: Question): Promise<ToPanel | undefined> {
    const { session, isStopped, vcpu, frameId } = this.#model;
    if (!session) return { kind: 'idle', question, reason: 'No guest is being debugged.' };
    if (!isStopped)
      return this.#lastSent?.kind === 'answer' ? undefined : { kind: 'idle', question, reason: 'The guest runs.' };
    if (question.expression === '') return { kind: 'idle', question, reason: 'Enter an address or an expression.' };
    try {
      const frame = frameId === undefined ? {} : { frameId };
      return {
        kind: 'answer',
        question,
        vcpu,
        answer: await this.#model.ask('ringside/translate', { ...question, ...frame }),
      };
    } catch (error) {
      return { kind: 'error', question, message: error instanceof Error ? error.message : String(error) };
    }
  }

  async #send(message: ToPanel): Promise<void> {
    this.#lastSent = message;
    await this.#view?.webview.postMessage(message);
  }
}
