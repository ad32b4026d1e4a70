/** Whatever is wrong with a configuration or program: one clear message, and the session goes on or ends in order. */
import { describe, expect, it } from 'vitest';
import { Client } from './client.ts';
import { boot } from './programs.ts';

const path = '/guest/boot.asm';
const elf64 = new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);

async function launchFailure(attributes: Record<string, unknown>): Promise<string> {
  const dap = new Client({
    [path]: boot,
    '/guest/bad.asm': 'bits 32\n  mvo eax, 1\n  jmp nowhere\n',
    '/guest/cut.elf': elf64,
  });
  await dap.request('initialize', { adapterID: 'ringside' });
  return dap.failure('launch', attributes);
}

describe('a launch configuration', () => {
  it.each([
    ['without a program', {}, ['names no program', 'workspaceFolder']],
    ['with a program that is no text', { program: 5 }, ['names no program', '5']],
    ['with an unknown attribute', { program: path, stopOnEnty: true }, ['"stopOnEnty"', 'id you mean "stopOnEntry"?']],
    ['with an unknown device', { program: path, devices: { dsk: '1M' } }, ['"devices.dsk"', 'id you mean "disk"?']],
    [
      'with a wrong choice',
      { program: path, virtualization: 'kvm' },
      ['"virtualization"', '"none" or "hardware"', '"kvm"'],
    ],
    ['with a wrong type', { program: path, stopOnEntry: 'yes' }, ['"stopOnEntry"', 'true or false', '"yes"']],
    ['with memory that is no size', { program: path, memory: 'lots' }, ['"memory"', '64M', '"lots"']],
    ['with too little memory', { program: path, memory: '4K' }, ['1 MiB', '"4K"']],
    ['with too many CPUs', { program: path, cpus: 1000 }, ['"cpus"', '1 to 8', '1000']],
    ['with half a CPU', { program: path, cpus: 0.5 }, ['"cpus"', 'whole number']],
    ['with a load address that is none', { program: path, loadAddress: 'here' }, ['"loadAddress"', '0x7c00', '"here"']],
    [
      'with a load address of no number',
      { program: path, loadAddress: '0xzz' },
      ['"loadAddress"', 'an address', '"0xzz"'],
    ],
    [
      'with a module for no Multiboot kernel',
      { program: path, initrd: '/x' },
      ['"initrd"', 'a Multiboot kernel', 'NASM source'],
    ],
    ['with a command line for none', { program: path, append: 'quiet' }, ['"append"', 'a Multiboot kernel']],
    ['with symbols beside its own', { program: path, symbolFile: '/x.elf' }, ['"symbolFile"', 'a flat binary']],
    [
      'with a read-only disk that there is not',
      { program: path, devices: { diskReadOnly: true } },
      ['"devices.diskReadOnly"', 'a "devices.disk"'],
    ],
    ['with a disk of no whole number of sectors', { program: path, devices: { disk: '1000' } }, ['512', '1000']],
    [
      'with a disk that is not there',
      { program: path, devices: { disk: '/no/such.img' } },
      ['disk image', '/no/such.img'],
    ],
    ['with devices that are no object', { program: path, devices: ['disk'] }, ['"devices"', 'an object']],
    [
      'with a program that is not there',
      { program: '/no/such.asm' },
      ['cannot be read', '/no/such.asm', 'heck the path'],
    ],
    ['with a cut ELF file', { program: '/guest/cut.elf' }, ['/guest/cut.elf']],
  ])('%s', async (_, attributes, parts) => {
    const message = await launchFailure(attributes);
    for (const part of parts) expect(message).toContain(part);
    expect(message).not.toMatch(/Internal error|\n\s+at /);
  });

  it('attach is refused', async () => {
    const dap = new Client();
    expect(await dap.failure('attach', {})).toContain('"request": "launch"');
  });
});

describe('a source that cannot be assembled', () => {
  it('has all its errors in the console, each with its place', async () => {
    const dap = new Client({ '/guest/bad.asm': 'bits 32\n  mvo eax, 1\n  jmp nowhere\n' });
    await dap.request('initialize', { adapterID: 'ringside' });
    expect(await dap.failure('launch', { program: '/guest/bad.asm' })).toMatch(
      /'mvo' .*\(\/guest\/bad.asm:2:3\)\. The Debug Console lists all 2 errors\.$/,
    );
    const errors = dap.events.filter(({ body }) => body?.category === 'stderr').map(({ body }) => body);
    expect(errors).toMatchObject([
      { line: 2, source: { path: '/guest/bad.asm' } },
      { line: 3, source: { path: '/guest/bad.asm' } },
    ]);
  });
});

