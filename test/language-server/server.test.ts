import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type {
  CompletionItem,
  DocumentLink,
  DocumentSymbol,
  FoldingRange,
  Hover,
  InlayHint,
  SemanticTokens,
} from 'vscode-languageserver-protocol';
import { client, opened, uri } from './opened.ts';

const hoverText = (hover: Hover | null): string => (hover?.contents as { value: string } | undefined)?.value ?? '';

describe('diagnostics', () => {
  it('gives all errors with their ranges, and takes them back', async () => {
    const { client } = await opened('bits 64\n  mvo eax, 1\n  mov eax, missing\n');
    const found = await client.diagnosticsOf(uri);
    expect(found.map(({ range, severity }) => [range.start.line, range.start.character, severity])).toEqual([
      [1, 2, 1],
      [2, 11, 1],
    ]);
    expect(found[1]?.message).toContain("'missing' is not defined");
    await client.change(uri, 'bits 64\n  mov eax, 1\n');
    expect(await client.diagnosticsOf(uri, (list) => list.length === 0)).toEqual([]);
  });

  it('checks once for changes that come together', async () => {
    const made = await client();
    let published = 0;
    made.connection.onUnhandledNotification(() => undefined);
    await made.open(uri, 'bits 64\n');
    await made.diagnosticsOf(uri);
    made.connection.onNotification('textDocument/publishDiagnostics', ({ diagnostics }) => {
      published++;
      made.diagnostics.set(uri, diagnostics);
    });
    for (let i = 0; i < 20; i++) void made.change(uri, `bits 64\n mov eax, missing${i}\n`);
    // A request is answered after the changes before it; the check comes after all of them.
    await made.on('textDocument/documentSymbol', uri);
    while (!`${made.diagnostics.get(uri)?.[0]?.message}`.includes('missing19')) await new Promise(setImmediate);
    expect(published).toBeLessThan(5);
  });

  it('reads included files through the client, and reports errors where they are', async () => {
    const include = 'file:///work/inc/lib.inc';
    const { client } = await opened('%include "inc/lib.inc"\n call helper\n', {
      [include]: 'helper:\n  mov eax, nothing\n  ret\n',
    });
    const found = await client.diagnosticsOf(include, (list) => list.length > 0);
    expect(found[0]?.range.start).toEqual({ line: 1, character: 11 });
    expect(client.diagnostics.get(uri)).toEqual([]);
    expect(client.requestedFiles).toContain(include);
  });

  it('takes an open included file as it stands in the editor', async () => {
    const include = 'file:///work/lib.inc';
    const { client } = await opened('%include "lib.inc"\n mov eax, VALUE\n', { [include]: 'NOTHING equ 1\n' });
    expect(await client.diagnosticsOf(uri)).toHaveLength(1);
    await client.open(include, 'VALUE equ 1\n');
    expect(await client.diagnosticsOf(uri, (list) => list.length === 0)).toEqual([]);
  });

  it('names a file that is not there', async () => {
    const { client } = await opened('%include "gone.inc"\n');
    const [found] = await client.diagnosticsOf(uri);
    expect(found?.message).toContain("'gone.inc' cannot be read");
  });

  it('finds a file whose name a macro builds', async () => {
    const include = 'file:///work/lib.inc';
    const { client } = await opened('%define NAME "lib.inc"\n%include NAME\n mov ax, VALUE\n', {
      [include]: 'VALUE equ 1\n',
    });
    expect(await client.diagnosticsOf(uri)).toEqual([]);
  });
});

describe('outline', () => {
  it('nests local labels, sections, macros and structures', async () => {
    const { client } = await opened(
      [
        'section .text',
        'start:',
        '.loop: jmp .loop',
        'other: ret',
        '%macro say 1',
        '%endmacro',
        'struc point',
        '.x: resd 1',
        'endstruc',
        'SIZE equ 4',
      ].join('\n'),
    );
    const symbols = await client.on<DocumentSymbol[]>('textDocument/documentSymbol', uri);
    const tree = (list: readonly DocumentSymbol[]): unknown[] =>
      list.map(({ name, children }) => (children?.length ? [name, tree(children)] : name));
    expect(tree(symbols)).toEqual([['.text', [['start', ['.loop']], 'other', 'say', ['point', ['.x']], 'SIZE']]]);
  });
});

