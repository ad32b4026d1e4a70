import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const packageFolder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/;

function notice(root, folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
  const licenceFile = readdirSync(join(root, folder)).find((file) => /^licen[cs]e/i.test(file));
  const text = licenceFile ? readFileSync(join(root, folder, licenceFile), 'utf8').trim() : `Licence: ${license}`;
  return `${name} ${version}\n\n${text}\n`;
}

/** The licences of every package of which the bundles (esbuild metafiles) hold a part. */
export function thirdPartyNotices(root, metafiles) {
  const inputs = metafiles.flatMap((metafile) => Object.keys(metafile.inputs));
  const folders = new Set(inputs.map((input) => input.match(packageFolder)?.[0]).filter(Boolean));
  folders.add('node_modules/@vscode/codicons');
  const known = [...folders].filter((folder) => existsSync(join(root, folder, 'package.json'))).sort();
  return known.map((folder) => notice(root, folder)).join(`\n${'-'.repeat(80)}\n\n`);
}
