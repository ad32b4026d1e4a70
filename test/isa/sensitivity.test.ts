import { Code, CodeExt, Mnemonic } from 'iced-x86';
import { describe, expect, it } from 'vitest';
import { decodeOne } from '../../engine/isa/decode.ts';
import { classify, instructionFacts } from '../../engine/isa/sensitivity.ts';
import { controlGroups } from '../../engine/vmx/controls.ts';

const decoded = (bytes: readonly number[], codeSize: 16 | 32 | 64 = 64) => {
  const instruction = decodeOne(Uint8Array.from(bytes), codeSize, 0);
  if (!instruction) throw new Error('the bytes are no instruction');
  return instruction;
};

interface KnownCode {
  readonly name: string;
  readonly mnemonic: string;
  readonly isPrivileged: boolean;
  readonly alwaysExits: boolean;
  readonly mayExit: boolean;
}

function knownCodes(): KnownCode[] {
  const codes: KnownCode[] = [];
  for (const [name, code] of Object.entries(Code)) {
    if (typeof code !== 'number') continue;
    const info = CodeExt.opCode(code);
    const { isPrivileged, intelVmExit: alwaysExits, intelMayVmExit: mayExit } = info;
    const onIntel = info.isInstruction && (info.intelDecoder32 || info.intelDecoder64);
    if (onIntel) codes.push({ name, mnemonic: Mnemonic[info.mnemonic] ?? '', isPrivileged, alwaysExits, mayExit });
    info.free();
  }
  return codes;
}

/** Every key of a mnemonic: `Mov to cr0` belongs to `Mov`. */
const factsOf = (mnemonic: string) =>
  [...instructionFacts.values()].filter(({ key }) => key === mnemonic || key.startsWith(`${mnemonic} `));

describe('instruction facts', () => {
  it('are keyed by mnemonics of the decoder', () => {
    for (const key of instructionFacts.keys()) expect(Mnemonic, key).toHaveProperty(key.split(' ')[0] ?? '');
  });

  const rows: readonly (readonly [string, readonly number[], 16 | 32 | 64, boolean, boolean])[] = [
    ['ADD EAX, EBX', [0x01, 0xd8], 64, false, false],
    ['HLT', [0xf4], 64, true, true],
    ['CLI', [0xfa], 64, true, true],
    ['IN AL, DX', [0xec], 64, true, true],
    ['SGDT [RAX]', [0x0f, 0x01, 0x00], 64, false, true],
    ['POPFQ', [0x9d], 64, false, true],
    ['MOV CR0, RAX', [0x0f, 0x22, 0xc0], 64, true, true],
    ['MOV RAX, DR7', [0x0f, 0x21, 0xf8], 64, true, true],
    ['MOV AX, CS', [0x66, 0x8c, 0xc8], 64, false, true],
    ['MOV DS, AX', [0x8e, 0xd8], 64, false, true],
    ['MOV EAX, EBX', [0x89, 0xd8], 64, false, false],
    ['PUSH CS', [0x0e], 32, false, true],
    ['PUSH RAX', [0x50], 64, false, false],
    ['JMP FAR', [0xea, 0, 0, 0, 0, 8, 0], 32, false, true],
    ['CALL FAR [EAX]', [0xff, 0x18], 32, false, true],
    ['CALL NEAR', [0xe8, 0, 0, 0, 0], 64, false, false],
    ['RET FAR', [0xcb], 64, false, true],
    ['RET NEAR', [0xc3], 64, false, false],
    ['VMCALL', [0x0f, 0x01, 0xc1], 64, true, true],
    ['VMREAD RAX, RCX', [0x0f, 0x78, 0xc8], 64, true, true],
  ];
  it.each(rows)('classifies %s', (_name, bytes, codeSize, privileged, sensitive) => {
    const facts = classify(decoded(bytes, codeSize));
    expect([facts?.privileged ?? false, facts?.sensitive ?? false]).toEqual([privileged, sensitive]);
  });

  it('mark what Robin and Irvine list as sensitive and not privileged', () => {
    const keys =
      'Sgdt,Sidt,Sldt,Smsw,Str,Pushf,Popf,Lar,Lsl,Verr,Verw,Pop sreg,Push sreg,Call far,Jmp far,Int,Retf,Mov to sreg';
    for (const key of keys.split(',')) {
      expect(instructionFacts.get(key), key).toMatchObject({ privileged: false, sensitive: true });
    }
  });

  it('name controls of the VMCS as its tables do', () => {
    const names: readonly string[] = Object.values(controlGroups).flatMap(({ controls }) =>
      controls.map((one) => one.name),
    );
    const fields = /mask$|shadow$|bitmap$|values$/iu;
    const unknown = [...instructionFacts.values()]
      .flatMap(({ controls }) => controls)
      .filter((control) => !names.includes(control) && !fields.test(control));
    // A tertiary control; those are not in the tables.
    expect([...new Set(unknown)]).toEqual(['LOADIWKEY exiting']);
  });

  it('agree with the decoder’s metadata on what is privileged', () => {
    const missing = knownCodes().filter(
      ({ isPrivileged, mnemonic }) => isPrivileged && !factsOf(mnemonic).some((one) => one.privileged),
    );
    expect([...new Set(missing.map(({ mnemonic }) => mnemonic))].sort()).toEqual([...notIntels].sort());
  });

  it('agree with the decoder’s metadata on what exits from VMX non-root operation', () => {
    const wrong = knownCodes().filter(({ alwaysExits, mayExit, mnemonic }) => {
      const exits = factsOf(mnemonic).map((one) => one.vmExit);
      if (alwaysExits) return !exits.includes('unconditional');
      return mayExit && !exits.includes('conditional');
    });
    expect([...new Set(wrong.map(({ mnemonic }) => mnemonic))].sort()).toEqual([...otherExits].sort());
  });
});

/** Privileged in the metadata, but of other makers' processors, of old ones, or of modes that the machine does not have. */
const notIntels: readonly string[] = (
  'Storeall Loadall Cl1invmb Rmpadjust Rmpupdate Psmash Pvalidate Invlpgb Tlbsync Rdshr Wrshr Smint Dmint Rdm Svdc Rsdc ' +
  'Svldt Rsldt Svts Rsts Bb0_reset Bb1_reset Cpu_write Cpu_read Tdcall Seamret Seamops Seamcall Hreset Lkgs Eretu Erets ' +
  'Rdudbg Wrudbg Rmpquery Pbndkb'
).split(' ');
/**
 * Exits in the metadata: INT1, INT3 and UDn by the exception that they raise, which the exception bitmap decides; RSM
 * in system-management mode. SMSW reads through the mask and the shadow and does not exit (SDM volume 3, "Changes to
 * Instruction Behavior in VMX Non-Root Operation"). The rest is not of this processor.
 */
const otherExits: readonly string[] = 'Int3 Int1 Smsw Ud2 Rsm Pcommit Ud1 Ud0 Tdcall Seamcall Senduipi'.split(' ');
