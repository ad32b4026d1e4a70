/**
 * Sources as they belong together: a unit is a root source with all that it includes. Parses are cached by file,
 * assemblies by unit, both by what the files contain.
 */
import { type AssembledProgram, assemble, type ParsedSource, parse } from '../../debug-adapter/assembler/index.ts';
import { candidatePaths } from '../../debug-adapter/assembler/paths.ts';
import { type Files, uriOfFile } from './files.ts';

/** A root source with all that it includes, at one moment. */
export interface Unit {
  readonly root: string;
  /** The root first. Keys are URIs, which are also the file names in the parses. */
  readonly sources: ReadonlyMap<string, ParsedSource>;
  readonly text: (uri: string) => string;
  /** Assembles the unit, or returns what is known since it last changed. */
  readonly program: () => Promise<AssembledProgram>;
}

/** What can be told of a text without parsing it. */
interface Outline {
  readonly version: string;
  readonly includes: readonly string[];
  readonly binaries: readonly string[];
  readonly macros: readonly string[];
}

interface CachedParse {
  readonly key: string;
  readonly source: ParsedSource;
}

interface CachedProgram {
  readonly key: string;
  readonly program: AssembledProgram;
}

/** Files that a macro builds the name of are found only by assembling; more rounds than this find nothing new. */
const MAXIMUM_ROUNDS = 8;
const MAXIMUM_FILES = 500;

export class Workspace {
  readonly files: Files;
  readonly #outlines = new Map<string, Outline>();
  readonly #parses = new Map<string, CachedParse>();
  readonly #programs = new Map<string, CachedProgram>();

  constructor(files: Files) {
    this.files = files;
  }

  /** Drops what is cached for a source that was closed. */
  forget(uri: string): void {
    for (const cache of [this.#outlines, this.#parses, this.#programs]) cache.delete(uri);
  }

  /** The unit that a source is best understood in: an open one that includes it, else its own. */
  async unitOf(uri: string): Promise<Unit | undefined> {
    const [first] = await this.unitsWith(uri);
    return first;
  }

  /** The units of all open sources that the file belongs to; its own last, and only if no other includes it. */
  async unitsWith(uri: string): Promise<Unit[]> {
    const units: Unit[] = [];
    for (const document of this.files.documents.all()) {
      if (document.uri === uri) continue;
      const members = await this.#members(document.uri);
      if (members.includes(uri)) units.push(this.#unit(document.uri, members));
    }
    if (units.length > 0) return units;
    const members = await this.#members(uri);
    return members.length > 0 ? [this.#unit(uri, members)] : [];
  }

  async unitWithRoot(uri: string): Promise<Unit | undefined> {
    const members = await this.#members(uri);
    return members.length > 0 ? this.#unit(uri, members) : undefined;
  }

  /** URIs of the root and of all sources it includes, loaded; empty if the root is not there. */
  async #members(root: string): Promise<string[]> {
    const members: string[] = [];
    const queue = [root];
    for (let uri = queue.shift(); uri !== undefined && members.length < MAXIMUM_FILES; uri = queue.shift()) {
      if (members.includes(uri)) continue;
      const outline = this.#outline(uri);
      if (!outline) continue;
      members.push(uri);
      for (const path of outline.includes) {
        const found = await this.resolve(path, uri);
        if (found !== undefined) queue.push(found);
      }
      for (const path of outline.binaries) await this.resolve(path, uri);
    }
    return members;
  }

  /** The URI of a file that a source names, loaded; undefined if there is none. */
  async resolve(path: string, from: string): Promise<string | undefined> {
    for (const candidate of candidatePaths(path, from)) {
      const uri = uriOfFile(candidate);
      if (uri === undefined) continue;
      await this.files.load(uri);
      if (this.files.contents(uri) !== undefined) return uri;
    }
    return undefined;
  }

  #outline(uri: string): Outline | undefined {
    const file = this.files.text(uri);
    if (!file) return undefined;
    let outline = this.#outlines.get(uri);
    if (outline?.version !== file.version) this.#outlines.set(uri, (outline = outlineOf(file.text, file.version)));
    return outline;
  }

  #unit(root: string, members: readonly string[]): Unit {
    const macros = [...new Set(members.flatMap((uri) => this.#outline(uri)?.macros ?? []))];
    const sources = new Map(members.map((uri) => [uri, this.#parse(uri, macros)]));
    return {
      root,
      sources,
      text: (uri) => this.files.text(uri)?.text ?? '',
      program: () => this.#program(root, members),
    };
  }

  #parse(uri: string, macros: readonly string[]): ParsedSource {
    const file = this.files.text(uri);
    const key = `${file?.version} ${macros.join(' ')}`;
    let cached = this.#parses.get(uri);
    if (cached?.key !== key) {
      this.#parses.set(uri, (cached = { key, source: parse(uri, file?.text ?? '', { macros }) }));
    }
    return cached.source;
  }

  async #program(root: string, members: readonly string[]): Promise<AssembledProgram> {
    const key = members.map((uri) => `${uri} ${this.files.version(uri)}`).join('\n');
    const cached = this.#programs.get(root);
    if (cached?.key === key) return cached.program;
    const program = await this.#assemble(root);
    this.#programs.set(root, { key, program });
    return program;
  }

  async #assemble(path: string): Promise<AssembledProgram> {
    for (let round = 1; ; round++) {
      const wanted = new Set<string>();
      const program = assemble(
        { path, text: this.files.text(path)?.text ?? '' },
        { readFile: (file) => this.#contentsFor(file, wanted) },
      );
      if (wanted.size === 0 || round === MAXIMUM_ROUNDS) return program;
      for (const uri of wanted) await this.files.load(uri);
    }
  }

  #contentsFor(file: string, wanted: Set<string>): Uint8Array | string | undefined {
    const uri = uriOfFile(file);
    if (uri === undefined) return undefined;
    if (!this.files.isLoaded(uri)) wanted.add(uri);
    return this.files.contents(uri);
  }
}

function outlineOf(text: string, version: string): Outline {
  const all = (pattern: RegExp): string[] => Array.from(text.matchAll(pattern), (match) => match[1] ?? '');
  const quoted = (directive: string): string[] =>
    ['"', "'", '`'].flatMap((quote) =>
      all(new RegExp(`^[^;\\n]*${directive}[ \\t]+${quote}([^${quote}\\n]*)${quote}`, 'gimu')),
    );
  return {
    version,
    includes: quoted('%include'),
    binaries: quoted('\\bincbin'),
    macros: all(/^[ \t]*%i?macro[ \t]+([^\s,]+)/gimu),
  };
}
