/** The commands of the palette, the views' menus and the editors' menus. */
import * as vscode from 'vscode';
import { debugConfigurationFor } from './debug/configuration-provider.ts';
import type { MemoryDocuments } from './memory/memory-documents.ts';
import { openSample } from './samples.ts';
import type { DebugModel } from './session/debug-model.ts';
import type { TranslationPanel } from './translation/translation-panel.ts';
import type { ExitFilter } from './views/exit-filter.ts';
import type { Row } from './views/row.ts';
import type { SessionTree } from './views/session-tree.ts';
import type { VmcsChoice } from './views/vmcs-choice.ts';

export interface CommandServices {
  readonly extension: vscode.Uri;
  readonly model: DebugModel;
  readonly memory: MemoryDocuments;
  readonly translation: TranslationPanel;
  readonly trees: Readonly<Record<string, SessionTree>>;
  readonly exitFilter: ExitFilter;
  readonly vmcsChoice: VmcsChoice;
}

export function registerCommands(services: CommandServices): vscode.Disposable[] {
  const { extension, model, memory, translation, trees, exitFilter, vmcsChoice } = services;
  const commands = {
    'ringside.debugFile': (program?: vscode.Uri) => debugFile(program),
    'ringside.openSample': () => openSample(extension),
    'ringside.copyValue': (row: Row) => copy(row.value),
    'ringside.copyRow': (row: Row) => copy([row.label, row.description ?? ''].join('\t').trim()),
    'ringside.showRowMemory': (row: Row) => row.memory !== undefined && memory.show(row.memory),
    'ringside.translateRow': (row: Row) => row.translate !== undefined && translation.translate(row.translate),
    'ringside.editVmcsField': (row: Row) => editVmcsField(model, row),
    'ringside.openRowSource': (row: Row) => openSource(row),
    'ringside.goToExit': (row: Row) => goToExit(model, row),
    'ringside.exits.filter': () => exitFilter.pick(),
    'ringside.exits.showAll': () => exitFilter.show([]),
    'ringside.breakOnWrite': (row?: Row) => breakOn('write', row),
    'ringside.breakOnRead': (row?: Row) => breakOn('read', row),
    'ringside.breakOnAccess': (row?: Row) => breakOn('access', row),
    'ringside.showMemory': (expression?: unknown) => showMemory(services, expression),
    'ringside.translateAddress': (expression?: unknown) => translateAddress(translation, expression),
    'ringside.sendInput': () => sendInput(model),
    'ringside.refreshViews': () => model.refresh(),
    'ringside.checkVmEntry': () => checkVmEntry(services),
    'ringside.vmcs.showField': (row: Row) => showField(services, row.reveals),
    'ringside.vmcs.show': (row: Row) => vmcsChoice.show(row.vmcs),
    'ringside.vmcs.showCurrent': () => vmcsChoice.show(),
    'ringside.vmcs.compare': () => vmcsChoice.compare(),
    'ringside.vmcs.compareWithExit': (row: Row) => vmcsChoice.since(row.exit),
    'ringside.vmcs.stopComparing': () => vmcsChoice.since(),
    'ringside.vmcs.hideZeroFields': () => setHideZeroFields(true),
    'ringside.vmcs.showZeroFields': () => setHideZeroFields(false),
    ...copyAllCommands(trees),
  };
  // Each takes what its menu passes; those of the palette are passed nothing.
  return Object.entries(commands).map(([id, run]) => register(id, run as (...args: unknown[]) => unknown));
}

/** What a command throws is shown. */
function register(id: string, run: (...args: unknown[]) => unknown): vscode.Disposable {
  return vscode.commands.registerCommand(id, async (...args: unknown[]) => {
    try {
      await run(...args);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await vscode.window.showErrorMessage(`Ringside: ${message}`);
    }
  });
}

async function debugFile(program = vscode.window.activeTextEditor?.document.uri): Promise<void> {
  if (!program) throw new Error('expected an open guest program to debug; open an .asm, .elf or .bin file');
  const folder = vscode.workspace.getWorkspaceFolder(program);
  await vscode.debug.startDebugging(folder, await debugConfigurationFor(program));
}

async function copy(text: string | undefined): Promise<void> {
  if (text !== undefined) await vscode.env.clipboard.writeText(text);
}

async function editVmcsField(model: DebugModel, { field, label, value }: Row): Promise<void> {
  if (field === undefined) return;
  const prompt = `New value of ${label}: a number or an expression`;
  const typed = await vscode.window.showInputBox({ title: 'Edit VMCS Field', prompt, value: value ?? '' });
  if (typed === undefined || typed.trim() === '' || typed === value) return;
  await model.request('ringside/setVmcsField', { field, value: typed.trim() });
  model.refresh();
}

