import { describe, expect, it } from 'vitest';
import {
  completeFrom,
  configurationBeside,
  configurationFor,
  isProgram,
  openFile,
  resolveFiles,
  resolvePath,
} from '../../extension/debug/launch-configuration.ts';

const onDisk = { path: '/home/me/kernel', uriOf: undefined };
const virtual = { path: '/samples', uriOf: (path: string) => `memfs://folder${path}` };

describe('files of a launch configuration', () => {
  it.each([
    ['absolute', '/boot/a.asm', onDisk, '/boot/a.asm'],
    ['relative', 'src/a.asm', onDisk, '/home/me/kernel/src/a.asm'],
    ['relative with ./', './a.asm', onDisk, '/home/me/kernel/a.asm'],
    ['of Windows', 'C:\\guest\\a.asm', { path: 'C:\\guest', uriOf: undefined }, 'C:\\guest\\a.asm'],
    ['absolute, where there are only URIs', '/samples/a.asm', virtual, 'memfs://folder/samples/a.asm'],
    ['with the backslashes of a browser on Windows', '\\samples\\a.asm', virtual, 'memfs://folder/samples/a.asm'],
    ['relative, where there are only URIs', 'rings/a.asm', virtual, 'memfs://folder/samples/rings/a.asm'],
    ['already a URI', 'memfs://x/a.asm', virtual, 'memfs://x/a.asm'],
    ['without a folder', 'a.asm', undefined, 'a.asm'],
  ])('%s', (_name, path, folder, expected) => {
    expect(resolvePath(path, folder)).toBe(expected);
  });

  it('resolves each file, and a disk only if it is an image and not a size', () => {
    const configuration = {
      type: 'ringside',
      program: 'a.elf',
      initrd: 'i.img',
      symbolFile: 's.elf',
      devices: { disk: 'd.img' },
    };
    expect(resolveFiles(configuration, virtual)).toEqual({
      type: 'ringside',
      program: 'memfs://folder/samples/a.elf',
      initrd: 'memfs://folder/samples/i.img',
      symbolFile: 'memfs://folder/samples/s.elf',
      devices: { disk: 'memfs://folder/samples/d.img' },
    });
    for (const disk of ['64K', '1g', '2 MiB', '65536', 65536]) {
      expect(resolveFiles({ devices: { disk, console: true } }, virtual)).toEqual({ devices: { disk, console: true } });
    }
  });

  it('leaves what is not a path for the adapter to complain about', () => {
    const broken = { program: 7, devices: 'none', initrd: null };
    expect(resolveFiles(broken, virtual)).toEqual(broken);
  });
});

describe('F5 without a launch.json', () => {
  it('stops at the entry of the program, with the user’s defaults', () => {
    expect(configurationFor('/x/boot.asm', { memory: '1G' })).toEqual({
      type: 'ringside',
      name: 'Debug boot.asm',
      request: 'launch',
      program: '/x/boot.asm',
      stopOnEntry: true,
      memory: '1G',
    });
    expect(configurationFor('/x/boot.asm', { stopOnEntry: false }).stopOnEntry).toBe(false);
  });

  it('takes the configuration for the program from a launch.json beside it', () => {
    const launch = JSON.stringify({
      configurations: [
        { type: 'node', name: 'other', program: 'disk.asm' },
        {
          type: 'ringside',
          name: 'disk',
          request: 'launch',
          program: 'x/disk.asm',
          virtualization: 'hardware',
        },
      ],
    });
    const found = configurationBeside(launch, 'memfs://folder/x/disk.asm');
    expect(found).toMatchObject({ name: 'disk', program: 'memfs://folder/x/disk.asm', virtualization: 'hardware' });
    expect(configurationBeside(launch, '/x/another.asm')).toBeUndefined();
  });

  it('takes the only configuration beside an included file, C source or README', () => {
    const one = { type: 'ringside', name: 'c', request: 'launch', program: 'x/c/c.elf' };
    const launch = JSON.stringify({ configurations: [one] });
    expect(configurationBeside(launch, '/x/c/main.c')).toEqual({ ...one, program: '/x/c/c.elf' });
    expect(configurationBeside(launch, 'memfs://x/c/README.md')?.program).toBe('memfs://x/c/c.elf');
    expect(configurationBeside(launch, '/x/c/other.asm')).toBeUndefined();
    const two = JSON.stringify({ configurations: [one, { ...one, program: 'd.elf' }] });
    expect(configurationBeside(two, '/x/c/main.c')).toBeUndefined();
  });

  it('of the open file takes from it what is left open, and no more', () => {
    const open = { type: 'ringside', name: 'Debug the open program', request: 'launch', program: openFile };
    const beside = { type: 'ringside', name: 'disk', request: 'launch', program: '/x/disk.asm', memory: '8M', cpus: 2 };
    expect(completeFrom({ ...open, memory: '1M' }, beside)).toEqual({
      ...open,
      program: '/x/disk.asm',
      memory: '1M',
      cpus: 2,
    });
  });

  it.each(['', '// comment\n{}', '[]', '{"configurations": 3}', '{"configurations": [null, 5]}'])(
    'is not disturbed by a launch.json such as %j',
    (text) => expect(configurationBeside(text, '/x/a.asm')).toBeUndefined(),
  );

  it('knows programs by their names', () => {
    expect(['a.asm', 'A.ELF', 'x/kernel.elf32', 'disk.img'].map(isProgram)).toEqual([true, true, true, true]);
    expect(['a.c', 'README.md', 'elf', 'a.asm.txt'].map(isProgram)).toEqual([false, false, false, false]);
  });
});
