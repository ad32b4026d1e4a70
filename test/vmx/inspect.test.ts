import { describe, expect, it } from 'vitest';
import { BLOCKING } from '../../engine/cpu/register-bits.ts';
import { exitCause } from '../../engine/inspect/exit-causes.ts';
import { explainEntryFailure, explainExit } from '../../engine/inspect/explain-exit.ts';
import { describeMsrIntercept } from '../../engine/inspect/msr-bitmap.ts';
import { findVmcsField, pokeVmcsField, vmcsView } from '../../engine/inspect/vmcs.ts';
import type { VmExitInfo } from '../../engine/vmx/exit.ts';
import { exitReasonTable } from '../../engine/vmx/exit-reasons.ts';
import { LAUNCH_STATE_OFFSET, LaunchState } from '../../engine/vmx/vmcs.ts';
import type { VmEntryFailure } from '../../engine/vmx/vmx.ts';
import { controls, insn, type Values, VMCS_REGION, VmxMachine } from './machine.ts';

const PRIMARY = 'Primary processor-based VM-execution controls';

function lastExit(values: Values, hex: string, prepare?: (m: VmxMachine) => void) {
  const m = new VmxMachine().inGuest(values);
  let info: VmExitInfo | undefined;
  m.vmx.onVmExit = (seen) => {
    info = seen;
  };
  prepare?.(m);
  m.step(hex);
  if (!info) throw new Error('expected a VM exit');
  return explainExit(info, m.state, m.physical);
}

describe('the VMCS view', () => {
  const m = new VmxMachine().inGuest();
  m.step(insn.cpuid);
  const view = vmcsView(m.physical, VMCS_REGION);
  const field = (name: string) => {
    const found = view?.fields.find((candidate) => candidate.name === name);
    if (!found) throw new Error(`no field ${name} in the view`);
    return found;
  };
  const parts = (name: string) => Object.fromEntries(field(name).parts.map((part) => [part.name, part.value]));

  it('has address, launch state and the values', () => {
    expect(view?.address).toBe(BigInt(VMCS_REGION));
    expect(view?.launchState).toBe('launched');
    expect(field('Guest RIP')).toMatchObject({ value: 0x8000n, widthBits: 64, group: 'Guest Register State' });
    expect(field('Guest CS selector').widthBits).toBe(16);
  });
  it('decodes controls bit by bit', () => {
    expect(parts(PRIMARY)).toMatchObject({ 'HLT exiting': '1', 'RDTSC exiting': '0' });
  });
  it('decodes exit reason, access rights and EPTP', () => {
    expect(field('Exit reason').parts[0]).toMatchObject({ value: '10', description: 'CPUID' });
    expect(parts('Guest CS access rights')).toMatchObject({ type: '11', L: '1', DPL: '0' });
    expect(parts('EPT pointer')).toMatchObject({ 'page-walk length': '4', 'EPT PML4 or PML5 table': '0x14000' });
  });
  it('is not there outside RAM', () => {
    expect(vmcsView(m.physical, 0x4000_0000)).toBeUndefined();
  });
});

describe('fields by name', () => {
  it.each(['Guest CS access rights', 'guest_cs_access_rights', 'GUEST-CS-ACCESS-RIGHTS', '0x4816', '18454'])(
    '%s',
    (name) => {
      expect(findVmcsField(name)?.encoding).toBe(0x4816);
    },
  );
  it('unknown names give nothing', () => {
    expect(findVmcsField('Guest CS colour')).toBeUndefined();
  });
  it('a value that does not fit is refused with what was expected', () => {
    const m = new VmxMachine().ready();
    const field = findVmcsField('Guest CS selector');
    if (!field) throw new Error('no field');
    expect(pokeVmcsField(m.physical, VMCS_REGION, field, 0x1_0000n)).toContain('16 bits wide');
    expect(pokeVmcsField(m.physical, VMCS_REGION, field, 0x1234n)).toBeUndefined();
    expect(m.read('Guest CS selector')).toBe(0x1234n);
  });
});

