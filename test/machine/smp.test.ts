import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Stop } from '../../engine/index.ts';
import { startAll } from '../support/application-processors.ts';
import { bootSourceFile, type SourceGuest } from '../support/source-guests.ts';
import { describeWithTools } from '../support/tools.ts';

const SMP = fileURLToPath(new URL('guests/smp.asm', import.meta.url));
const LIMIT = 50_000_000;
const EXPECTED = `application processors: 00000003
APIC IDs: 0000000E
counted under the lock: 00000BB8
counted atomically: 00001770
interrupts from them: 00000003
woken: 00000003
the timer expired
`;

const bootSmp = () => bootSourceFile(SMP, { mode: 'protected', cpus: 4 });

interface Ended {
  readonly stop: Stop;
  readonly output: string;
  readonly instructions: number;
  readonly hash: string;
}

/** Runs to the end in calls of the given sizes, one after the other and over again. */
function runInSlices({ machine, output }: SourceGuest, sizes: readonly number[]): Ended {
  for (let call = 0; ; call++) {
    const stop = machine.run({ instructions: sizes[call % sizes.length] ?? LIMIT });
    if (stop.kind === 'limit' && machine.instructionCount < LIMIT) continue;
    return { stop, output: output(), instructions: machine.instructionCount, hash: machine.stateHash() };
  }
}

describe('four processors', () => {
  it('start, count under a lock, interrupt each other and wake', () => {
    const { stop, output } = runInSlices(bootSmp(), [LIMIT]);
    expect(output).toBe(EXPECTED);
    expect(stop).toEqual({ kind: 'exited', code: 0, how: 'debug exit' });
  });

  const whole = runInSlices(bootSmp(), [LIMIT]);
  it.each([
    ['in one go', [LIMIT]],
    ['in calls of 997 instructions', [997]],
    ['in calls of odd sizes', [1, 20_011, 13, 7, 104_729]],
  ])('end in the same state, to the hash, when run %s', (_name, sizes) => {
    expect(runInSlices(bootSmp(), sizes)).toEqual(whole);
  });

  it('are announced by CPUID, each with its own APIC ID', () => {
    const { machine } = startAll('mov eax, 1 \n cpuid \n mov esi, ebx \n mov eax, 0Bh \n mov ecx, 1 \n cpuid \n hlt');
    expect(machine.run({ instructions: LIMIT }).kind).toBe('halted');
    for (const vcpu of machine.vcpus.slice(1)) {
      const [esi = 0n, ebx, edx] = ['esi', 'ebx', 'edx'].map((name) => vcpu.readRegister(name));
      expect([esi >> 24n, (esi >> 16n) & 0xffn, ebx, edx]).toEqual([BigInt(vcpu.index), 4n, 4n, BigInt(vcpu.index)]);
    }
  });
});

describeWithTools(['nasm', 'qemu-system-x86_64'], 'QEMU with four processors', () => {
  it('prints the same', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'ringside-smp-'));
    try {
      const image = path.join(folder, 'image');
      execFileSync('nasm', ['-f', 'bin', '-o', image, path.basename(SMP)], { cwd: path.dirname(SMP) });
      expect(underQemu(image)).toEqual({ output: EXPECTED, status: 1 });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  /** The debug-exit device ends QEMU with twice the value written to it, plus one. */
  function underQemu(image: string): { output: string; status: number | null } {
    const machine = ['-accel', 'tcg', '-cpu', 'max', '-smp', '4', '-m', '64', '-display', 'none', '-nodefaults'];
    const devices = ['-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-debugcon', 'stdio'];
    try {
      const output = execFileSync('qemu-system-x86_64', [...machine, ...devices, '-kernel', image], {
        timeout: 60_000,
      });
      return { output: output.toString(), status: 0 };
    } catch (ended) {
      const { stdout, status } = ended as { stdout: Buffer; status: number | null };
      return { output: stdout.toString(), status };
    }
  }
});

const runAll = ({ machine }: SourceGuest) => machine.run({ instructions: LIMIT });
const activityOf = ({ machine }: SourceGuest, vcpu: number) => machine.host.activityState(vcpu);
const HLT = 1;
const WAIT_FOR_SIPI = 3;

