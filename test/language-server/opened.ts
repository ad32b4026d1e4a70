/** Documents that are open in a client, which ends with its test. */
import { afterEach } from 'vitest';
import { Client, marked } from './client.ts';

export const uri = 'file:///work/guest.asm';
const clients: Client[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.stop();
});

export async function client(files: Readonly<Record<string, string>> = {}, settings: unknown = {}): Promise<Client> {
  const made = new Client(files, settings);
  clients.push(made);
  await made.start();
  return made;
}

export async function opened(source: string, files: Readonly<Record<string, string>> = {}) {
  const { text, at } = marked(source);
  const made = await client(files);
  await made.open(uri, text);
  return { client: made, at, text };
}
