/** The command line: `ringside run PROGRAM` runs a guest to its end without an editor. */
import { writeSync } from 'node:fs';
import { isUserError } from '../errors.ts';
import { nodeFiles } from '../node/file-reader.ts';
import { AssemblyError, type ProgramDiagnostic } from '../program/loaded-program.ts';
import { servicesWith } from '../services.ts';
import { loadTarget } from '../session/load-target.ts';
import { parseArguments, type RunCommand, UsageError, usage } from './arguments.ts';
import { runGuest } from './run-guest.ts';
import { statisticsLine } from './statistics.ts';

const STDOUT = 1;
const STDERR = 2;

/** Writes all of it now: the process may end right after. A reader that went away ends the run. */
function write(descriptor: number, data: Uint8Array): void {
  for (let done = 0; done < data.length; ) {
    try {
      done += writeSync(descriptor, data, done);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'EPIPE') {
        process.exit(1);
      }
      if (code !== 'EAGAIN') {
        throw error;
      }
    }
  }
}

function report(line: string): void {
  write(STDERR, new TextEncoder().encode(`${line}\n`));
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

async function run(command: RunCommand): Promise<number> {
  const { program, control } = await loadTarget(command.configuration, servicesWith(nodeFiles));
  reportDiagnostics(program.diagnostics);
  const streams = { output: (bytes: Uint8Array) => write(STDOUT, bytes), report };
  const start = performance.now();
  const status = await runGuest(command, program, control, streams, nextTurn);
  if (command.stats) {
    report(statisticsLine(control, (performance.now() - start) / 1000));
  }
  return status;
}

function reportDiagnostics(diagnostics: readonly ProgramDiagnostic[]): void {
  for (const { severity, message, file, line, column } of diagnostics) {
    report(`${line === undefined ? file : `${file}:${line}:${column ?? 1}`}: ${severity}: ${message}`);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const command = parseArguments(args);
  if (command.kind === 'help') {
    write(STDOUT, new TextEncoder().encode(usage()));
    return 0;
  }
  return run(command);
}

/** Wrong use and wrong input are said in a line or two; everything else is a bug of ours, said as such. */
function statusOfError(error: unknown): number {
  if (error instanceof AssemblyError) {
    reportDiagnostics(error.diagnostics);
    return 2;
  }
  if (isUserError(error)) {
    report(`ringside: ${error.message}`);
    if (error instanceof UsageError) {
      report("Try 'ringside --help'.");
    }
    return 2;
  }
  report(`ringside: internal error: ${error instanceof Error ? error.message : String(error)}`);
  return 1;
}

main(process.argv.slice(2))
  .catch(statusOfError)
  .then((status) => process.exit(status));
