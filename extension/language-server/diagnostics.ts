/** Checks sources as they change and publishes what is wrong, each message with the file and place it is about. */
import { DiagnosticSeverity, type Diagnostic as LspDiagnostic } from 'vscode-languageserver';
import type { AssembledProgram, Diagnostic } from '../../debug-adapter/assembler/index.ts';
import { uriOfFile } from './files.ts';
import type { Unit, Workspace } from './workspace.ts';

/** How the host lets time pass. */
export interface Clock {
  /** Milliseconds since some moment. */
  now(): number;
  /** Calls back after what is already waiting to be handled. */
  afterPending(callback: () => void): void;
  /** Calls back after at least so many milliseconds. */
  after(milliseconds: number, callback: () => void): void;
}

export interface Publisher {
  publish(uri: string, diagnostics: readonly LspDiagnostic[]): void;
  /** A check failed by a fault of the assembler itself. */
  failed(uri: string, problem: unknown): void;
}

/** A check that takes longer (ms) waits for a pause in the typing; a shorter one only for the messages at hand. */
const SHORT_CHECK = 100;
const LONGEST_PAUSE = 1500;
/** The connection handles one message a turn and asks for the next one only then: behind it comes the second turn. */
const QUIET_TURNS = 2;

export class Checker {
  readonly #workspace: Workspace;
  readonly #clock: Clock;
  readonly #publisher: Publisher;
  /** Roots with something published: the files, and what was said of each. */
  readonly #published = new Map<string, ReadonlyMap<string, readonly LspDiagnostic[]>>();
  #changes = 0;
  #scheduled = false;
  #lastCheck = 0;

  constructor(workspace: Workspace, clock: Clock, publisher: Publisher) {
    this.#workspace = workspace;
    this.#clock = clock;
    this.#publisher = publisher;
  }

  /** Something has changed that diagnostics depend on. */
  changed(): void {
    this.#changes++;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule();
  }

  /** Waits until nothing more changes, then checks. */
  #schedule(turns = QUIET_TURNS): void {
    const seen = this.#changes;
    const next = (): void => {
      if (this.#changes !== seen) this.#schedule();
      else if (turns > 1) this.#schedule(turns - 1);
      else void this.#check(seen);
    };
    if (this.#lastCheck <= SHORT_CHECK || turns < QUIET_TURNS) this.#clock.afterPending(next);
    else this.#clock.after(Math.min(this.#lastCheck, LONGEST_PAUSE), next);
  }

  async #check(seen: number): Promise<void> {
    const started = this.#clock.now();
    await this.checkAll(() => this.#changes === seen);
    this.#lastCheck = this.#clock.now() - started;
    if (this.#changes === seen) this.#scheduled = false;
    else this.#schedule();
  }

  /** Checks all open sources that no other open one includes, for as long as `wanted` says so. */
  async checkAll(wanted: () => boolean = () => true): Promise<void> {
    const roots = new Map<string, Unit>();
    for (const { uri } of this.#workspace.files.documents.all()) {
      const unit = await this.#workspace.unitOf(uri);
      if (unit) roots.set(unit.root, unit);
    }
    for (const root of this.#published.keys()) if (!roots.has(root)) this.#replace(root, new Map());
    for (const [root, unit] of roots) {
      if (!wanted()) return;
      try {
        const found = await diagnosticsOf(unit);
        if (wanted()) this.#replace(root, found);
      } catch (problem) {
        this.#publisher.failed(root, problem);
      }
    }
  }

  /** Publishes what is now known of a root's files, and takes back what no longer holds. */
  #replace(root: string, found: ReadonlyMap<string, readonly LspDiagnostic[]>): void {
    const before = this.#published.get(root);
    if (found.size === 0) this.#published.delete(root);
    else this.#published.set(root, found);
    for (const uri of new Set([...(before?.keys() ?? []), ...found.keys()])) {
      const all = [...this.#published.values()].flatMap((files) => files.get(uri) ?? []);
      this.#publisher.publish(uri, withoutRepetitions(all));
    }
  }
}

/** A file that two roots include is checked twice. */
function withoutRepetitions(diagnostics: readonly LspDiagnostic[]): LspDiagnostic[] {
  return [...new Map(diagnostics.map((one) => [JSON.stringify(one), one])).values()];
}

/** By URI; files of the unit that nothing is wrong with have an empty list. */
export async function diagnosticsOf(unit: Unit): Promise<Map<string, LspDiagnostic[]>> {
  const found = new Map<string, LspDiagnostic[]>([...unit.sources.keys()].map((uri) => [uri, []]));
  for (const one of await messagesOf(unit)) {
    const uri = uriOfFile(one.file) ?? unit.root;
    const list = found.get(uri) ?? [];
    list.push(toLsp(one));
    found.set(uri, list);
  }
  return found;
}

async function messagesOf(unit: Unit): Promise<readonly Diagnostic[]> {
  // A part of a program cannot be assembled alone: what it uses is defined elsewhere.
  if (isPart(unit.root)) return unit.sources.get(unit.root)?.diagnostics ?? [];
  const { diagnostics }: AssembledProgram = await unit.program();
  return diagnostics;
}

const isPart = (uri: string): boolean => /\.(?:inc|mac|ash|asi)$/iu.test(uri);

function toLsp({ severity, message, line, column, endColumn }: Diagnostic): LspDiagnostic {
  return {
    range: { start: { line: line - 1, character: column - 1 }, end: { line: line - 1, character: endColumn - 1 } },
    severity: severity === 'error' ? DiagnosticSeverity.Error : DiagnosticSeverity.Warning,
    source: 'ringside',
    message,
  };
}