describe('an application processor', () => {
  it('waits for a start-up IPI, and starts at CS = vector × 100H, base vector × 1000H, IP = 0', () => {
    const guest = startAll('hlt');
    expect(guest.machine.vcpus.map(({ index }) => activityOf(guest, index))).toEqual([0, 3, 3, 3]);
    guest.machine.setBreakpoints([0x8000n]);
    const stop = runAll(guest);
    expect(stop).toMatchObject({ kind: 'breakpoint', address: 0x8000n });
    const vcpu = guest.machine.vcpus[guest.machine.currentVcpu];
    const [cs, base, rip, cr0] = ['cs', 'cs.base', 'rip', 'cr0'].map((name) => vcpu?.readRegister(name));
    expect([cs, base, rip, cr0]).toEqual([0x800n, 0x8000n, 0n, 0x6000_0010n]);
  });

  it('takes only one of two start-up IPIs', () => {
    const guest = startAll('lock inc byte [cs:counter - application] \n hlt \n counter: db 0');
    runAll(guest);
    expect([...(guest.machine.vcpus[0]?.peek('linear', guest.label('counter'), 1) ?? [])]).toEqual([3]);
  });

  it('goes back to waiting at INIT, its registers as after reset, its MSRs kept', () => {
    const guest = startAll(
      'mov ecx, 174h \n mov eax, 55h \n xor edx, edx \n wrmsr \n hlt',
      'mov dword [rbx + 300h], 0C4500h \n hlt',
    );
    runAll(guest);
    const vcpu = guest.machine.vcpus[2];
    const values = ['rcx', 'rip', 'cs', 'IA32_SYSENTER_CS'].map((name) => vcpu?.readRegister(name));
    expect([activityOf(guest, 2), ...values]).toEqual([WAIT_FOR_SIPI, 0n, 0xfff0n, 0xf000n, 0x55n]);
  });

  it('is woken from HLT by an NMI though RFLAGS.IF = 0', () => {
    // The vector of NMI in the interrupt vector table leads to 0000:8100.
    const guest = startAll(
      'xor ax, ax \n mov ds, ax \n mov word [8], on_nmi \n mov word [10], 0 \n cli \n hlt \n on_nmi: inc bx \n hlt',
      'mov dword [rbx + 310h], 2 << 24 \n mov dword [rbx + 300h], 4400h \n hlt',
    );
    runAll(guest);
    expect(guest.machine.vcpus.map((vcpu) => vcpu.readRegister('bx'))).toEqual([0n, 0n, 1n, 0n]);
  });

  it('stops the run when it shuts down', () => {
    // An interrupt vector table without entries: #UD becomes a triple fault.
    const guest = startAll('o32 lidt [cs:table - application] \n ud2 \n table: dw 0 \n dd 0', 'jmp $');
    expect(runAll(guest)).toMatchObject({ kind: 'shutdown', vcpu: 1 });
  });
});

describe('the bootstrap processor', () => {
  it('ends the run with an INIT to itself: there is no firmware to reset into', () => {
    const guest = startAll('hlt', 'mov dword [rbx + 310h], 0 \n mov dword [rbx + 300h], 4500h \n jmp $');
    expect(runAll(guest)).toEqual({ kind: 'exited', code: 0, how: 'reset requested by INIT' });
  });
});

describe('running and stepping with several processors', () => {
  it('run({ vcpu }) runs that one alone', () => {
    const guest = startAll('again: inc ax \n jmp again', 'jmp $');
    guest.machine.run({ instructions: 500_000 });
    const before = guest.machine.vcpus.map(({ rip, index }) => [
      index,
      rip,
      guest.machine.vcpus[index]?.readRegister('ax'),
    ]);
    const count = guest.machine.instructionCount;
    expect(guest.machine.run({ vcpu: 2, instructions: 100_000 })).toEqual({ kind: 'limit' });
    expect(guest.machine.instructionCount).toBe(count + 100_000);
    expect(guest.machine.currentVcpu).toBe(2);
    const after = guest.machine.vcpus.map(({ rip, index }) => [
      index,
      rip,
      guest.machine.vcpus[index]?.readRegister('ax'),
    ]);
    expect(after.filter((_, index) => index !== 2)).toEqual(before.filter((_, index) => index !== 2));
    expect(after[2]).not.toEqual(before[2]);
  });

  it('step(vcpu) executes one instruction of that one', () => {
    const guest = startAll('again: inc ax \n jmp again', 'jmp $');
    guest.machine.run({ instructions: 500_000 });
    const vcpu = guest.machine.vcpus[3];
    if (vcpu?.rip !== 0n) guest.machine.step(3);
    expect(vcpu?.rip).toBe(0n);
    const ax = vcpu?.readRegister('ax') ?? 0n;
    guest.machine.step(3);
    expect([vcpu?.rip, vcpu?.readRegister('ax')]).toEqual([1n, (ax + 1n) & 0xffffn]);
  });

  it('says why one that waits for a start-up IPI cannot run', () => {
    const stop = startAll('hlt').machine.step(1);
    expect(stop).toMatchObject({ kind: 'halted', vcpu: 1, explanation: expect.stringContaining('start-up IPI') });
  });

  it('stops each of them at a breakpoint, and none twice', () => {
    const guest = startAll('nop \n nop \n hlt', 'hlt');
    guest.machine.setBreakpoints([0x8001n]);
    const stopped: number[] = [];
    for (let stop = runAll(guest); stop.kind === 'breakpoint'; stop = runAll(guest)) stopped.push(stop.vcpu);
    expect(stopped).toEqual([1, 2, 3]);
  });

  it('does not stop again where one stood when another one was stepped in between', () => {
    const guest = startAll('nop \n nop \n nop \n nop \n hlt', 'hlt');
    guest.machine.setBreakpoints([0x8001n]);
    expect(runAll(guest)).toMatchObject({ kind: 'breakpoint', vcpu: 1 });
    guest.machine.step(0);
    expect(runAll(guest)).toMatchObject({ kind: 'breakpoint', vcpu: 2 });
  });

  it('ends with all processors waiting, and says that of the one that halted', () => {
    const guest = startAll('hlt');
    expect(runAll(guest)).toMatchObject({ kind: 'halted', explanation: expect.stringContaining('HLT') });
    expect(guest.machine.vcpus.map(({ index }) => activityOf(guest, index))).toEqual([HLT, HLT, HLT, HLT]);
  });
});