describe('completion', () => {
  const labels = async (source: string): Promise<Map<string, CompletionItem>> => {
    const { client, at } = await opened(source);
    const items = await client.at<CompletionItem[]>('textDocument/completion', uri, at('here'));
    return new Map(items.map((item) => [item.label, item]));
  };

  it('offers mnemonics of the code size', async () => {
    const items = await labels('bits 64\n  sy‹here›\n');
    expect(items.has('syscall')).toBe(true);
    expect(items.has('pusha')).toBe(false);
    expect((await labels('bits 32\n  pu‹here›\n')).has('pusha')).toBe(true);
  });

  it('offers macros and directives at the start of a line', async () => {
    const items = await labels('%macro say 1\n%endmacro\n‹here›\n');
    expect(items.get('say')?.detail).toBe('macro 1');
    expect(items.has('section')).toBe(true);
  });

  it('offers registers, labels, local labels and constants as operands', async () => {
    const items = await labels('bits 32\nSIZE equ 1\nstart:\n.loop: nop\n  mov eax, ‹here›\n');
    for (const label of ['ebx', 'SIZE', 'start', '.loop', 'dword']) expect(items.has(label), label).toBe(true);
    expect(items.has('r8')).toBe(false);
  });

  it.each(['%define GUEST_RIP ‹here›', 'FIELD equ ‹here›', '  vmread rax, ‹here›', '  mov eax, ‹here›'])(
    'offers VMCS fields with their encodings: %s',
    async (line) => {
      const item = (await labels(`bits 64\n${line}\n`)).get('Guest RIP');
      expect(item?.textEdit?.newText).toBe('0x681E');
      expect(item?.filterText).toBe('GUEST_RIP');
    },
  );

  it('leaves out read-only fields after VMWRITE', async () => {
    const items = await labels('bits 64\n  vmwrite ‹here›\n');
    expect(items.has('Guest RIP')).toBe(true);
    expect(items.has('Exit reason')).toBe(false);
  });

  it('offers preprocessor directives after %', async () => {
    expect((await labels('%inc‹here›\n')).get('%include')?.textEdit?.newText).toBe('%include');
  });

  it('offers nothing in comments and strings', async () => {
    expect((await labels('  nop ; mo‹here›\n')).size).toBe(0);
    expect((await labels("  db 'mo‹here›\n")).size).toBe(0);
  });

  it('documents the selected item', async () => {
    const { client, at } = await opened('bits 64\n  h‹here›\n');
    const items = await client.at<CompletionItem[]>('textDocument/completion', uri, at('here'));
    const halt = items.find((item) => item.label === 'hlt') as CompletionItem;
    const resolved = await client.connection.sendRequest<CompletionItem>('completionItem/resolve', halt);
    expect((resolved.documentation as { value: string }).value).toContain('HLT exiting');
  });
});

describe('hover', () => {
  const hovered = async (source: string): Promise<string> => {
    const { client, at } = await opened(source);
    return hoverText(await client.at<Hover | null>('textDocument/hover', uri, at('here')));
  };

  it('explains an instruction: operation, encoding, flags, modes', async () => {
    const text = await hovered('bits 64\n  ‹here›adc eax, ebx\n');
    expect(text).toContain('Add With Carry');
    expect(text).toContain('temp := (DEST + SRC) + CF');
    expect(text).toContain('`11 D8`');
    expect(text).toContain('reads CF; writes CF, PF, AF, ZF, SF, OF');
    expect(text).toContain('unprivileged');
  });

  it('keeps form and operation while there are errors elsewhere', async () => {
    const text = await hovered('bits 64\n  ‹here›adc [rax], ebx\n  mov eax, missing\n');
    expect(text).toContain('temp := (DEST + SRC) + CF');
    expect(text).not.toContain('Bytes');
    expect(text).toContain('#PF(code)');
  });

  it.each([
    ['hlt', 'HLT exiting', 'It raises #GP(0).', 'Sensitive and privileged'],
    ['cpuid', 'It always causes a VM exit', 'It executes, as in ring 0.', 'Ring 3'],
    ['sgdt [rax]', 'Descriptor-table exiting', 'CR4.UMIP', 'Sensitive, but not privileged'],
    ['mov cr3, rax', 'CR3-load exiting', 'It raises #GP(0).', 'Sensitive and privileged'],
    ['mov ds, ax', 'No VM exit', '#GP(selector)', 'Sensitive, but not privileged'],
    ['popfq', 'No VM exit', 'silently leaves IOPL', 'Sensitive, but not privileged'],
    ['vmlaunch', 'any ring of the guest', 'VMX root operation', 'VMfailInvalid'],
    ['in al, dx', 'Use I/O bitmaps', 'IOPL', 'Sensitive and privileged'],
  ])('tells what %s does in which ring and as a guest', async (line, ...expected) => {
    const text = await hovered(`bits 64\n  ‹here›${line}\n`);
    for (const part of expected) expect(text).toContain(part);
  });

  it('explains an instruction in a macro that is not used', async () => {
    expect(await hovered('bits 64\n%macro m 1\n  ‹here›add eax, %1\n%endmacro\n')).toContain('DEST := DEST + SRC');
  });

  it('shows the value of a label with the comment above it', async () => {
    const text = await hovered('org 7C00h\n  jmp ‹here›start\n; Where it begins.\nstart: hlt\n');
    expect(text).toContain('Where it begins.');
    expect(text).toContain('`7C02h`');
    expect(text).toContain('`31746`');
  });

  it('shows numbers in three bases', async () => {
    const text = await hovered('  mov ax, ‹here›0FFFFh\n');
    expect(text).toContain('`65535`');
    expect(text).toContain('1111_1111_1111_1111b');
  });

  it('names the VMCS field of an encoding', async () => {
    expect(await hovered('bits 64\n  mov edx, ‹here›0x681E\n  vmread rax, rdx\n')).toContain('*Guest RIP*');
  });

  it('explains registers', async () => {
    expect(await hovered('bits 64\n  mov ‹here›eax, 1\n')).toContain('clears bits 63:32 of RAX');
    expect(await hovered('bits 64\n  mov rax, ‹here›cr3\n')).toContain('top paging structure');
  });
});

