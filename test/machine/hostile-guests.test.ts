/**
 * Some of the hostile guests that `test/long` has in their thousands: one of each kind, and those that found something
 * once. What was found has a test of its own in stubborn-guests.test.ts, which says what it was.
 */
import { describe, expect, test } from 'vitest';
import { checkGuest } from './hostile/check-guest.ts';
import { hostileGuest } from './hostile/hostile-guest.ts';

describe('hostile guests neither hang, crash nor confuse the engine', () => {
  test.each([0, 1, 2, 3, 4, 5, 14, 40, 73, 88, 350, 373, 503])('the guest of seed %i', async (seed) => {
    const outcome = checkGuest(await hostileGuest(seed));
    expect(outcome.instructions).toBeGreaterThan(10);
  });
});
