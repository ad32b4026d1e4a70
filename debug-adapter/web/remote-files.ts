import type { FileReader } from '../program/loaded-program.ts';
import type { ReadFileAnswer, ReadFileRequest } from '../protocol/worker-messages.ts';

interface Waiting {
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** Files that the other side of a message channel reads. */
export class RemoteFiles implements FileReader {
  readonly #post: (request: ReadFileRequest) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(post: (request: ReadFileRequest) => void) {
    this.#post = post;
  }

  read(path: string): Promise<Uint8Array> {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#post({ kind: 'read-file', id, path });
    });
  }

  answer({ id, bytes, error }: ReadFileAnswer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (bytes !== undefined) {
      waiting?.resolve(bytes);
    } else {
      waiting?.reject(new Error(error ?? 'the file cannot be read'));
    }
  }
}
