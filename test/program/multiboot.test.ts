import { describe, expect, it } from 'vitest';
import {
  buildMultibootInformation,
  findMultibootHeader,
  multibootImage,
  pcMemoryMap,
} from '../../debug-adapter/program/multiboot.ts';

const MAGIC = 0x1badb002;

/** A file of `sizeBytes` with a header at `offset`; `addresses` are header, load, load end, bss end and entry. */
function image(sizeBytes: number, offset: number, flags: number, addresses: number[] = [], magic = MAGIC): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  const view = new DataView(bytes.buffer);
  [magic, flags, -(magic + flags), ...addresses].forEach((value, index) => {
    view.setUint32(offset + 4 * index, value >>> 0, true);
  });
  return bytes;
}

describe('Multiboot header', () => {
  it.each([0, 4, 8180])('is found at %d', (offset) => {
    expect(findMultibootHeader(image(8192, offset, 3))).toEqual({ offset, flags: 3 });
  });

  it.each([
    ['beyond the first 8192 bytes', image(16384, 8184, 3)],
    ['not aligned', image(64, 6, 3)],
    ['with a wrong magic', image(64, 0, 3, [], MAGIC + 1)],
    ['in a file of 11 bytes', image(64, 0, 3).subarray(0, 11)],
  ])('is not found %s', (_, bytes) => {
    expect(findMultibootHeader(bytes)).toBeUndefined();
  });

  it('with a wrong checksum is passed over', () => {
    const bytes = image(64, 16, 1);
    bytes.set(image(12, 0, 3).subarray(0, 8));
    expect(findMultibootHeader(bytes)).toEqual({ offset: 16, flags: 1 });
  });

  it.each([
    [4, 'found flag 2 (video mode)'],
    [0x8000, 'found flags 0x8000'],
  ])('that demands %s is refused', (flags, message) => {
    expect(() => findMultibootHeader(image(64, 0, flags))).toThrow(message);
  });

  it('may offer what nobody knows', () => {
    expect(findMultibootHeader(image(64, 0, 0x40000))?.flags).toBe(0x40000);
  });

  it('with address fields that are cut off is refused', () => {
    expect(() => findMultibootHeader(image(32, 0, 0x10000).subarray(0, 28))).toThrow('32 bytes within the first 8192');
  });
});

describe('Multiboot address fields', () => {
  const load = (sizeBytes: number, offset: number, addresses: number[]) => {
    const bytes = image(sizeBytes, offset, 0x10000, addresses);
    const header = findMultibootHeader(bytes);
    if (header?.addresses === undefined) throw new Error('no address fields');
    return multibootImage(bytes, header.offset, header.addresses);
  };

  it.each([
    ['the whole file', 64, 0, [0x100000, 0x100000, 0, 0, 0x100020], [0x100000, 64, 0]],
    [
      'from 16 bytes before the header',
      64,
      32,
      [0x100010, 0x100000, 0, 0x100100, 0x100020],
      [0x100000, 48, 0x100 - 48],
    ],
    ['up to the load end', 64, 0, [0x100000, 0x100000, 0x100030, 0x100040, 0x10002f], [0x100000, 0x30, 0x10]],
  ])('load %s', (_, size, offset, addresses, [address, length, zeroBytes]) => {
    const loaded = load(size, offset, addresses);
    expect([loaded.address, loaded.bytes.length, loaded.zeroBytes]).toEqual([address, length, zeroBytes]);
  });

  it.each([
    ['load above the header', [0x100000, 0x100004, 0, 0, 0x100020], 'Expected load_addr between 0x100000'],
    ['load before the file', [0x100000, 0xfff00, 0, 0, 0x100020], 'found 0xfff00'],
    ['end beyond the file', [0x100000, 0x100000, 0x100041, 0, 0x100020], 'load_end_addr between 0x100000 and 0x100040'],
    ['end before the start', [0x100000, 0x100000, 0xff000, 0, 0x100020], 'found 0xff000'],
    ['end of .bss before its start', [0x100000, 0x100000, 0, 0x100010, 0x100020], 'bss_end_addr of at least 0x100040'],
    ['enter outside', [0x100000, 0x100000, 0, 0, 0x200000], 'entry_addr between 0x100000 and 0x100040, found 0x200000'],
  ])('that %s are refused', (_, addresses, message) => {
    expect(() => load(64, 0, addresses)).toThrow(message);
  });
});

describe('Multiboot information', () => {
  const address = 0x9000;
  const bytes = buildMultibootInformation(
    {
      memoryMap: pcMemoryMap(16 << 20),
      commandLine: 'kernel quiet',
      modules: [{ start: 0xff0000, end: 0xff1234, commandLine: 'initrd' }],
      bootLoaderName: 'Ringside',
    },
    address,
  );
  const view = new DataView(bytes.buffer);
  const u32 = (at: number) => view.getUint32(at - address, true);
  const text = (at: number) => {
    const tail = bytes.subarray(at - address);
    return new TextDecoder().decode(tail.subarray(0, tail.indexOf(0)));
  };

  it('has the flags of its fields, and memory sizes in KiB', () => {
    expect(u32(address)).toBe(0b10_0100_1101);
    expect([u32(address + 4), u32(address + 8)]).toEqual([639, 15 * 1024]);
  });

  it('points to command line, boot loader and module', () => {
    expect(text(u32(address + 16))).toBe('kernel quiet');
    expect(text(u32(address + 64))).toBe('Ringside');
    const module = u32(address + 24);
    expect([u32(address + 20), u32(module), u32(module + 4), text(u32(module + 8))]).toEqual([
      1,
      0xff0000,
      0xff1234,
      'initrd',
    ]);
  });

  it('has a memory map that a kernel walks by its sizes', () => {
    const parts: [number, number, number][] = [];
    const end = u32(address + 48) + u32(address + 44);
    for (let at = u32(address + 48); at < end; at += u32(at) + 4) {
      parts.push([u32(at + 4), u32(at + 12), u32(at + 20)]);
    }
    expect(parts).toEqual([
      [0, 0x9fc00, 1],
      [0x9fc00, 0x400, 2],
      [0xf0000, 0x10000, 2],
      [0x100000, 15 << 20, 1],
    ]);
  });

  it('of a machine with 64 KiB has no upper memory', () => {
    const small = buildMultibootInformation(
      { memoryMap: pcMemoryMap(0x10000), commandLine: '', modules: [], bootLoaderName: '' },
      0,
    );
    const fields = new DataView(small.buffer);
    expect([fields.getUint32(4, true), fields.getUint32(8, true)]).toEqual([64, 0]);
  });
});
