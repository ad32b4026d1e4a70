import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { plainFieldName } from '../expression/names.ts';
import type { Handlers } from './handlers.ts';
import type { Session } from './session.ts';

const MAXIMUM_ITEMS = 200;
const KEYWORDS = ['byte', 'word', 'dword', 'qword', 'vmcs.', 'gpa:', 'hpa:', 'linear:'];

export const completions: Handlers = {
  completions({ text, column, frameId }, session) {
    const before = text.slice(0, column - (session.client.columnsStartAt1 ? 1 : 0));
    const word = /[\p{L}_.$@?][\p{L}\p{N}_.$@?#~]*$/u.exec(before)?.[0] ?? '';
    const start = before.length - word.length + (session.client.columnsStartAt1 ? 1 : 0);
    const targets = candidates(word, session, frameId).slice(0, MAXIMUM_ITEMS);
    return { targets: targets.map((item) => ({ ...item, start, length: word.length })) };
  },
};

function candidates(word: string, session: Session, frameId: number | undefined): P.CompletionItem[] {
  const vcpu = session.vcpu(session.frame(frameId)?.vcpu);
  const wanted = word.toLowerCase();
  if (wanted.startsWith('vmcs.')) {
    return (vcpu.vmcs()?.fields ?? [])
      .map(
        ({ name, description }): P.CompletionItem => ({
          label: `vmcs.${plainFieldName(name)}`,
          detail: description,
          type: 'field',
        }),
      )
      .filter(({ label }) => label.startsWith(wanted));
  }
  const registers = vcpu
    .registerNames()
    .map((label): P.CompletionItem => ({ label, type: 'variable', detail: 'register' }));
  const others = KEYWORDS.map((label): P.CompletionItem => ({ label, type: 'keyword' }));
  const symbols = session.debuggee.program.symbols
    .namesFrom(word, MAXIMUM_ITEMS)
    .map((label): P.CompletionItem => ({ label, type: 'reference', detail: 'symbol' }));
  return [...[...registers, ...others].filter(({ label }) => label.toLowerCase().startsWith(wanted)), ...symbols];
}
