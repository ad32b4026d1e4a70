import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const FIXTURES = fileURLToPath(new URL('fixtures', import.meta.url));

export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(`${FIXTURES}/${name}`));
}

/** The number, from 1, of the line of a fixture's source that carries `marker: name`. */
export function markerLine(source: string, name: string): number {
  const lines = readFileSync(`${FIXTURES}/src/${source}`, 'utf8').split('\n');
  const index = lines.findIndex((line) => line.includes(`marker: ${name}`));
  if (index < 0) {
    throw new Error(`${source} has no marker ${name}`);
  }
  return index + 1;
}

export function hasTools(...programs: string[]): boolean {
  return programs.every((program) => {
    try {
      execFileSync(program, ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}
