#!/usr/bin/env node
/** Reads vitest's JSON report: names every skipped test, fails if there is one, and ends with "N passed, N failed". */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';

const [report] = process.argv.slice(2);
const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
const tests = testResults.flatMap(({ name, assertionResults }) =>
  assertionResults.map(({ fullName, status }) => ({ test: `${relative('.', name)}: ${fullName}`, status })),
);
const brokenFiles = testResults.filter(
  ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
);

const count = (...wanted) => tests.filter(({ status }) => wanted.includes(status)).length;
const skipped = tests.filter(({ status }) => status !== 'passed' && status !== 'failed');
for (const { test, status } of skipped) console.log(`${status}: ${test}`);
for (const { name, message } of brokenFiles) console.log(`did not load: ${relative('.', name)}: ${message}`);

const failed = count('failed') + brokenFiles.length + skipped.length;
if (skipped.length > 0) console.log(`${skipped.length} skipped: where everything is installed, that counts as failed`);
console.log(`${count('passed')} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
