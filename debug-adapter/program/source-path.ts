/**
 * Paths as compilers and editors write them: POSIX, Windows (`C:\src\boot.asm`) and, in a browser, URIs
 * (`vscode-vfs://host/src/boot.asm`). No file system is asked.
 */

const ROOT = /^(?:[A-Za-z][A-Za-z0-9+.-]+:\/\/[^/]*\/|[A-Za-z]:[\\/]|[\\/]{1,2})/;

export function isAbsolutePath(path: string): boolean {
  return ROOT.test(path);
}

/** Resolves `path` against a directory and takes `.` and `..` out. */
export function resolvePath(directory: string, path: string): string {
  return normalisePath(
    isAbsolutePath(path) || directory === '' ? path : `${directory}${separatorOf(directory)}${path}`,
  );
}

/** The directory of a file, `.` if the path names none. */
export function directoryOf(path: string): string {
  const root = ROOT.exec(path)?.[0] ?? '';
  const cut = Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'));
  if (cut < root.length) {
    return root === '' ? '.' : root;
  }
  return path.slice(0, cut);
}

/** The last part of a path. */
export function fileNameOf(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
}

/** The extension in lower case, its dot included; empty if there is none. */
export function extensionOf(path: string): string {
  const name = fileNameOf(path);
  const dot = name.lastIndexOf('.');
  return dot <= 0 ? '' : name.slice(dot).toLowerCase();
}

/** What two spellings of one path have in common: Windows knows neither case nor one kind of slash. */
export function pathKey(path: string): string {
  const normal = normalisePath(path);
  return /^(?:[A-Za-z]:|\\\\)/.test(normal) ? normal.replaceAll('\\', '/').toLowerCase() : normal;
}

function normalisePath(path: string): string {
  const root = ROOT.exec(path)?.[0] ?? '';
  const separator = separatorOf(path);
  const kept: string[] = [];
  for (const part of path.slice(root.length).split(separator === '\\' ? /[\\/]/ : '/')) {
    if (part === '..' && kept.length > 0 && kept.at(-1) !== '..') {
      kept.pop();
    } else if (part !== '' && part !== '.' && (part !== '..' || root === '')) {
      kept.push(part);
    }
  }
  return root + kept.join(separator) || '.';
}

/** A backslash separates only in Windows paths: on POSIX it is a character of the name. */
function separatorOf(path: string): '/' | '\\' {
  return /^(?:[A-Za-z]:\\|\\\\)/.test(path) ? '\\' : '/';
}
