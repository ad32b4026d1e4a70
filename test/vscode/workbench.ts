import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FrameLocator, Locator, Page } from 'playwright-core';

const screenshots = fileURLToPath(new URL('../../out/screenshots/', import.meta.url));

export interface VariableRow {
  name: string;
  value: string;
}

/** After so long a click into the gutter counts as lost, and an answer is not expected any more. */
const CLICK_MS = 6_000;

/** Names of the debug toolbar's buttons, as their icons are called. */
export type ToolbarButton =
  | 'continue'
  | 'pause'
  | 'step-over'
  | 'step-into'
  | 'step-out'
  | 'step-back'
  | 'reverse-continue'
  | 'restart'
  | 'stop';

const oneLine = (text: string) => text.replace(/\s+/g, ' ').trim();

/** Text as a CSS string. */
const quoted = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;

/**
 * A VS Code window under test. Every method waits for what it is about, by text or selector; a failure leaves a
 * timeout error that names the selector.
 */
export class Workbench {
  readonly page: Page;
  /** The opened copy of the workspace, a folder on disk. */
  readonly workspace: string;
  readonly close: () => Promise<void>;

  constructor(page: Page, workspace: string, close: () => Promise<void>) {
    this.page = page;
    this.workspace = workspace;
    this.close = close;
  }

  /** Waits until the window is drawn and the workspace is in the explorer. */
  async ready(): Promise<void> {
    await this.page.locator('.monaco-workbench .part.statusbar').waitFor({ timeout: 60_000 });
    await this.page.locator('.explorer-folders-view .monaco-list-row').first().waitFor({ timeout: 60_000 });
  }

  /** Keeps a picture in out/screenshots/NAME.png. */
  async screenshot(name: string): Promise<string> {
    await mkdir(screenshots, { recursive: true });
    const path = join(screenshots, `${name}.png`);
    await this.page.screenshot({ path });
    return path;
  }

  // Commands, files, breakpoints

  /** Types into the quick-input box, with its prefix, and takes the first row that contains `row`. */
  private async quickPick(
    shortcut: string,
    text: string,
    row: string,
    options: { timeout?: number } = {},
  ): Promise<void> {
    await this.page.keyboard.press(shortcut);
    await this.page.locator('.quick-input-widget input').first().fill(text);
    await this.page.locator('.quick-input-list .monaco-list-row', { hasText: row }).first().click(options);
  }

  /** Runs a command from the palette by its title, "Category: Title" if it has a category. */
  async runCommand(title: string): Promise<void> {
    await this.quickPick('F1', `>${title}`, title);
  }

  /** Opens a file by its path in the workspace, by way of the explorer. */
  async openFile(path: string): Promise<void> {
    await this.runCommand('View: Show Explorer');
    const parts = path.split('/');
    const name = parts[parts.length - 1] ?? path;
    for (const [depth, part] of parts.entries()) await this.clickExplorerRow(part, depth + 1, parts[depth + 1]);
    await this.page.locator(`.tab.active[data-resource-name=${quoted(name)}]`).waitFor();
    await this.page.locator('.editor-instance .view-lines .view-line').first().waitFor();
  }

  private explorerRow(name: string, level: number): Locator {
    return this.page.locator(
      `.explorer-folders-view .monaco-list-row[aria-level="${level}"][aria-label=${quoted(name)}]`,
    );
  }

  private async clickExplorerRow(name: string, level: number, child: string | undefined): Promise<void> {
    const row = this.explorerRow(name, level).first();
    await row.waitFor();
    if ((await row.getAttribute('aria-expanded')) === 'true') return;
    await row.click();
    if (child !== undefined)
      await this.explorerRow(child, level + 1)
        .first()
        .waitFor();
  }

  /** Scrolls the active editor to `line` and puts the cursor there. */
  async goToLine(line: number): Promise<void> {
    await this.quickPick('Control+g', `:${line}`, '');
    await this.lineNumber(line).waitFor();
  }

  private lineNumber(line: number): Locator {
    return this.page.locator(`.editor-group-container.active .line-numbers:text-is("${line}")`).first();
  }

  /** Sets a breakpoint in the active editor as a person does: by a click into the gutter. */
  async setBreakpoint(line: number): Promise<void> {
    await this.goToLine(line);
    const number = await this.lineNumber(line).boundingBox();
    const margin = await this.page.locator('.editor-group-container.active .margin').first().boundingBox();
    if (number === null || margin === null) throw new Error(`line ${line} is not on the screen`);
    const [x, y] = [margin.x + 9, number.y + number.height / 2];
    const dots = this.page.locator('.editor-group-container.active [class*="codicon-debug-breakpoint"]');
    const before = await dots.count();
    // While the window is still starting, moves and clicks into the gutter can be lost.
    await persistently(async () => {
      await this.#clickAtHint(x, y);
      await dots.nth(before).waitFor({ timeout: CLICK_MS });
    });
    await this.page.mouse.move(x + 400, y);
  }

