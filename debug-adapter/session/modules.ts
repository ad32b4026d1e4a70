import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { hex } from '../hexadecimal.ts';
import { endOf } from '../program/loaded-program.ts';
import { fileNameOf } from '../program/source-path.ts';
import type { Handlers } from './handlers.ts';
import type { Session } from './session.ts';
import { sourceOf } from './sources.ts';

export const modules: Handlers = {
  modules(_, session) {
    const all = [programModule(session), ...hypervisorModule(session)];
    return { modules: all, totalModules: all.length };
  },

  loadedSources(_, session) {
    return { sources: session.debuggee.program.sources.map(sourceOf) };
  },
};

function programModule(session: Session): P.Module {
  const { program, configuration } = session.debuggee;
  const first = program.segments[0];
  const last = program.segments.at(-1);
  const range =
    first === undefined || last === undefined ? {} : { addressRange: `${hex(first.address)}-${hex(endOf(last))}` };
  const hasLines = program.sources.length > 0;
  return {
    id: 'program',
    name: fileNameOf(configuration.program),
    path: configuration.program,
    isUserCode: true,
    symbolStatus: hasLines ? 'Symbols and lines' : program.symbols.size > 0 ? 'Symbols, no lines' : 'No symbols',
    ...range,
    ...kind(program.description),
  };
}

function hypervisorModule(session: Session): P.Module[] {
  return session.debuggee.configuration.virtualization === 'none'
    ? []
    : [{ id: 'hypervisor', name: 'Built-in hypervisor', isUserCode: false, ...kind('VT-x with EPT and VPID') }];
}

/** The additional column that `initialize` declares. */
function kind(text: string): object {
  return { kind: text };
}
