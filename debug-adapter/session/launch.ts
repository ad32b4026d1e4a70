import type { OutputSource } from '../engine-target.ts';
import { UserError } from '../errors.ts';
import { AssemblyError, type ProgramDiagnostic } from '../program/loaded-program.ts';
import { fileNameOf } from '../program/source-path.ts';
import { toDap } from './breakpoints/breakpoint-table.ts';
import { resolveData } from './breakpoints/data-breakpoints.ts';
import { applyFilters } from './breakpoints/exception-filters.ts';
import { applyBreakpoints } from './breakpoints/source-breakpoints.ts';
import { checkConfiguration, type LaunchConfiguration } from './configuration.ts';
import { Debuggee } from './debuggee.ts';
import { beginProgram } from './execution.ts';
import type { Handlers } from './handlers.ts';
import { announceFailure } from './lifecycle.ts';
import { loadTarget } from './load-target.ts';
import type { Session } from './session.ts';
import { sourceOf } from './sources.ts';

const POINTER_BITS = 64;

export const launch: Handlers = {
  async launch(attributes, session) {
    const configuration = checkConfiguration(attributes);
    session.configuration = configuration;
    await load(configuration, session);
    session.send('process', {
      name: configuration.program,
      isLocalProcess: false,
      startMethod: 'launch',
      pointerSize: POINTER_BITS,
    });
    announceThreads(session);
    session.send('initialized');
    return undefined;
  },

  attach() {
    throw new UserError('Ringside starts programs itself', {
      expected: '"request": "launch"',
      found: '"request": "attach"',
    });
  },

  async restart(args, session) {
    const given = (args as { arguments?: Record<string, unknown> } | undefined)?.arguments;
    const configuration = given === undefined ? session.configuration : checkConfiguration(given);
    if (configuration === undefined) {
      throw new UserError('No program has been launched');
    }
    await load(configuration, session);
    const reload = session.breakpoints.resolveAll();
    applyBreakpoints(session);
    applyFilters(session);
    for (const breakpoint of [
      ...reload.map(toDap),
      ...resolveData('data', session),
      ...resolveData('functions', session),
    ]) {
      session.send('breakpoint', { reason: 'changed', breakpoint });
    }
    session.defer(() => beginProgram(session));
    return undefined;
  },

  disconnect(_, session) {
    session.debuggee = undefined;
    return undefined;
  },

  terminate(_, session) {
    session.debuggee = undefined;
    session.defer(() => session.send('terminated'));
    return undefined;
  },
};

/** Loads the program and makes it the session's, with progress for programs that take their time. */
async function load(configuration: LaunchConfiguration, session: Session): Promise<void> {
  const progressId = 'load';
  const hasProgress = session.client.supportsProgress;
  if (hasProgress) {
    session.send('progressStart', { progressId, title: `Loading ${fileNameOf(configuration.program)}` });
  }
  try {
    const loaded = await loadTarget(configuration, session.services);
    session.frames.clear();
    session.lastOutcome = undefined;
    const debuggee = new Debuggee(configuration, loaded, listenerOf(session), (source, text) =>
      showOutput(session, source, text),
    );
    session.debuggee = debuggee;
    session.print(`${fileNameOf(configuration.program)}: ${loaded.program.description}`);
    printDiagnostics(loaded.program.diagnostics, session);
  } catch (error) {
    if (error instanceof AssemblyError) {
      printDiagnostics(error.diagnostics, session);
    }
    throw error;
  } finally {
    if (hasProgress) {
      session.send('progressEnd', { progressId });
    }
  }
}

function listenerOf(session: Session) {
  return {
    sliced: () => {
      session.debuggee.output.flush();
      session.debuggee.historyKeeper.sliced();
    },
    stopped: session.stopped.bind(session),
    failed: (error: unknown) => announceFailure(session, error),
  };
}

function showOutput(session: Session, source: OutputSource, text: string): void {
  session.send('output', { category: 'stdout', output: text, data: { source } });
}

function announceThreads(session: Session): void {
  for (const vcpu of session.debuggee.control.vcpus) {
    session.send('thread', { reason: 'started', threadId: vcpu.index + 1 });
  }
}

/** Each with its place, so that a click leads there. */
function printDiagnostics(diagnostics: readonly ProgramDiagnostic[], session: Session): void {
  const offset = session.client.linesStartAt1 ? 0 : 1;
  for (const { severity, message, file, line, column } of diagnostics) {
    const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
    session.print(`${place}: ${severity}: ${message}`, severity === 'error' ? 'stderr' : 'console', {
      source: sourceOf(file),
      ...(line === undefined ? {} : { line: line - offset }),
    });
  }
}
