import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withInstruction } from '../fuzz/fuzz-case.ts';
import { isLackedHere } from '../support/own-features.ts';
import { defaultRegisters, type Mode, patternByte, regionContents, regionsOf } from './layout.ts';
import { parseVectors, readVectors, type Vector, vectorGroups, vectorText } from './read-vectors.ts';
import { formsOf } from './record/forms.ts';
import { canExecute, canRecord, compileRecorder, execute, type Outcome } from './record/harness.ts';
import { writeVectors } from './write-vectors.ts';

const MODES: Mode[] = [64, 32, 16];
const groupsOf = (mode: Mode) => vectorGroups().filter((group) => group.startsWith(`${mode}-`));
const vectorsOf = (mode: Mode) => groupsOf(mode).flatMap((group) => [...readVectors(group)]);
const CONDITIONS = 'o no b ae e ne be a s ns p np l ge le g'.split(' ');

/** Mnemonics that user code has in every mode, as they begin the names of forms. */
const EVERYWHERE = [
  ...'Mov Movzx Movsx Xchg Bswap Lea Push Pop Pushfw Popfw Lahf Sahf Cbw Cwde Cwd Cdq Xlat Enterw Leavew'.split(' '),
  ...'Add Adc Sub Sbb Cmp Neg Inc Dec Mul Imul Div Idiv And Or Xor Not Test'.split(' '),
  ...'Rol Ror Rcl Rcr Shl Shr Sal Sar Shld Shrd Bt Bts Btr Btc Bsf Bsr'.split(' '),
  ...'Movsb Movsw Movsd Stosb Stosw Stosd Lodsb Lodsw Lodsd Scasb Scasw Scasd Cmpsb Cmpsw Cmpsd'.split(' '),
  ...'Cmpxchg Cmpxchg8b Xadd Clc Stc Cmc Cld Std Jmp Call Loop Loope Loopne Int3 Ud2 Nop Pause'.split(' '),
  ...CONDITIONS.flatMap((condition) => [`Cmov${condition}`, `Set${condition}`, `J${condition}`]),
];
const IN_MODE: Record<Mode, string[]> = {
  64: 'Movsxd Cdqe Cqo Movsq Stosq Lodsq Scasq Cmpsq Cmpxchg16b Jrcxz Jecxz Retnq Pushfq Popfq Enterq Leaveq Hlt'.split(
    ' ',
  ),
  32: 'Aaa Aas Aam Aad Daa Das Salc Into Bound Arpl Pushaw Pushad Popaw Popad Retnd Pushfd Popfd Enterd Leaved'.split(
    ' ',
  ),
  16: 'Aaa Aas Aam Aad Daa Das Salc Into Bound Pushaw Pushad Popaw Popad Retnw Retnd Retfw Iretw Lds Les Lfs Lgs Lss'.split(
    ' ',
  ),
};

