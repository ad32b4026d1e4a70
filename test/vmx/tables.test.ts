import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { vmxCapabilityMsrs } from '../../engine/vmx/capability-msrs.ts';
import { allowedSettings, type ControlGroupName, controlGroups } from '../../engine/vmx/controls.ts';
import { exitReason } from '../../engine/vmx/exit-reasons.ts';
import { isReadOnly, vmcsFields } from '../../engine/vmx/fields.ts';
import { offsetOf, supportedFields, VMCS_BYTES, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { VmxMachine } from './machine.ts';

const unify = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]+/g, '_');

describe('the table of VMCS fields', () => {
  it('names and encodings are unique, and the fields fit the region', () => {
    expect(new Set(vmcsFields.map(({ name }) => name)).size).toBe(vmcsFields.length);
    expect(new Set(vmcsFields.map(({ encoding }) => encoding)).size).toBe(vmcsFields.length);
    const last = vmcsFields.at(-1);
    expect(last && offsetOf(last.name) + 8 <= VMCS_BYTES).toBe(true);
  });
  it('groups agree with the type in bits 11:10 of the encoding', () => {
    const types: Record<string, number> = {
      'Guest Register State': 2,
      'Guest Non-Register State': 2,
      'Host State': 3,
      'VM-Execution Control': 0,
      'VM-Exit Control': 0,
      'VM-Entry Control': 0,
      'VM-Exit Information': 1,
    };
    for (const { encoding, group, name } of vmcsFields) expect((encoding >> 10) & 3, name).toBe(types[group]);
    expect(
      vmcsFields.filter(({ encoding }) => isReadOnly(encoding)).every(({ group }) => group === 'VM-Exit Information'),
    );
  });
  it('every field that the samples name is there, with the same encoding', () => {
    const text = readFileSync(new URL('../../samples/tiny-hypervisor/vmcs.inc', import.meta.url), 'utf8');
    const encodings = new Map(vmcsFields.map(({ name, encoding }) => [unify(name), encoding]));
    const fields = text.slice(text.indexOf('; 16-bit control fields'), text.indexOf('; Bits of the VM-execution'));
    const named = [...fields.matchAll(/^(\w+)\s+equ ([0-9A-F]+)h/gm)];
    expect(named.length).toBeGreaterThan(100);
    for (const [, name = '', encoding = ''] of named) {
      expect(encodings.get(name.toLowerCase()), name).toBe(Number.parseInt(encoding, 16));
    }
  });
  it('fields whose controls are not supported do not exist', () => {
    const names = supportedFields.map(({ name }) => name);
    expect(names).toContain('EPT pointer');
    expect(names).not.toContain('ENCLS-exiting bitmap');
  });
});

describe('capability MSRs', () => {
  const msr = (index: number): bigint => {
    const found = vmxCapabilityMsrs.find((candidate) => candidate.index === index);
    if (!found) throw new Error(`no MSR ${index}`);
    return found.read(new VmxMachine().cpu);
  };
  it('IA32_VMX_BASIC: revision, 4-KiB regions, write-back, INS/OUTS information, TRUE registers', () => {
    expect(msr(0x480)).toBe(BigInt(VMCS_REVISION) | (0x1000n << 32n) | (6n << 50n) | (3n << 54n));
  });
  it('IA32_VMX_MISC: VMWRITE to any field, software events of length 0, activity states, CR3-target values', () => {
    expect(msr(0x485)).toBe((3n << 29n) | (4n << 16n) | 0x1e5n);
  });
  it('IA32_VMX_EPT_VPID_CAP: advanced information of EPT violations among them', () => {
    expect((msr(0x48c) >> 22n) & 1n).toBe(1n);
  });
  it('the default1 bits of the appendix', () => {
    expect([0x481, 0x482, 0x483, 0x484].map((index) => msr(index) & 0xffff_ffffn)).toEqual([
      0x16n,
      0x0401_e172n,
      0x3_6dffn,
      0x11ffn,
    ]);
    expect([0x48d, 0x48e, 0x48f, 0x490].map((index) => msr(index) & 0xffff_ffffn)).toEqual([
      0x16n,
      0x0400_6172n,
      0x3_6dfbn,
      0x11fbn,
    ]);
  });
  it.each(Object.keys(controlGroups) as ControlGroupName[])('%s: what must be 1 may be 1', (group) => {
    const { allowed0, trueAllowed0, allowed1 } = allowedSettings(group);
    expect((allowed0 & ~allowed1) >>> 0).toBe(0);
    expect((trueAllowed0 & ~allowed0) >>> 0).toBe(0);
  });
  it('CR4_FIXED1 has what CR4 can hold, VMXE among it', () => {
    expect(msr(0x489) & 0x2000n).toBe(0x2000n);
    expect(msr(0x489) & msr(0x488)).toBe(msr(0x488));
  });
});

describe('exit reasons', () => {
  it.each([
    [10, 'CPUID'],
    [30, 'I/O instruction'],
    [48, 'EPT violation'],
    [58, 'INVPCID'],
  ])('%i is %s', (number, name) => {
    expect(exitReason(number)?.name).toBe(name);
  });
  it('numbers that the manual does not give have no row', () => {
    expect(exitReason(35)).toBeUndefined();
  });
});
