/** GDB's remote protocol, as much of it as stepping takes: packets `$text#sum`, each acknowledged by `+`. */
import { createServer, type Socket } from 'node:net';

const CHECKSUM_DIGITS = 2;

export class GdbRemote {
  readonly #socket: Socket;
  #received = '';
  #awaited: { resolve: (packet: string) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => {
      this.#received += text;
      this.#hand();
    });
    const fail = (error?: Error): void => this.#awaited?.reject(error ?? new Error('the connection was closed'));
    socket.on('error', fail).on('close', () => fail());
  }

  /** Listens at a path, and calls `start` to have a stub connect to it. */
  static accept(path: string, start: () => void): Promise<GdbRemote> {
    return new Promise((resolve, reject) => {
      const server = createServer((socket) => {
        server.close();
        resolve(new GdbRemote(socket));
      });
      server.on('error', reject).listen(path, start);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The answer to a packet. */
  request(text: string): Promise<string> {
    const sum = [...text].reduce((all, character) => (all + character.charCodeAt(0)) & 0xff, 0);
    this.#socket.write(`$${text}#${sum.toString(16).padStart(CHECKSUM_DIGITS, '0')}`);
    return this.#packet();
  }

  /** What a command of the stub's own console prints. */
  async monitor(command: string): Promise<string> {
    let printed = '';
    let packet = await this.request(`qRcmd,${Buffer.from(command).toString('hex')}`);
    for (; packet !== 'OK'; packet = await this.#packet()) {
      if (!packet.startsWith('O')) throw new Error(`${command}: expected its output, found ${packet}`);
      printed += Buffer.from(packet.slice(1), 'hex').toString('latin1');
    }
    return printed;
  }

  #packet(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#awaited = { resolve, reject };
      this.#hand();
    });
  }

  /** Hands the first whole packet to who waits for it. */
  #hand(): void {
    const start = this.#received.indexOf('$');
    const end = this.#received.indexOf('#', start);
    if (!this.#awaited || start < 0 || end < 0 || this.#received.length <= end + CHECKSUM_DIGITS) return;
    const packet = this.#received.slice(start + 1, end);
    this.#received = this.#received.slice(end + 1 + CHECKSUM_DIGITS);
    this.#socket.write('+');
    const { resolve } = this.#awaited;
    this.#awaited = undefined;
    resolve(packet);
  }
}