describe('the vectors', () => {
  it.each(vectorGroups())('%s: what is read is what is written', (group) => {
    const text = vectorText(group);
    const title = text.slice(2, text.indexOf('\n'));
    expect(writeVectors(title, [...readVectors(group)])).toBe(text);
  });

  it.each(MODES)('%i-bit: every general-purpose form is recorded, or is known not to be', (mode) => {
    const { recorded, excluded, ungrouped } = formsOf(mode);
    const present = new Set(vectorsOf(mode).map((vector) => vector.name));
    expect(ungrouped).toEqual([]);
    expect(recorded.filter((form) => !present.has(form.name)).map((form) => form.name)).toEqual([]);
    expect([...excluded.values()].every((reason) => reason.length > 0)).toBe(true);
  });

  it.each(MODES)('%i-bit: every mnemonic of user code is there', (mode) => {
    const mnemonics = new Set(vectorsOf(mode).map((vector) => vector.name.split('_')[0]));
    expect([...EVERYWHERE, ...IN_MODE[mode]].filter((mnemonic) => !mnemonics.has(mnemonic))).toEqual([]);
  });

  it('ADD of 64-bit registers agrees with addition', () => {
    const additions = [...readVectors('64-add-subtract')].filter(
      ({ name, bytes }) => name === 'Add_rm64_r64' && (bytes[2] ?? 0) >= 0xc0 && bytes.length === 3,
    );
    expect(additions.length).toBeGreaterThan(10);
    for (const { bytes, input, output, id } of additions) {
      const [rex = 0, , modrm = 0] = bytes;
      const destination = (modrm & 7) + ((rex & 1) << 3);
      const source = ((modrm >> 3) & 7) + ((rex & 4) << 1);
      const [a = 0n, b = 0n] = [input.gpr[destination], input.gpr[source]];
      expect(output.gpr[destination], id).toBe(BigInt.asUintN(64, a + b));
      expect(output.flags & 1, id).toBe(Number((a + b) >> 64n));
    }
  });

  it('memory lies within the regions, and every byte of a region is known', () => {
    for (const mode of MODES) {
      const regions = regionsOf(mode);
      const isInside = (address: number) =>
        regions.some((r) => address >= r.address && address < r.address + r.lengthBytes);
      const outside = vectorsOf(mode).filter((vector) =>
        [...vector.input.memory, ...vector.output.memory].some(
          ({ address, bytes }) => !isInside(address) || !isInside(address + bytes.length - 1),
        ),
      );
      expect(outside.map((vector) => vector.id)).toEqual([]);
      const data = regions.find((region) => region.fill === 'pattern');
      if (data) expect(regionContents(data)[5]).toBe(patternByte(data.address + 5));
    }
  });

  it('an exception carries its vector, error code and address', () => {
    const faults = [...readVectors('64-faults')];
    const write = faults.find((vector) => vector.name === 'PageFault_write');
    expect(write?.output.exception).toEqual({ vector: 14, errorCode: 6, linearAddress: 0x25_0010n });
    expect(write?.output.rip).toBe(write?.input.rip);
    expect([...readVectors('16-interrupt')].find((v) => v.name === 'Int3')?.output.exception).toEqual({ vector: 3 });
  });
});

describe('the reader', () => {
  const parse = (line: string) => [...parseVectors('64-x', `form Nop mask=cd5\ncode 90 nop\n${line}\n`)];

  it('gives defaults, changes and the next instruction', () => {
    const [vector] = parse(' rbx=7 m=1 f=202 @200000=0102 > rbx=8 f=203 @200001=ff');
    expect(vector?.input.gpr).toEqual(defaultRegisters(64).map((value, n) => (n === 3 ? 7n : value)));
    expect(vector?.output).toMatchObject({ flags: 0x203, rip: (vector?.input.rip ?? 0n) + 1n });
    expect(vector?.output.memory).toEqual([{ address: 0x20_0001, bytes: Uint8Array.of(0xff) }]);
    expect(vector?.flagsMask).toBe(1);
  });

  it('says where the text is malformed', () => {
    expect(() => parse(' rbx=7 f=202')).toThrow('64-x.txt:3: expected INPUT > OUTPUT');
    expect(() => parse(' rqx=7 > -')).toThrow('expected a register');
    expect(() => parse(' rbx=7 > @200000=012')).toThrow('expected hexadecimal bytes');
    expect(() => parse('from Nop')).toThrow('expected "form NAME');
  });
});

/** Groups that depend on more than the architecture: a processor's last bits, or a kernel's choices. */
const NOT_EXECUTED_AGAIN = /bit-manipulation|faults|privileged|undefined|state-saving|transcendental/;

