/** CPUID announces a feature only if all its instructions are there; docs/instructions.md says what is. */
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { bootSource } from '../support/source-guests.ts';
import { allInstructions, instructionPage, recordedVectors, steppedForms, topicNaming } from './coverage.ts';

const PAGE = fileURLToPath(new URL('../../docs/instructions.md', import.meta.url));
const { vmx: intel, svm: amd } = bootSource('bits 64\nhlt\n', { mode: 'long' }).machine.host;
const vmx = [intel, amd].flatMap(({ instructions }) => Object.keys(instructions));
const all = allInstructions(vmx);

test('every instruction of an announced feature is executed', () => {
  const missing = all.filter(({ isAnnounced, execution }) => isAnnounced && execution === undefined);
  expect(missing.map(({ form, group }) => `${form} (${group})`)).toEqual([]);
});

test('the page of instructions is that of the tables', async () => {
  const proof = { vectors: recordedVectors(), stepped: steppedForms(), topic: topicNaming() };
  await expect(instructionPage(all, proof)).toMatchFileSnapshot(PAGE);
});