describe('semantic tokens', () => {
  it('sets privileged and sensitive instructions apart', async () => {
    const source = 'bits 64\n  add eax, 1\n  hlt\n  popfq\n  mov cr3, rax\n  mov ecx, eax\n  mov ax, cs\n';
    const made = await client();
    const { semanticTokensProvider } = (await made.start()).capabilities;
    await made.open(uri, source);
    const legend = semanticTokensProvider?.legend;
    const { data } = await made.on<SemanticTokens>('textDocument/semanticTokens/full', uri);
    const mnemonics: [number, string[]][] = [];
    for (let i = 0, line = 0; i < data.length; i += 5) {
      line += data[i] ?? 0;
      const bits = data[i + 4] ?? 0;
      if (legend?.tokenTypes[data[i + 3] ?? 0] === 'mnemonic')
        mnemonics.push([line, legend.tokenModifiers.filter((_name, bit) => bits & (1 << bit))]);
    }
    expect(mnemonics).toEqual([
      [1, []],
      [2, ['privileged', 'sensitive']],
      [3, ['sensitive']],
      [4, ['privileged', 'sensitive']],
      [5, []],
      [6, ['sensitive']],
    ]);
  });
});

describe('structure', () => {
  it('folds macros, conditions, labels and comments', async () => {
    const { client } = await opened(
      '; one\n; two\n%if 1\n nop\n%else\n nop\n%endif\n%macro m 0\n nop\n%endmacro\na:\n nop\nb: nop\n',
    );
    const found = await client.on<FoldingRange[]>('textDocument/foldingRange', uri);
    const lines = found.map(({ startLine, endLine }) => `${startLine}-${endLine}`);
    for (const range of ['0-1', '2-3', '4-5', '7-9', '10-11']) expect(lines).toContain(range);
  });

  it('links to included files', async () => {
    const include = 'file:///work/lib.inc';
    const { client } = await opened('%include "lib.inc"\n%include "gone.inc"\n', { [include]: '' });
    const links = await client.on<DocumentLink[]>('textDocument/documentLink', uri);
    expect(links).toHaveLength(1);
    expect(links[0]).toMatchObject({
      target: include,
      range: { start: { line: 0, character: 10 }, end: { line: 0, character: 17 } },
    });
  });

  it('shows encoded bytes only if asked to', async () => {
    const range = { start: { line: 0, character: 0 }, end: { line: 9, character: 0 } };
    const { client: without } = await opened('bits 64\n  nop ; no operation\n');
    expect(await without.on('textDocument/inlayHint', uri, { range })).toEqual([]);
    const made = await client({}, { encodedBytes: true });
    await made.open(uri, 'bits 64\n  nop ; no operation\n');
    await made.diagnosticsOf(uri);
    const [hint] = await made.on<InlayHint[]>('textDocument/inlayHint', uri, { range });
    expect(hint).toMatchObject({ label: '90', position: { line: 1, character: 5 } });
  });
});

describe('any text', () => {
  const sample = readFileSync(new URL('../../samples/tiny-hypervisor/tiny-hypervisor.asm', import.meta.url), 'utf8');

  it('answers every request at every stage of typing', async () => {
    const made = await client();
    const lines = sample.split('\n').slice(0, 60).join('\n');
    await made.open(uri, '');
    for (let length = 0; length < lines.length; length += 97) {
      const text = lines.slice(0, length);
      await made.change(uri, text);
      const line = text.split('\n').length - 1;
      const position = { line, character: text.length - text.lastIndexOf('\n') - 1 };
      await Promise.all([
        made.at('textDocument/hover', uri, position),
        made.at('textDocument/completion', uri, position),
        made.at('textDocument/definition', uri, position),
        made.on('textDocument/semanticTokens/full', uri),
        made.on('textDocument/documentSymbol', uri),
        made.on('textDocument/foldingRange', uri),
      ]);
    }
  });

  it.each([
    ...['rings', 'paging', 'sensitive', 'tiny-hypervisor', 'virtio-block'].map((name) => [name, name] as const),
    ...['host-tr', 'lost-event', 'msr-bitmap'].map((name) => ['broken-hypervisors', name] as const),
  ])('has no complaint about %s/%s', async (folder, name) => {
    const folders = ['include', 'tiny-hypervisor', folder].map(
      (name) => new URL(`../../samples/${name}/`, import.meta.url),
    );
    const included = folders.flatMap((folder) => readdirSync(folder).map((file) => new URL(file, folder)));
    const made = await client(Object.fromEntries(included.map((file) => [file.href, readFileSync(file, 'utf8')])));
    const { href } = new URL(`../../samples/${folder}/${name}.asm`, import.meta.url);
    await made.open(href, readFileSync(new URL(href), 'utf8'));
    expect(await made.diagnosticsOf(href)).toEqual([]);
  });
});