const folder = join(tmpdir(), `ringside-vectors-${process.pid}`);
const program = canRecord() ? compileRecorder(folder, new URL('record/', import.meta.url)) : '';
const executable = program === '' ? [] : MODES.filter((mode) => canExecute(program, mode));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('executed again on this CPU (skipped without gcc on x86-64 Linux, or where the kernel refuses)', () => {
  for (const mode of MODES) {
    it.skipIf(!executable.includes(mode))(`${mode}-bit: a sample gives the same`, () => {
      const sample = groupsOf(mode)
        .filter((group) => !NOT_EXECUTED_AGAIN.test(group))
        .flatMap((group) => [...readVectors(group)].filter((_, n) => n % 10 === 0))
        .filter(({ bytes }) => !withInstruction(bytes, mode, isLackedHere));
      const outcomes = execute(program, mode, sample);
      expect(sample.map((vector, n) => difference(vector, outcomes[n])).filter(Boolean)).toEqual([]);
    });
  }
});

describe('x87 and vector state around an instruction (skipped as above)', () => {
  /** What `code` does in 64-bit mode to the items of `text`, as the items that changed. */
  const changes = (text: string, code: string) => {
    const [vector] = parseVectors('64-x', `form X mask=0\ncode ${code} x\n ${text} > -\n`);
    const [outcome] = vector ? execute(program, 64, [vector]) : [];
    if (!vector || !outcome) throw new Error('expected an outcome');
    const written = writeVectors('x', [{ ...vector, output: outcome }]);
    return written.slice(written.lastIndexOf(' > ') + 3).trim();
  };
  const check = it.skipIf(!executable.includes(64));

  check('what an instruction leaves alone comes back', () => {
    const everything =
      'fpr2=3fffc000000000000000 xmm5=1 ymm5h=2 fcw=27f fsw=2800 ftw=24 fop=123 mxcsr=9fc0 fip=7fff00001234 fdp=5678';
    expect(changes(`${everything} f=202`, '90')).toBe('-');
    expect(changes('xmm0=0 ymm0h=0 ftw=0 f=202', '90'), 'components in their initial configuration').toBe('-');
  });

  check('registers, whichever set they belong to', () => {
    expect(changes('xmm1=100000002 xmm2=30000000a f=202', '660ffeca'), 'PADDD').toBe('xmm1=40000000c');
    expect(changes('xmm1=1 xmm2=2 f=202', 'c5f1fec2'), 'VPADDD of 128 bits clears the upper half').toBe(
      'xmm0=3 ymm0h=0',
    );
    expect(changes('fpr7=0 fsw=3800 ftw=80 f=202', 'd9e8'), 'FLD1').toBe('fpr6=3fff8000000000000000 fsw=3000 ftw=c0');
    expect(changes('fsw=1800 f=202', '0f6ec8'), 'MOVD makes all of them valid and the first the top').toBe(
      'fpr1=ffff00000000a4a5a6a7 fsw=0 ftw=ff',
    );
  });

  check('exceptions that are not masked', () => {
    expect(changes('xmm1=3f800000 xmm2=0 mxcsr=1d80 f=202', 'f30f5eca'), '#XM: DIVSS by zero').toBe(
      'mxcsr=1d84 rip=100800 exc=19',
    );
    expect(
      changes('fpr0=3fff8000000000000000 fpr1=0 ftw=3 fcw=37b f=202', 'd8f1'),
      'FDIV by zero leaves it pending',
    ).toBe('fsw=8084 fop=f1 fip=100800');
    expect(changes('fcw=37e fsw=8081 f=202', '9b'), '#MF: FWAIT').toBe('rip=100800 exc=16');
  });
});

function difference(vector: Vector, outcome: Outcome | undefined): string {
  const seen = (state: Outcome | undefined) =>
    JSON.stringify(state && { ...state, flags: state.flags & vector.flagsMask }, (_, value) =>
      typeof value === 'bigint' ? value.toString(16) : value instanceof Uint8Array ? [...value] : value,
    );
  const [expected, found] = [seen(inOrder(vector.output)), seen(outcome && inOrder(outcome))];
  return expected === found ? '' : `${vector.id}: ${vector.disassembly}: expected ${expected}, found ${found}`;
}

const inOrder = ({ gpr, flags, rip, segments, extended, memory, exception }: Outcome): Outcome => ({
  gpr,
  flags,
  rip,
  segments,
  extended,
  memory,
  ...(exception ? { exception } : {}),
});