  /** A click before the hint shows is lost. */
  async #clickAtHint(x: number, y: number): Promise<void> {
    await this.page.mouse.move(x + 400, y);
    await this.page.mouse.move(x, y);
    await this.page.locator('.codicon-debug-hint').first().waitFor({ timeout: CLICK_MS });
    await this.page.mouse.click(x, y);
  }

  // Debugging

  /** Starts the launch configuration `name`; without one presses F5. */
  async startDebugging(name?: string): Promise<void> {
    if (name === undefined) await this.page.keyboard.press('F5');
    else await this.#pickConfiguration(name);
    await this.page.locator('.debug-toolbar').waitFor();
  }

  /** While the extension host is starting, no configuration is offered, and none comes while the box is open. */
  async #pickConfiguration(name: string): Promise<void> {
    await persistently(
      () => this.quickPick('Control+p', `debug ${name}`, name, { timeout: CLICK_MS }),
      () => this.page.keyboard.press('Escape'),
    );
  }

  /** Waits until the program is stopped at `line` of the active editor, or at any line. Returns the line. */
  async waitForStoppedLine(line?: number): Promise<number> {
    const stopped = await this.page.waitForFunction((expected) => {
      const marker = document.querySelector('.editor-instance .debug-top-stack-frame-line');
      if (marker === null) return undefined;
      const { top } = marker.getBoundingClientRect();
      const numbers = Array.from(document.querySelectorAll('.editor-instance .line-numbers'));
      const at = numbers.find((number) => Math.abs(number.getBoundingClientRect().top - top) < 4);
      const found = Number(at?.textContent ?? Number.NaN);
      return Number.isNaN(found) || (expected !== undefined && expected !== found) ? undefined : found;
    }, line);
    return Number(await stopped.jsonValue());
  }

  /** Clicks a button of the debug toolbar once it is enabled. */
  async clickToolbar(button: ToolbarButton): Promise<void> {
    await this.page.locator(`.debug-toolbar .action-item:not(.disabled) .codicon-debug-${button}`).first().click();
  }

  /** Waits until no session runs. */
  async waitForSessionEnd(): Promise<void> {
    await this.page.locator('.debug-toolbar').waitFor({ state: 'hidden' });
  }

  /** Shows the Run and Debug side bar. */
  async showDebugViews(): Promise<void> {
    await this.runCommand('View: Show Run and Debug');
    await this.page.locator('.debug-viewlet').waitFor();
  }

  /** A row of the Variables view: a scope, or a variable of exactly this name. */
  private variableRow(name: string): Locator {
    const exactly = new RegExp(`^${escaped(name)}\\s*[:=]?\\s*$`);
    return this.page
      .locator('.debug-viewlet .debug-variables .monaco-list-row')
      .filter({ has: this.page.locator('.name, .scope', { hasText: exactly }) })
      .first();
  }

  /** The variables that are on the screen, in their order; scopes are not among them. */
  async variables(): Promise<VariableRow[]> {
    const rows = this.page.locator('.debug-viewlet .debug-variables .monaco-list-row:has(.expression .value)');
    await rows.first().waitFor();
    return rows.evaluateAll((elements) =>
      elements.map((element) => ({
        name: (element.querySelector('.name')?.textContent ?? '').replace(/\s*[:=]?\s*$/, ''),
        value: element.querySelector('.value')?.textContent ?? '',
      })),
    );
  }

  /** Waits until the variable `name` shows `value` (a text it contains, or a pattern). */
  async waitForVariable(name: string, value: string | RegExp): Promise<void> {
    await this.variableRow(name).locator('.value', { hasText: value }).first().waitFor();
  }

  /** Expands a scope or a variable that has members. */
  async expandVariable(name: string): Promise<void> {
    const row = this.variableRow(name);
    await row.waitFor();
    if ((await row.getAttribute('aria-expanded')) === 'false') await row.locator('.monaco-tl-twistie').click();
  }

  /** The stack frames, innermost first, each as "name file line". */
  async callStack(): Promise<string[]> {
    const rows = this.page.locator('.debug-call-stack .monaco-list-row:has(.stack-frame)');
    await rows.first().waitFor();
    return (await rows.allInnerTexts()).map(oneLine);
  }

  /** Types into the debug console and returns the answer. */
  async evaluate(expression: string): Promise<string> {
    const results = this.page.locator('.repl .monaco-list-row:has(.evaluation-result)');
    await this.runCommand('Debug Console: Focus on Debug Console View');
    const before = await results.count();
    await this.page.locator('.repl-input-wrapper .native-edit-context, .repl-input-wrapper textarea').first().focus();
    await this.page.keyboard.insertText(expression);
    await this.page.keyboard.press('Enter');
    const answer = results.nth(before);
    await answer.waitFor();
    return textOf(answer);
  }

  /** Opens the Disassembly view and returns its rows. */
  async disassembly(): Promise<string[]> {
    await this.runCommand('Open Disassembly View');
    const rows = this.page.locator('.disassembly-view .monaco-list-row', { hasNotText: 'Disassembly not available' });
    await rows.locator('.instruction', { hasText: /\S/ }).first().waitFor();
    return (await rows.allInnerTexts()).map(oneLine);
  }

  /** Checks an exception filter in the Breakpoints view. */
  async checkFilter(name: string): Promise<void> {
    const row = this.page.locator('.debug-breakpoints .monaco-list-row', { hasText: name }).first();
    await row.locator('[role=checkbox], .monaco-custom-toggle, input').first().click();
  }

  /** Waits until the widget below the stopped line says what happened. */
  async waitForExplanation(text: string | RegExp): Promise<void> {
    await this.page.locator('.exception-widget', { hasText: text }).first().waitFor();
  }

  // The extension's own views

  private viewHeader(title: string): Locator {
    return this.page.locator(`.pane-header[aria-label^=${quoted(title)}]`).first();
  }

  private view(title: string): Locator {
    return this.page.locator(`.pane:has(.pane-header[aria-label^=${quoted(title)}])`).first();
  }

  /** Opens a view of the side bar, if it is collapsed, and brings it on the screen. */
  async expandView(title: string): Promise<void> {
    const header = this.viewHeader(title);
    await header.waitFor();
    await header.scrollIntoViewIfNeeded();
    if ((await header.getAttribute('aria-expanded')) === 'false') await header.click();
    await this.page.locator(`.pane-header[aria-label^=${quoted(title)}][aria-expanded="true"]`).waitFor();
  }

  /** Folds a view, to make room for another. */
  async collapseView(title: string): Promise<void> {
    const header = this.viewHeader(title);
    await header.waitFor();
    if ((await header.getAttribute('aria-expanded')) === 'true') await header.click();
  }

  /** The rows of a view that are on the screen, label and description on one line each. */
  async viewRows(title: string): Promise<string[]> {
    await this.expandView(title);
    const rows = this.view(title).locator('.monaco-list-row');
    await rows.first().waitFor();
    return (await rows.allInnerTexts()).map(oneLine);
  }

  /** Waits for a row of a view that contains `text`. */
  async waitForViewRow(title: string, text: string | RegExp): Promise<string> {
    await this.expandView(title);
    const row = this.view(title).locator('.monaco-list-row', { hasText: text }).first();
    await row.waitFor();
    return textOf(row);
  }

  /** Expands the first row of a view that contains `text`. */
  async expandViewRow(title: string, text: string | RegExp): Promise<void> {
    await this.expandView(title);
    const row = this.view(title).locator('.monaco-list-row', { hasText: text }).first();
    await row.waitFor();
    if ((await row.getAttribute('aria-expanded')) === 'false') await row.locator('.monaco-tl-twistie').click();
  }

  /** The document inside the webview that is open; with several, the one of index `index`. */
  async webview(index = 0): Promise<FrameLocator> {
    const outer = this.page.locator('iframe.webview.ready').nth(index);
    await outer.waitFor();
    return outer.contentFrame().frameLocator('iframe#active-frame');
  }

  /** The texts of the notifications on the screen. */
  async notifications(): Promise<string[]> {
    return (await this.page.locator('.notifications-toasts .notification-list-item-message').allInnerTexts()).map(
      oneLine,
    );
  }
}

/** Up to five attempts; throws what ended the last. `recover` comes between two. */
async function persistently(attempt: () => Promise<void>, recover = async (): Promise<void> => {}): Promise<void> {
  for (let attempts = 5; ; attempts--) {
    try {
      return await attempt();
    } catch (error) {
      if (attempts === 1) throw error;
      await recover();
    }
  }
}

/** What is drawn of one element, words kept apart as they are on the screen. */
async function textOf(element: Locator): Promise<string> {
  return oneLine((await element.allInnerTexts()).join(' '));
}

/** `text` as a piece of a regular expression. */
function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
