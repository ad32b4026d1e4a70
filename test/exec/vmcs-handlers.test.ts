/** VMREAD and VMWRITE in WebAssembly do exactly what their functions do, to which a filter for such instructions leads. */
import { describe, expect, test } from 'vitest';
import { PAGE_BYTES } from '../../engine/cpu/memory-map.ts';
import { widthOf } from '../../engine/vmx/fields.ts';
import { supportedFields, VMCS_REVISION } from '../../engine/vmx/vmcs.ts';
import { type GuestRun, guestFromSource, runToEnd } from '../vmm/run-guest.ts';

const VMCS = 0x20_1000;
const RESULTS = 0x30_0000;
const RESULT_BYTES = 24;
const ENCODINGS = 0x7010;

/** A 64-bit program in VMX root operation with a current VMCS. */
const inRoot = (body: string) => `
bits 64
org 0x100000
  mov ecx, 0x3a
  rdmsr
  test al, 1
  jnz .locked
  or eax, 5
  wrmsr
.locked:
  mov rax, cr0
  or rax, 0x20
  mov cr0, rax
  mov rax, cr4
  or rax, 0x2000
  mov cr4, rax
  mov dword [0x200000], ${VMCS_REVISION}
  mov dword [${VMCS}], ${VMCS_REVISION}
  mov esp, 0x180000
  vmxon [region]
  vmclear [vmcs]
  vmptrld [vmcs]
${body}
  hlt
region: dq 0x200000
vmcs: dq ${VMCS}
`;

/** Writes and reads every encoding, and some beyond; keeps what was read, and the flags of both. */
const ALL_FIELDS = inRoot(`
  mov r12, 0x123456789abcdef1
  mov edi, ${RESULTS}
  xor ebx, ebx
.next:
  rol r12, 7
  add r12, rbx
  stc
  vmwrite rbx, r12
  pushfq
  pop qword [rdi]
  mov rdx, -1
  stc
  vmread rdx, rbx
  pushfq
  pop qword [rdi + 8]
  mov [rdi + 16], rdx
  add edi, ${RESULT_BYTES}
  inc ebx
  cmp ebx, ${ENCODINGS}
  jne .next
  mov rbx, 0x100000000 + 0x681e
  vmread rax, rbx
  pushfq
  vmwrite rbx, rax
  pushfq
  vmclear [vmcs]
  mov ebx, 0x681e
  vmread rax, rbx
  pushfq
  vmwrite rbx, rax
  pushfq`);

const bare = (source: string) => guestFromSource(source, { virtualization: 'none' });

describe('VMREAD and VMWRITE of registers', () => {
  const flagsOf = ({ machine }: GuestRun, encoding: number, which: 0 | 8): number =>
    machine.host.physical.readU32(RESULTS + encoding * RESULT_BYTES + which) & 0x8d5;

  test('every encoding gives the same, in WebAssembly and by the functions', async () => {
    const [fast, slow] = [await bare(ALL_FIELDS), await bare(ALL_FIELDS)];
    let told = 0;
    slow.machine.setFilter('privileged-instruction', true, () => ++told < 0);
    for (const guest of [fast, slow]) expect(runToEnd(guest)).toMatchObject({ kind: 'halted' });
    expect(told).toBeGreaterThan(2 * ENCODINGS);
    expect(fast.machine.instructionCount).toBe(slow.machine.instructionCount);
    expect(fast.machine.stateHash()).toBe(slow.machine.stateHash());
    const read = Array.from({ length: ENCODINGS }, (_, encoding) => flagsOf(fast, encoding, 8)).filter((f) => f === 0);
    const halves = supportedFields.filter(({ encoding }) => widthOf(encoding) === '64-bit');
    expect(read).toHaveLength(supportedFields.length + halves.length);
  });

  test('the page of the VMCS counts as written again after a snapshot', async () => {
    const { machine } = await bare(inRoot('mov eax, 0x681e\nagain: vmwrite rax, rax\njmp again'));
    const { dirtyPages } = machine.host.physical;
    for (let round = 0; round < 3; round++) {
      machine.run({ instructions: 200 });
      expect(dirtyPages[VMCS / PAGE_BYTES]).toBe(1);
      dirtyPages.fill(0);
      machine.host.mmu.dropWriteTags();
    }
  });

  test('a single step ends after one', async () => {
    const step = 'pushfq\nor qword [rsp], 0x100\npopfq';
    const { machine } = await bare(
      inRoot(
        `mov eax, 0x681e\nmov ebx, 5\nvmwrite rax, rax\n${step}\nvmwrite rax, rbx\nvmread rbx, rax\nvmread rax, rax`,
      ),
    );
    machine.setFilter('exception', true);
    expect(machine.run()).toMatchObject({ kind: 'event' });
    const vcpu = machine.vcpus[0];
    expect([vcpu?.readRegister('rax'), vcpu?.readRegister('rbx')]).toEqual([0x681en, 5n]);
    expect(vcpu?.readVmcs('Guest RIP')).toBe(5n);
  });
});
