import type { DebugProtocol as P } from '@vscode/debugprotocol';
import { type ListedInstruction, listing } from '../disassembly/listing.ts';
import { UserError } from '../errors.ts';
import { hex, hexBytes } from '../hexadecimal.ts';
import type { Handlers } from './handlers.ts';
import { type MemoryReference, resolveReference } from './memory-reference.ts';
import type { Session } from './session.ts';
import { sourceOf } from './sources.ts';
import { codeBase } from './stack/position.ts';

const MAXIMUM_INSTRUCTIONS = 10_000;

export const disassembly: Handlers = {
  disassemble(
    { memoryReference, offset = 0, instructionOffset = 0, instructionCount, resolveSymbols = true },
    session,
  ) {
    if (instructionCount > MAXIMUM_INSTRUCTIONS) {
      throw new UserError('So many instructions are not disassembled at once', {
        expected: `at most ${MAXIMUM_INSTRUCTIONS}`,
        found: String(instructionCount),
      });
    }
    const at = resolveReference(memoryReference, session);
    const address = BigInt.asUintN(64, at.address + BigInt(offset));
    const lines = disassemble(session, { ...at, address }, instructionOffset, instructionCount, resolveSymbols);
    return { instructions: withSources(lines, session) };
  },
};

function disassemble(
  session: Session,
  at: MemoryReference,
  instructionOffset: number,
  count: number,
  resolveSymbols: boolean,
): ListedInstruction[] {
  const { program, disassembler } = session.debuggee;
  const vcpu = session.vcpu(at.vcpu);
  const bits = vcpu.mode().codeSize;
  return listing(
    {
      disassembler,
      bits,
      base: at.space === 'linear' ? codeBase(vcpu, bits) : 0n,
      peek: (address, length) => vcpu.peek(at.space, address, length),
      // Where instructions are known to begin: lines of the source and symbols.
      knownStarts: (from, to) => [
        ...[...program.lines.within(from, to)].map((line) => line.start),
        ...(program.symbols.nearest(from) === undefined ? [] : [program.symbols.nearest(from)?.symbol.address ?? from]),
      ],
      name: (target) => (resolveSymbols ? program.symbols.describe(BigInt.asUintN(64, target)) : undefined),
      symbolAt: (address) => {
        const near = program.symbols.nearest(address);
        return near?.offset === 0n ? near.symbol.name : undefined;
      },
    },
    at.address,
    instructionOffset,
    count,
  );
}

/** The client shows a line once, above its first instruction. */
function withSources(lines: readonly ListedInstruction[], session: Session): P.DisassembledInstruction[] {
  const offset = session.client.linesStartAt1 ? 0 : 1;
  let lastPath: string | undefined;
  let lastLine = 0;
  return lines.map(({ address, bytes, text, symbol, isValid }) => {
    const position = session.debuggee.program.lines.at(address);
    const isNew = position !== undefined && (position.path !== lastPath || position.line !== lastLine);
    const location = isNew ? { location: sourceOf(position.path), line: position.line - offset } : {};
    lastPath = position?.path;
    lastLine = position?.line ?? 0;
    return {
      address: hex(address),
      instructionBytes: hexBytes(bytes),
      instruction: text,
      ...(symbol === undefined ? {} : { symbol }),
      ...location,
      ...(isValid ? {} : { presentationHint: 'invalid' as const }),
    };
  });
}
