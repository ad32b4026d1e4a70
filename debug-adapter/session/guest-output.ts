import type { OutputSource } from '../engine-target.ts';

/** More output than this between two slices is shown in parts, so that no message grows without bound. */
const MAXIMUM_PART = 64 * 1024;

interface Stream {
  readonly decoder: InstanceType<typeof TextDecoder>;
  parts: Uint8Array[];
  size: number;
}

/** Collects what the guest prints, by device, and shows it once a slice. */
export class GuestOutput {
  readonly #show: (source: OutputSource, text: string) => void;
  readonly #streams = new Map<OutputSource, Stream>();

  constructor(show: (source: OutputSource, text: string) => void) {
    this.#show = show;
  }

  add(source: OutputSource, bytes: Uint8Array): void {
    const stream = this.#streams.get(source) ?? { decoder: new TextDecoder(), parts: [], size: 0 };
    this.#streams.set(source, stream);
    stream.parts.push(bytes.slice());
    stream.size += bytes.length;
    if (stream.size > MAXIMUM_PART) {
      this.flush();
    }
  }

  flush(): void {
    for (const [source, stream] of this.#streams) {
      const text = stream.parts.map((part) => stream.decoder.decode(part, { stream: true })).join('');
      stream.parts = [];
      stream.size = 0;
      if (text !== '') {
        this.#show(source, text);
      }
    }
  }
}
