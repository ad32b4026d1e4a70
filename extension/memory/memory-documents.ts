/** Shows memory of the guest: in the Hex Editor if it is installed, else as a text that follows the guest's stops. */
import * as vscode from 'vscode';
import type { DebugModel } from '../session/debug-model.ts';
import { hexDump } from './hex-dump.ts';

const scheme = 'ringside-memory';
const hexEditor = 'ms-vscode.hexeditor';

interface ReadMemoryResponse {
  readonly address: string;
  readonly data?: string;
}

export class MemoryDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changed.event;
  readonly #model: DebugModel;
  readonly #subscriptions: vscode.Disposable[];

  constructor(model: DebugModel) {
    this.#model = model;
    this.#subscriptions = [
      this.#changed,
      vscode.workspace.registerTextDocumentContentProvider(scheme, this),
      model.onDidChange(() => this.#refresh()),
    ];
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  /** Opens the memory that a memory reference of the adapter names; without a vCPU in it, as the focused one sees it. */
  async show(place: string): Promise<void> {
    const { session, vcpu } = this.#model;
    const reference = vcpu === 0 || place.includes('@') ? place : `${place}@${vcpu}`;
    if (session && usesHexEditor()) await openInHexEditor(session, reference);
    else {
      const uri = vscode.Uri.from({ scheme, path: `/${reference.replace(/[:/@]/g, ' ')}`, query: reference });
      await vscode.window.showTextDocument(uri, { preview: true });
    }
  }

  async provideTextDocumentContent({ query: memoryReference }: vscode.Uri): Promise<string> {
    const { session } = this.#model;
    if (!session) return 'The session that this memory belonged to has ended.\n';
    const count = vscode.workspace.getConfiguration('ringside').get('memory.bytes', 512);
    try {
      const answer: ReadMemoryResponse = await session.customRequest('readMemory', { memoryReference, count });
      return hexDump(startOf(answer.address), decoded(answer.data ?? ''), count);
    } catch (error) {
      return `${error instanceof Error ? error.message : String(error)}\n`;
    }
  }

  #refresh(): void {
    const open = vscode.workspace.textDocuments.filter(({ uri }) => uri.scheme === scheme);
    for (const { uri } of open) this.#changed.fire(uri);
  }
}

/** The address in an answer, with or without the name of its address space. */
const startOf = (address: string): bigint => BigInt(/0x[\da-f]+/i.exec(address)?.[0] ?? 0);

const decoded = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

function usesHexEditor(): boolean {
  const viewer = vscode.workspace.getConfiguration('ringside').get<string>('memory.viewer');
  return viewer !== 'text' && vscode.extensions.getExtension(hexEditor) !== undefined;
}

/** VS Code serves the memory of a session as a file; its path holds the reference. */
async function openInHexEditor(session: vscode.DebugSession, reference: string): Promise<void> {
  const path = `/${encodeURIComponent(reference)}/${encodeURIComponent(reference)}.bin`;
  const uri = vscode.Uri.from({ scheme: 'vscode-debug-memory', authority: session.id, path });
  await vscode.commands.executeCommand('vscode.openWith', uri, 'hexEditor.hexedit');
}