describe('requests', () => {
  it('before launch, and unknown ones, have an answer', async () => {
    const dap = new Client();
    expect(await dap.failure('threads')).toContain('No program');
    expect((await dap.respond('nonsense')).message).toContain("'nonsense' is not supported");
  });

  it('about what is not there have an answer', async () => {
    const dap = new Client({ [path]: boot });
    await dap.launchStopped({ program: path });
    expect(await dap.failure('stackTrace', { threadId: 9 })).toContain('no such vCPU');
    expect(await dap.failure('scopes', { frameId: 99 })).toContain('frame is gone');
    expect(await dap.failure('variables', { variablesReference: 999 })).toContain('no such variables');
    expect(await dap.failure('disassemble', { memoryReference: 'x', instructionCount: 1 })).toContain('0x7c00');
    expect(await dap.failure('readMemory', { memoryReference: '0', count: 1e12 })).toContain('not read at once');
    expect(await dap.failure('writeMemory', { memoryReference: '0x500', data: '***' })).toContain('base64');
    expect(await dap.failure('setVariable', { variablesReference: 1, name: 'RAX', value: 'x' })).toMatch(
      /not known|no such/,
    );
    expect(await dap.failure('ringside/pageTables', { kind: 'guest', vcpu: 7 })).toContain('no such vCPU');
  });

  it('without arguments at all have an answer', async () => {
    const dap = new Client({ [path]: boot });
    await dap.launchStopped({ program: path });
    for (const command of [
      'evaluate',
      'stackTrace',
      'setBreakpoints',
      'variables',
      'ringside/translate',
      'disassemble',
    ]) {
      expect((await dap.respond(command)).success).toBe(false);
    }
    expect(await dap.evaluate('1 + 1')).toBe('2');
  });
});

describe('an engine that throws', () => {
  it('stops the session in words, with RIP and count, and it can be looked at', async () => {
    const dap = new Client({ [path]: boot });
    await dap.launchStopped({ program: path });
    const { control } = dap.server.session.debuggee;
    control.run = () => {
      throw new Error('internal error at RIP 0x7c00, instruction 0: broken');
    };
    expect(await dap.continue()).toMatchObject({ reason: 'exception', description: 'Internal error' });
    expect(dap.console('important')).toMatch(/RIP 0x7c00, instruction 0: broken/);
    expect(await dap.evaluate('ax')).toBe('0x0000');
  });
});

describe('a guest that runs wild', () => {
  it.each([
    ['into nothing', 'bits 32\norg 0x100000\nmain: jmp 0x90000000\n', 'Triple fault'],
    ['to a halt', 'bits 32\norg 0x100000\nmain: cli\nhlt\n', 'Halted'],
  ])('%s', async (_, source, text) => {
    const dap = new Client({ '/guest/wild.asm': source });
    await dap.launch({ program: '/guest/wild.asm' });
    await dap.request('setExceptionBreakpoints', { filters: ['triple-fault'] });
    await dap.request('configurationDone');
    expect(await dap.stopped()).toMatchObject({ reason: 'exception', text });
    const info = await dap.request('exceptionInfo', { threadId: 1 });
    expect(info.details?.message?.length).toBeGreaterThan(20);
  });

  it.each([
    [
      'none',
      'main: ud2',
      'began with #UD at RIP 0x100000: the interrupt table at 0x0 (limit 0x0) ends before the entry',
    ],
    [
      'hardware',
      'main: xor ecx, ecx\ndiv ecx',
      'began with #DE at RIP 0x100002: the interrupt table at 0x0 (limit 0x0)',
    ],
    ['none', 'main: mov rax, 1 << 40\nmov rax, [rax]', 'began with #PF(0x0) for 0x10000000000 at RIP 0x10000a'],
    ['none', 'main: int 0x80', 'began with INT 0x80 at RIP 0x100002'],
  ])('says what began it, virtualization %s: %s', async (virtualization, code, text) => {
    const dap = new Client({ '/guest/wild.asm': `bits 64\norg 0x100000\n${code}\n` });
    await dap.launch({ program: '/guest/wild.asm', virtualization });
    await dap.request('configurationDone');
    expect(await dap.stopped()).toMatchObject({ reason: 'exception', text: 'Shutdown' });
    const { description } = await dap.request('exceptionInfo', { threadId: 1 });
    expect(description).toContain(text);
    expect(description).toMatch(/the delivery of the double fault raised #GP\(0x43\)/);
  });
});
