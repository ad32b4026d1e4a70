import type { MemoryReference } from './memory-reference.ts';
import { formatReference } from './memory-reference.ts';
import type { Session } from './session.ts';

export type Edit =
  | { readonly kind: 'register' }
  | { readonly kind: 'memory'; readonly at: MemoryReference; readonly lengthBytes: number };

/** Tells the client what else it shows is out of date after the user has changed something. */
export function announceEdit(session: Session, edit: Edit): void {
  session.defer(() => {
    if (edit.kind === 'memory' && session.client.supportsMemoryEvent) {
      session.send('memory', { memoryReference: formatReference(edit.at), offset: 0, count: edit.lengthBytes });
    }
    if (session.client.supportsInvalidated) {
      session.send('invalidated', { areas: ['all'] });
    }
  });
}
