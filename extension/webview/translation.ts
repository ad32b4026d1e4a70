/** The Translation panel's page: sends what is asked, draws what is answered. */
import { byId } from './dom.ts';
import { drawAnswer, drawNotice } from './draw-translation.ts';
import type { FromPanel, Question, ToPanel } from './messages.ts';

interface VsCodeApi {
  postMessage(message: FromPanel): void;
  getState(): Question | undefined;
  setState(question: Question): void;
}
declare function acquireVsCodeApi(): VsCodeApi;

const vscode = acquireVsCodeApi();
const form = byId('question', HTMLFormElement);
const expression = byId('expression', HTMLInputElement);
const access = byId('access', HTMLSelectElement);
const answer = byId('answer', HTMLElement);

const accesses: readonly Question['access'][] = ['read', 'write', 'execute'];

function typedQuestion(): Question {
  return {
    expression: expression.value.trim(),
    access: accesses.find((one) => one === access.value) ?? 'read',
  };
}

function ask(): void {
  const question = typedQuestion();
  vscode.setState(question);
  vscode.postMessage({ kind: 'ask', question });
}

/** Shows the question that the answer is to, but takes no text away from under the user's hands. */
function showQuestion(question: Question): void {
  vscode.setState(question);
  if (document.activeElement !== expression) expression.value = question.expression;
  access.value = question.access;
}

function show(message: ToPanel): void {
  showQuestion(message.question);
  if (message.kind === 'idle') answer.replaceChildren(drawNotice(message.reason, 'notice'));
  else if (message.kind === 'error') answer.replaceChildren(drawNotice(message.message, 'error'));
  else
    answer.replaceChildren(
      ...drawAnswer(message, (reference) => vscode.postMessage({ kind: 'show-memory', reference })),
    );
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  ask();
});
access.addEventListener('change', ask);
window.addEventListener('message', (event: MessageEvent<ToPanel>) => show(event.data));
vscode.postMessage({ kind: 'ready', question: vscode.getState() });
