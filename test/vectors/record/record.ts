/**
 * Records the vectors of one or more modes into test/vectors/data.
 * Run it by record.mjs; arguments are the modes or groups to record (all, when none is given).
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Mode } from '../layout.ts';
import type { Vector } from '../read-vectors.ts';
import { writeVectors } from '../write-vectors.ts';
import { FEATURE_GROUPS } from './feature-groups.ts';
import { type PlannedCase, planCases, toVector } from './generate.ts';
import { canRecord, compileRecorder, execute } from './harness.ts';

/** `root` is the folder test/vectors; `cache` is where the C recorder is compiled to. `wanted`: modes and groups. */
export function record(wanted: readonly string[], root: URL, cache: URL): void {
  if (!canRecord()) throw new Error('recording needs x86-64 Linux and gcc; neither the reader nor the tests do');
  const program = compileRecorder(fileURLToPath(cache), new URL('record/', root));
  for (const name of wanted) {
    const [mode = '', ...group] = name.split('-');
    recordGroups(Number(mode) as Mode, group.length > 0 ? group.join('-') : undefined, program, root);
  }
}

/** `only`: the one group of the mode to record. */
function recordGroups(mode: Mode, only: string | undefined, program: string, root: URL): void {
  const planned = planCases(mode, only);
  if (planned.length === 0)
    throw new Error(`${mode}-${only}: expected a mode, or a group of record/forms.ts or feature-groups.ts`);
  const outcomes = execute(program, mode, planned);
  const groups = new Map<string, Vector[]>();
  const lost: PlannedCase[] = [];
  planned.forEach((plannedCase, n) => {
    const outcome = outcomes[n];
    const vector = outcome && toVector(plannedCase, outcome);
    if (!vector) {
      lost.push(plannedCase);
      if (process.env.RINGSIDE_SHOW_DROPPED) console.log(plannedCase.name, plannedCase.disassembly, outcome?.exception);
      return;
    }
    const group = groups.get(plannedCase.group) ?? [];
    groups.set(plannedCase.group, group);
    group.push(vector);
  });
  writeGroups(mode, only, groups, new URL('data/', root));
  report(mode, groups, lost);
}

function writeGroups(mode: Mode, only: string | undefined, groups: Map<string, Vector[]>, data: URL): void {
  mkdirSync(data, { recursive: true });
  const old = only === undefined ? `${mode}-` : `${mode}-${only}.txt`;
  for (const file of readdirSync(data)) if (file.startsWith(old)) rmSync(new URL(file, data));
  for (const [group, vectors] of groups) {
    const title = `${mode}-bit ${group}, recorded from a CPU; see test/vectors/README.md for the format`;
    const text = writeVectors(title, vectors);
    const name = `${mode}-${group}.txt`;
    if (group in FEATURE_GROUPS) writeFileSync(new URL(`${name}.gz`, data), gzipSync(text, { level: 9 }));
    else writeFileSync(new URL(name, data), text);
  }
}

function report(mode: Mode, groups: Map<string, Vector[]>, lost: readonly PlannedCase[]): void {
  const total = [...groups.values()].reduce((sum, vectors) => sum + vectors.length, 0);
  const counts = [...groups].map(([group, vectors]) => `${group} ${vectors.length}`).join(', ');
  console.log(`${mode}-bit: ${total} vectors (${counts})`);
  const kept = new Set([...groups.values()].flat().map((vector) => vector.name));
  const missing = new Set(lost.map((planned) => planned.name).filter((name) => !kept.has(name)));
  console.log(`${mode}-bit: ${lost.length} cases dropped for an unwanted exception`);
  if (missing.size > 0) throw new Error(`${mode}-bit: no vector at all for ${[...missing].join(' ')}`);
}