describe('exits in words', () => {
  it('CPUID: leaf, unconditional, skip the instruction', () => {
    const { title, values, explanation } = lastExit({}, insn.cpuid, (m) => m.state.setGpr(0, 0x4000_0000n));
    expect(title).toBe('VM exit: CPUID (10), leaf 0x40000000');
    expect(values).toMatchObject({ reason: 10n, rip: 0x8000n, leaf: 0x4000_0000n });
    expect(explanation.join('\n')).toMatch(/unconditionally[\s\S]*instruction length \(2\)/);
  });
  it('I/O: port, size, direction and the control', () => {
    const { title, values, explanation } = lastExit({}, 'e6 60');
    expect(title).toBe('VM exit: I/O instruction (30), OUT to port 0x60');
    expect(values).toMatchObject({ port: 0x60n, size: 1n, direction: 'out' });
    expect(explanation.join('\n')).toContain('"unconditional I/O exiting" is 1');
  });
  it('an owned bit of CR0: mask and shadow', () => {
    const { explanation } = lastExit({ 'CR0 guest/host mask': 8, 'CR0 read shadow': 8 }, '0f 06');
    expect(explanation.join('\n')).toContain('guest/host mask 0x8');
  });
  it('an exception: the bit of the bitmap', () => {
    const { title, explanation } = lastExit({ 'Exception bitmap': 1 << 6 }, '0f 0b');
    expect(title).toBe('VM exit: Exception or non-maskable interrupt (NMI) (0), #UD');
    expect(explanation.join('\n')).toContain('bit 6 of the exception bitmap is 1');
  });
});

describe('whether an access to an MSR exits', () => {
  const BITMAP = 0x3_1000;
  const USE_MSR_BITMAPS = 1 << 28;
  const described = (control: number, msr: number, access: 'read' | 'write') => {
    const m = new VmxMachine().inGuest({
      [PRIMARY]: controls('primary') | BigInt(control),
      'Address of MSR bitmaps': BITMAP,
    });
    m.physical.view.setUint8(BITMAP + 3 * 1024 + 0x82 / 8, 1 << 2);
    return describeMsrIntercept(m.physical, VMCS_REGION, msr, access);
  };
  it.each([
    [
      0xc000_0082,
      'write',
      'It exits: bit 0x82 of the MSR bitmap for writes of C0000000H to C0001FFFH (byte 0x31c10, bit 2) is 1.',
    ],
    [
      0xc000_0082,
      'read',
      'It does not exit: bit 0x82 of the MSR bitmap for reads of C0000000H to C0001FFFH (byte 0x31410, bit 2) is 0.',
    ],
    [
      0x82,
      'write',
      'It does not exit: bit 0x82 of the MSR bitmap for writes of 0 to 1FFFH (byte 0x31810, bit 2) is 0.',
    ],
    [0x4b56_4d00, 'read', 'It exits: MSR 0x4b564d00 is outside of both ranges of the MSR bitmaps.'],
  ] as const)('MSR %x, %s, with MSR bitmaps', (msr, access, sentence) => {
    expect(described(USE_MSR_BITMAPS, msr, access)).toBe(sentence);
  });
  it('without them every access does', () => {
    expect(described(0, 0x10, 'read')).toBe('It exits: “Use MSR bitmaps” is 0, so that every RDMSR and WRMSR does.');
  });
});

