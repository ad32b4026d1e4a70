/** A view of the Debug side bar: shows the rows that a `View` makes of the session at each stop. */
import * as vscode from 'vscode';
import type { DebugModel } from '../session/debug-model.ts';
import type { Row, View, ViewContent } from './row.ts';

const empty: ViewContent = { rows: [] };

/** After so long the rows are said to be those of the last stop; a step takes less and must not flicker. */
const runningNoticeMs = 400;

export class SessionTree implements vscode.TreeDataProvider<Row>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #model: DebugModel;
  readonly #makeView: () => View;
  readonly #tree: vscode.TreeView<Row>;
  readonly #subscriptions: vscode.Disposable[];
  /** Of the rows that were shown, those they are below. */
  readonly #parents = new WeakMap<Row, Row>();
  #content = empty;
  #sessionId: string | undefined;
  #runningNotice: ReturnType<typeof setTimeout> | undefined;

  constructor(model: DebugModel, id: string, makeView: () => View) {
    this.#model = model;
    this.#makeView = makeView;
    this.#tree = vscode.window.createTreeView(id, { treeDataProvider: this, showCollapseAll: true });
    this.#subscriptions = [
      this.#tree,
      this.#changed,
      model.onDidChange(() => this.refresh()),
      model.onDidResume(() => this.#noticeRunning()),
    ];
  }

  dispose(): void {
    clearTimeout(this.#runningNotice);
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  refresh(): void {
    this.#changed.fire(undefined);
  }

  getTreeItem(row: Row): vscode.TreeItem {
    return treeItem(row);
  }

  /** The rows that are selected. */
  get selection(): readonly Row[] {
    return this.#tree.selection;
  }

  getParent(row: Row): Row | undefined {
    return this.#parents.get(row);
  }

  /** Opens the view and selects the row that ids lead to, from the outermost. */
  async reveal(...ids: readonly string[]): Promise<void> {
    let row: Row | undefined;
    for (const id of ids) {
      const next = (await this.getChildren(row)).find((candidate) => candidate.id === id);
      if (!next) throw new Error(`the view does not show ${id} now`);
      row = next;
    }
    if (row) await this.#tree.reveal(row, { select: true, focus: true, expand: true });
  }

  async getChildren(row?: Row): Promise<Row[]> {
    if (row) {
      const children = [...((await row.children?.()) ?? [])];
      for (const child of children) this.#parents.set(child, row);
      return children;
    }
    this.#content = await this.#read();
    this.#tree.message = this.#content.message ?? '';
    this.#tree.description = this.#content.description ?? '';
    return [...this.#content.rows];
  }

  async #read(): Promise<ViewContent> {
    const { session, isStopped } = this.#model;
    clearTimeout(this.#runningNotice);
    if (!session) return empty;
    const isSame = session.id === this.#sessionId;
    this.#sessionId = session.id;
    if (!isStopped) return isSame ? this.#content : { rows: [], message: 'The guest runs. Pause it to look inside.' };
    try {
      return await this.#makeView()((command, question) => this.#model.ask(command, question));
    } catch (error) {
      return { rows: [], message: error instanceof Error ? error.message : String(error) };
    }
  }

  /** The rows as text, one a line, those below indented by a tab. */
  async text(): Promise<string> {
    return textOf(await this.getChildren(), 0);
  }

  /** Says, if the guest goes on running, that the rows are old. */
  #noticeRunning(): void {
    clearTimeout(this.#runningNotice);
    this.#runningNotice = setTimeout(() => {
      if (this.#model.session && !this.#model.isStopped) this.#tree.message = 'The guest runs; this was the last stop.';
    }, runningNoticeMs);
  }
}

/** Levels that are copied: groups, rows, and what they consist of. Page tables are copied as far as their first level. */
const copiedLevels = 2;

async function textOf(rows: readonly Row[], level: number): Promise<string> {
  const lines: string[] = [];
  for (const row of rows) {
    lines.push(`${'\t'.repeat(level)}${[row.label, row.description ?? ''].join('\t').trimEnd()}\n`);
    if (row.children && level + 1 < copiedLevels) lines.push(await textOf(await row.children(), level + 1));
  }
  return lines.join('');
}

function treeItem(row: Row): vscode.TreeItem {
  const item = new vscode.TreeItem(row.label, collapsibleState(row));
  item.id = row.id;
  item.contextValue = capabilities(row).join(' ');
  item.accessibilityInformation = { label: row.spoken ?? [row.label, row.description ?? ''].join(' ').trim() };
  if (row.description !== undefined) item.description = row.description;
  if (row.click !== undefined) item.command = { command: row.click, title: 'Show', arguments: [row] };
  if (row.icon !== undefined) item.iconPath = themeIcon(row.icon, row.color);
  item.tooltip = row.tooltip === undefined ? row.description : new vscode.MarkdownString(row.tooltip);
  return item;
}

function themeIcon(icon: string, color: string | undefined): vscode.ThemeIcon {
  return color === undefined ? new vscode.ThemeIcon(icon) : new vscode.ThemeIcon(icon, new vscode.ThemeColor(color));
}

function collapsibleState({ children, expanded }: Row): vscode.TreeItemCollapsibleState {
  if (!children) return vscode.TreeItemCollapsibleState.None;
  return expanded ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.Collapsed;
}

/** What can be done with a row; the `when` clauses of the commands look for these words. */
function capabilities({ value, memory, translate, field, source, exit, vmcs, reveals, watch }: Row): string[] {
  return [
    ...(value === undefined ? [] : ['value']),
    ...(memory === undefined ? [] : ['memory']),
    ...(translate === undefined ? [] : ['translate']),
    ...(watch === undefined ? [] : ['watch']),
    ...(field === undefined ? [] : ['field']),
    ...(source === undefined ? [] : ['source']),
    ...(exit === undefined ? [] : ['exit']),
    ...(vmcs === undefined ? [] : ['vmcs']),
    ...(reveals === undefined ? [] : ['reveals']),
  ];
}
