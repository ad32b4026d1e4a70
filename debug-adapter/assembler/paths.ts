/** Where a file named in a source may be: beside the file that names it, then as named. */
export function candidatePaths(path: string, includingFile: string): string[] {
  const absolute = /^(?:\/|\\|[A-Za-z]:|[a-z][\w+.-]+:\/\/)/u.test(path);
  const slash = Math.max(includingFile.lastIndexOf('/'), includingFile.lastIndexOf('\\'));
  return absolute || slash < 0 ? [path] : [normalize(includingFile.slice(0, slash + 1) + path), path];
}

/** Takes `.` and `..` out of a path. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..' && parts.at(-1) !== '') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}