/** Lists the rules that a VM entry would break now; one that is picked leads to its field. */
async function checkVmEntry(services: CommandServices): Promise<void> {
  const { instruction, outcome, violated } = await services.model.request('ringside/checkVmEntry', {});
  if (violated.length === 0) {
    await vscode.window.showInformationMessage(`${instruction} now: ${outcome}`);
    return;
  }
  const items = violated.map(({ fields, text, manual, section }) => ({
    label: fields.map(({ name, value }) => `${name} = ${value}`).join(', '),
    description: `${manual}, “${section}”`,
    detail: text,
    field: fields[0],
  }));
  const options = { title: `${instruction} now: ${outcome}`, placeHolder: 'Broken rules; pick one to see its field' };
  const picked = await vscode.window.showQuickPick(items, { ...options, matchOnDetail: true });
  await showField(services, picked?.field);
}

/** Selects a field of the current VMCS in the view. */
async function showField({ trees, vmcsChoice }: CommandServices, field: Row['reveals']): Promise<void> {
  if (field === undefined) return;
  if (vmcsChoice.shown.address !== undefined) vmcsChoice.show();
  await trees['ringside.vmcs']?.reveal(field.group, `${field.group}/${field.name}`);
}

/** In the browser, sources have URIs for paths. */
const uriOf = (path: string): vscode.Uri =>
  /^[a-z][\w+.-]+:\/\//i.test(path) ? vscode.Uri.parse(path) : vscode.Uri.file(path);

async function openSource({ source }: Row): Promise<void> {
  if (source === undefined) return;
  const document = await vscode.workspace.openTextDocument(uriOf(source.path));
  const { range } = document.lineAt(Math.min(source.line, document.lineCount) - 1);
  await vscode.window.showTextDocument(document, { selection: range, preview: true });
}

async function goToExit(model: DebugModel, { exit }: Row): Promise<void> {
  if (exit !== undefined) await model.request('ringside/goToExit', { number: exit });
}

/**
 * VS Code lets extensions add no data breakpoints; the adapter takes a function breakpoint `write cr3` for one. So it is
 * in the Breakpoints view, where it can be given a condition and taken away.
 */
async function breakOn(access: 'write' | 'read' | 'access', row: Row | undefined): Promise<void> {
  const prompt = 'cr3, IA32_EFER, msr:0x10, vmcs.guest_rip, port:0x3F8, pte:0x400000, gpa:0x1000, counter';
  const title = 'Break on Data';
  const data = row?.watch ?? (await vscode.window.showInputBox({ title, prompt, value: suggestion() }))?.trim();
  if (data) vscode.debug.addBreakpoints([new vscode.FunctionBreakpoint(`${access} ${data}`)]);
}

/** Text that is selected, or the word at the cursor: what a question is most likely about. */
function suggestion(): string {
  const editor = vscode.window.activeTextEditor;
  if (!editor) return '';
  const { selection, document } = editor;
  const range = selection.isEmpty ? document.getWordRangeAtPosition(selection.active) : selection;
  return range?.isSingleLine ? document.getText(range) : '';
}

async function askForExpression(title: string, given: unknown): Promise<string | undefined> {
  if (typeof given === 'string') return given;
  const prompt = 'A linear address or an expression: 0x7c00, rsp + 8, message';
  const typed = await vscode.window.showInputBox({ title, prompt, value: suggestion() });
  return typed?.trim() || undefined;
}

async function translateAddress(translation: TranslationPanel, given: unknown): Promise<void> {
  const expression = await askForExpression('Translate Address', given);
  if (expression !== undefined) await translation.translate(expression);
}

async function showMemory({ model, memory }: CommandServices, given: unknown): Promise<void> {
  const expression = await askForExpression('Show Memory', given);
  if (expression === undefined) return;
  if (/^(?:(?:linear|gpa|hpa):)?0x[\da-f]+(?:@\d+)?$/i.test(expression)) return memory.show(expression);
  const answer = await model.request('ringside/translate', { expression, ...frameOf(model) });
  await memory.show(answer.memoryReferences.linear);
}

const frameOf = ({ frameId }: DebugModel) => (frameId === undefined ? {} : { frameId });

async function sendInput(model: DebugModel): Promise<void> {
  const prompt = 'Text for the guest’s serial port; a line feed is added';
  const text = await vscode.window.showInputBox({ title: 'Send Text to the Guest', prompt });
  if (text !== undefined) await model.request('ringside/input', { source: 'serial', text: `${text}\n` });
}

/** A command for each view: VS Code does not tell a command of a view's title which view that is. */
function copyAllCommands(trees: CommandServices['trees']): Record<string, () => Promise<void>> {
  return Object.fromEntries(
    Object.entries(trees).map(([id, tree]) => [`${id}.copyAll`, async () => copy(await tree.text())]),
  );
}

async function setHideZeroFields(hide: boolean): Promise<void> {
  const settings = vscode.workspace.getConfiguration('ringside');
  await settings.update('vmcs.hideZeroFields', hide, vscode.ConfigurationTarget.Global);
}
