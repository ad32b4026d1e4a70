/** package.json's contributions, held against the code, the samples and each other. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');

interface Menu {
  readonly command: string;
  readonly when?: string;
}
interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly markdownDescription?: string;
}
interface Manifest {
  readonly icon: string;
  readonly contributes: {
    readonly commands: readonly { readonly command: string; readonly icon?: string }[];
    readonly menus: Readonly<Record<string, readonly Menu[]>>;
    readonly views: Readonly<Record<string, readonly { readonly id: string; readonly icon: string }[]>>;
    readonly viewsWelcome: readonly { readonly view: string; readonly contents: string }[];
    readonly keybindings: readonly Menu[];
    readonly debuggers: readonly [{ readonly configurationAttributes: { readonly launch: Schema } }];
    readonly grammars: readonly { readonly path: string }[];
    readonly languages: readonly { readonly configuration?: string }[];
    readonly configuration: { readonly properties: Readonly<Record<string, unknown>> };
    readonly walkthroughs: readonly {
      readonly steps: readonly {
        readonly description: string;
        readonly media: { readonly markdown: string };
        readonly completionEvents: readonly string[];
      }[];
    }[];
  };
}
const manifest: Manifest = JSON.parse(read('package.json'));
const { contributes } = manifest;
const commands = new Set(contributes.commands.map(({ command }) => command));
const views = Object.values(contributes.views).flat();

/** The extension's own sources, without its parts that know no commands. */
const sources = readdirSync(join(root, 'extension'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.startsWith('language-server'))
  .map((name) => read(join('extension', name)))
  .join('\n');

describe('the manifest', () => {
  it('declares every command that the code registers', () => {
    const registered = Array.from(sources.matchAll(/^ {4}'(ringside\.[\w.]+)': /gm), (match) => match[1]);
    expect(registered.length).toBeGreaterThan(10);
    expect(registered.filter((command) => command !== undefined && !commands.has(command))).toEqual([]);
    const declared = [...commands].filter((command) => !command.endsWith('.copyAll'));
    expect(declared.filter((command) => !registered.includes(command))).toEqual([]);
  });

  it('puts no command into a menu, a key or a link that does not exist', () => {
    const used = [...Object.values(contributes.menus).flat(), ...contributes.keybindings].map(({ command }) => command);
    const texts = [
      ...contributes.viewsWelcome.map(({ contents }) => contents),
      ...contributes.walkthroughs.flatMap(({ steps }) => steps.map(({ description }) => description)),
    ];
    const linked = texts.flatMap((text) => Array.from(text.matchAll(/\(command:([\w.]+)\)/g), (match) => match[1]));
    const known = new Set<string | undefined>([...commands, ...views.map(({ id }) => `${id}.focus`)]);
    expect([...used, ...linked].filter((command) => !known.has(command))).toEqual([]);
  });

  it('names files that exist', () => {
    const files = [
      manifest.icon,
      ...views.map(({ icon }) => icon),
      ...contributes.grammars.map(({ path }) => path),
      ...contributes.languages.flatMap(({ configuration }) => configuration ?? []),
      ...contributes.walkthroughs.flatMap(({ steps }) => steps.map(({ media }) => media.markdown)),
    ];
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  it('welcomes in every tree view, and registers each', () => {
    const trees = contributes.views.debug?.map(({ id }) => id) ?? [];
    expect(contributes.viewsWelcome.map(({ view }) => view)).toEqual(trees);
    expect(trees.filter((id) => !sources.includes(`'${id}': () =>`))).toEqual([]);
  });

  it('declares every setting that the code reads', () => {
    const inRingside = sources.matchAll(/getConfiguration\('ringside'\)\s*\.get(?:<[^>]+>)?\(\s*'([\w.]+)'/g);
    const read = Array.from(inRingside, (match) => `ringside.${match[1]}`);
    expect(read.length).toBeGreaterThan(2);
    expect(read.filter((name) => !(name in contributes.configuration.properties))).toEqual([]);
  });
});

/** Whether a value fits a schema, as far as the launch attributes use schemas. */
function complaints(schema: Schema | undefined, value: unknown, path: string): string[] {
  if (!schema) return [`${path} is not in the schema`];
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([name, part]) =>
      complaints(schema.properties?.[name], part, `${path}.${name}`),
    );
  }
  const types = [schema.type ?? []].flat();
  const found = typeof value === 'number' ? 'integer' : typeof value;
  if (!types.includes(found)) return [`${path}: ${found} is none of ${types}`];
  if (schema.enum && !schema.enum.includes(value)) return [`${path}: ${value} is none of ${schema.enum}`];
  const fits = typeof value !== 'string' || !schema.pattern || new RegExp(schema.pattern).test(value);
  return fits ? [] : [`${path}: ${value} does not match ${schema.pattern}`];
}

describe('the schema of launch configurations', () => {
  const { launch } = contributes.debuggers[0].configurationAttributes;
  const general = ['type', 'request', 'name'];

  it('accepts the configurations of all samples', () => {
    const folders = readdirSync(join(root, 'samples')).filter((name) =>
      existsSync(join(root, 'samples', name, 'launch.json')),
    );
    const files = [...folders.map((name) => `samples/${name}/launch.json`), 'samples/.vscode/launch.json'];
    expect(files.length).toBeGreaterThan(6);
    for (const file of files) {
      for (const configuration of JSON.parse(read(file)).configurations) {
        const own = Object.fromEntries(Object.entries(configuration).filter(([name]) => !general.includes(name)));
        expect(complaints(launch, own, dirname(file))).toEqual([]);
      }
    }
  });

  it('has exactly the attributes that the adapter knows, each described', () => {
    const type = read('debug-adapter/protocol/launch.ts');
    const attributes = Array.from(type.matchAll(/^ {2}readonly (\w+)\??:/gm), (match) => match[1]);
    const notForUsers = ['noDebug'];
    expect(Object.keys(launch.properties ?? {}).sort()).toEqual(
      attributes.filter((name) => !notForUsers.includes(name ?? '')).sort(),
    );
    const described = Object.values(launch.properties ?? {}).map(({ markdownDescription }) => markdownDescription);
    expect(described.every((text) => text !== undefined && text.length > 20)).toBe(true);
  });

  it.each([
    ['memory', '64M', true],
    ['memory', '1 GiB', true],
    ['memory', 'lots', false],
    ['loadAddress', '0x7c00', true],
    ['loadAddress', '7C00h', true],
    ['loadAddress', 'zero', false],
    ['virtualization', 'kvm', false],
    ['cpus', '2', false],
  ])('%s: %j is right: %s', (name, value, isRight) => {
    expect(complaints(launch, { [name]: value }, '').length === 0).toBe(isRight);
  });
});
