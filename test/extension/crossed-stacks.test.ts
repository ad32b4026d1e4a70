import { expect, test } from 'vitest';
import { CrossedStacks } from '../../extension/session/crossed-stacks.ts';

const stopped = (reason = 'exception') => ({
  type: 'event',
  seq: 0,
  event: 'stopped',
  body: { reason, threadId: 1 },
});
const request = (seq: number, startFrame?: number, threadId = 1) => ({
  type: 'request',
  seq,
  command: 'stackTrace',
  arguments: { threadId, ...(startFrame === undefined ? {} : { startFrame }) },
});
/** The top frame's id is as many hundreds as the request's number. */
const response = (request_seq: number) => ({
  type: 'response',
  seq: 0,
  command: 'stackTrace',
  request_seq,
  body: { stackFrames: [{ id: request_seq * 100 }, { id: request_seq * 100 + 1 }] },
});

/** Whether they have crossed at the top frame of the first answer after each of the messages, which come at the same moment. */
function after(...messages: (ReturnType<typeof stopped> | ReturnType<typeof request> | ReturnType<typeof response>)[]) {
  const stacks = new CrossedStacks();
  return messages.map((message) => {
    if (message.type === 'request') stacks.asked(message, 0);
    else stacks.told(message, 0);
    return stacks.crossedAt(100);
  });
}

test('two requests from the first frame on have crossed once both are answered', () => {
  expect(after(stopped(), request(1, 0), request(2), response(1), response(2))).toEqual([
    false,
    false,
    false,
    false,
    true,
  ]);
  // The answer to the first was on its way when the second was asked.
  expect(after(stopped(), request(1, 0), response(1), request(2), response(2)).at(-1)).toBe(true);
});

test.each([
  ['one alone', [stopped(), request(1, 0), response(1)]],
  ['the rest of the stack', [stopped(), request(1, 0), response(1), request(2, 1), response(2)]],
  ['another thread', [stopped(), request(1, 0), request(2, 0, 2), response(1), response(2)]],
  ['a stop that needs no words', [stopped('step'), request(1), request(2), response(1), response(2)]],
  [
    'a stack that was asked for anew',
    [
      stopped(),
      request(1),
      response(1),
      { type: 'event', seq: 0, event: 'invalidated', body: { reason: '', threadId: 1 } },
      request(2),
      response(2),
    ],
  ],
])('not by %s', (_, messages) => {
  expect(after(...messages)).not.toContain(true);
});

test('nor by what is asked for long after the stop, nor once it was dealt with', () => {
  const stacks = new CrossedStacks();
  stacks.told(stopped(), 0);
  stacks.asked(request(1), 0);
  stacks.asked(request(2), 5000);
  stacks.told(response(1), 5000);
  expect(stacks.crossedAt(100)).toBe(false);
  stacks.told(stopped(), 6000);
  for (const seq of [3, 4]) stacks.asked(request(seq), 6000);
  for (const seq of [3, 4]) stacks.told(response(seq), 6001);
  expect([300, 400, 401, 100].map((id) => stacks.crossedAt(id))).toEqual([true, true, false, false]);
  stacks.settle();
  expect(stacks.crossedAt(300)).toBe(false);
});
