import { expect, test } from 'vitest';
import { ConfirmedPages } from '../../engine/machine/confirmed-pages.ts';

const ENTRY = 0x1008;
const PAGE = 0x4000;

test('an entry has the pages that it confirmed, each once', () => {
  const confirmed = new ConfirmedPages();
  for (const page of [PAGE, -PAGE, PAGE]) confirmed.add(ENTRY, page, false);
  confirmed.add(ENTRY + 8, PAGE, false);
  expect(confirmed.under(ENTRY)).toEqual([PAGE, -PAGE]);
  expect(confirmed.under(ENTRY + 16)).toEqual([]);
  expect(confirmed.under(ENTRY + 8)).toEqual([PAGE]);
});

test('more than a few, or pages that are no numbers, are too many to tell', () => {
  const confirmed = new ConfirmedPages();
  for (let n = 0; n < 8; n++) confirmed.add(ENTRY, n * PAGE, false);
  confirmed.add(ENTRY, PAGE, false);
  expect(confirmed.under(ENTRY)).toHaveLength(8);
  for (let n = 0; n < 9; n++) confirmed.add(ENTRY, n * PAGE, false);
  expect(confirmed.under(ENTRY)).toBeUndefined();
  confirmed.add(ENTRY, undefined, false);
  expect(confirmed.under(ENTRY)).toBeUndefined();
});

test('what was confirmed for a fetch once may have code, until all is cleared', () => {
  const confirmed = new ConfirmedPages();
  confirmed.add(ENTRY, PAGE, true);
  confirmed.add(ENTRY, PAGE, false);
  expect([confirmed.hasCode(PAGE), confirmed.hasCode(0)]).toEqual([true, false]);
  confirmed.clear();
  expect(confirmed.hasCode(PAGE)).toBe(false);
});

test.each([
  ['entries', (n: number) => ({ entry: 8 * n, page: PAGE })],
  ['pages with code under one entry', (n: number) => ({ entry: ENTRY, page: n * PAGE })],
])('is full at some point: %s', (_, nth) => {
  const confirmed = new ConfirmedPages();
  let n = 0;
  for (; !confirmed.isFull && n < 2 ** 20; n++) {
    const { entry, page } = nth(n);
    confirmed.add(entry, page, true);
  }
  expect(n).toBe(2 ** 16);
});