describe('failed VM entries in words', () => {
  const failure = (values: Values) => failureOf(new VmxMachine().ready(values), insn.vmlaunch);
  function failureOf(m: VmxMachine, instruction: string) {
    let seen: VmEntryFailure | undefined;
    m.vmx.onVmEntryFailure = (told) => {
      seen = told;
    };
    m.step(instruction);
    if (!seen) throw new Error('expected the VM entry to fail');
    return explainEntryFailure(seen, m.physical);
  }
  it('every broken rule of the guest, with the value and the section', () => {
    const { title, values, explanation } = failure({ 'Guest TR access rights': 0x1_008b, 'Guest RFLAGS': 0 });
    expect(title).toBe('VM-entry failure: VM-entry failure due to invalid guest state');
    expect(values).toMatchObject({ reason: 33n, rules: 'guest-tr-usable guest-rflags-reserved' });
    expect(explanation[0]).toBe(
      'Guest TR access rights = 0x1008b. TR must be usable: bit 16 of its access rights must be 0. (SDM volume 3, "Checks on Guest Segment Registers")',
    );
    expect(explanation).toHaveLength(3);
  });
  it('a wrong control: error 7', () => {
    const { title, values } = failure({ 'Pin-based VM-execution controls': controls('pin') | 0x100n });
    expect(title).toBe('VM-entry failure: VM-instruction error 7, VM entry with invalid control field(s)');
    expect(values).toMatchObject({ error: 7n, rules: 'pin-based-allowed' });
  });
  it.each([
    ['VMLAUNCH', 'launched', 4, 'entered again by VMRESUME'],
    ['VMRESUME', 'clear', 5, 'takes VMLAUNCH'],
  ] as const)('%s with a launch state of %s: error %i', (instruction, launchState, error, advice) => {
    const m = new VmxMachine().ready();
    m.physical.writeU32(m.state.currentVmcs + LAUNCH_STATE_OFFSET, LaunchState[launchState]);
    const { values, explanation } = failureOf(m, instruction === 'VMLAUNCH' ? insn.vmlaunch : insn.vmresume);
    expect(values).toMatchObject({ instruction, error: BigInt(error), rules: '' });
    expect(explanation[0]).toContain(advice);
  });
  it('an entry in the shadow of MOV SS: error 26', () => {
    const m = new VmxMachine().ready();
    m.state.interruptibility = BLOCKING.MOV_SS;
    const { values, explanation } = failureOf(m, insn.vmlaunch);
    expect(values).toMatchObject({ error: 26n, rules: '' });
    expect(explanation[0]).toContain('MOV SS');
  });
  it('an MSR that cannot be loaded: which entry', () => {
    const { explanation } = failure({ 'VM-entry MSR-load count': 1, 'VM-entry MSR-load address': 0x3_0000 });
    expect(explanation[0]).toContain('Entry 1 of the VM-entry MSR-load area, MSR 0x0 at host-physical 0x30000');
  });
});

describe('exits by controls that came later, in words', () => {
  it('VMREAD: the bitmap, or the control', () => {
    expect(lastExit({}, insn.vmreadRcxRax).explanation.join('\n')).toContain('"VMCS shadowing" is 0');
    const secondary = controls('secondary', 'Enable EPT', 'Enable VPID', 'VMCS shadowing');
    const values = { 'Secondary processor-based VM-execution controls': secondary, 'VMREAD-bitmap address': 0x1_8000 };
    const exit = lastExit(values, insn.vmreadRcxRax, (m) => m.physical.writeU8(0x1_8000, 1));
    expect(exit.explanation.join('\n')).toContain('VMREAD bitmap at 0x18000 is 1');
  });
  it('RDRAND: the control, and the destination', () => {
    const secondary = controls('secondary', 'Enable EPT', 'Enable VPID', 'RDRAND exiting');
    const { explanation } = lastExit({ 'Secondary processor-based VM-execution controls': secondary }, '0f c7 f1');
    expect(explanation.join('\n')).toContain('"RDRAND exiting" is 1');
  });
});

it('every exit reason says what causes it, but for signals, entry failures and what the CPU has no way to cause', () => {
  const info = { qualification: 0n, interruptionInformation: 0, interruptionErrorCode: 0, entryFailure: false };
  const without = exitReasonTable.filter(({ number, name }) => {
    const exit = { ...info, reason: number, name } as VmExitInfo;
    return exitCause(exit, () => 0n) === undefined;
  });
  expect(without.map(({ name }) => name)).toEqual([
    'INIT signal',
    'Start-up IPI (SIPI)',
    'I/O system-management interrupt (SMI)',
    'Other SMI',
    'GETSEC',
    'RSM',
    'VM-entry failure due to invalid guest state',
    'VM-entry failure due to MSR loading',
    'VM-entry failure due to machine-check event',
    'ENCLS',
    'XSAVES',
    'XRSTORS',
    'PCONFIG',
    'UMWAIT',
    'TPAUSE',
    'LOADIWKEY',
    'ENCLV',
    'ENQCMD PASID translation failure',
    'ENQCMDS PASID translation failure',
    'Bus lock',
    'Instruction timeout',
  ]);
});
