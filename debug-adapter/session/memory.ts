import { UserError } from '../errors.ts';
import { hex } from '../hexadecimal.ts';
import { fromBase64, toBase64 } from './base64.ts';
import { announceEdit } from './edits.ts';
import type { Handlers } from './handlers.ts';
import { type MemoryReference, resolveReference } from './memory-reference.ts';
import type { Session } from './session.ts';

const MAXIMUM_COUNT = 16 * 2 ** 20;
const PAGE_BYTES = 4096;

export const memory: Handlers = {
  readMemory({ memoryReference, offset = 0, count }, session) {
    const at = withOffset(resolveReference(memoryReference, session), offset);
    if (count < 0 || count > MAXIMUM_COUNT) {
      throw new UserError('So much memory is not read at once', {
        expected: `0 to ${MAXIMUM_COUNT} bytes`,
        found: String(count),
      });
    }
    const bytes = session.vcpu(at.vcpu).peek(at.space, at.address, count);
    const missing = count - bytes.length;
    return {
      address: hex(at.address),
      ...(bytes.length > 0 ? { data: toBase64(bytes) } : {}),
      ...(missing > 0 ? { unreadableBytes: unreadable(at, bytes.length, missing, session) } : {}),
    };
  },

  writeMemory({ memoryReference, offset = 0, data, allowPartial = false }, session) {
    const at = withOffset(resolveReference(memoryReference, session), offset);
    const bytes = fromBase64(data);
    if (bytes === undefined) {
      throw new UserError('The bytes to write are not base64');
    }
    const vcpu = session.vcpu(at.vcpu);
    const mapped = vcpu.peek(at.space, at.address, bytes.length).length;
    if (mapped < bytes.length && !allowPartial) {
      throw new UserError('The memory cannot be written', {
        expected: `${bytes.length} bytes of memory`,
        found: `${mapped} at ${hex(at.address)}`,
      });
    }
    const bytesWritten = vcpu.poke(at.space, at.address, bytes.subarray(0, mapped));
    announceEdit(session, { kind: 'memory', at, lengthBytes: bytesWritten });
    return { bytesWritten };
  },
};

function withOffset(at: MemoryReference, offset: number): MemoryReference {
  return { ...at, address: BigInt.asUintN(64, at.address + BigInt(offset)) };
}

/** Bytes up to the next page that can be read, or all. */
function unreadable(at: MemoryReference, readBytes: number, missing: number, session: Session): number {
  const start = at.address + BigInt(readBytes);
  const vcpu = session.vcpu(at.vcpu);
  let skipped = PAGE_BYTES - Number(start % BigInt(PAGE_BYTES));
  while (skipped < missing && vcpu.peek(at.space, start + BigInt(skipped), 1).length === 0) {
    skipped += PAGE_BYTES;
  }
  return Math.min(missing, skipped);
}
