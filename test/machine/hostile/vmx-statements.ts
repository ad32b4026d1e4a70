/** Statements of a hostile guest about VMX. */
import { supportedFields } from '../../../engine/vmx/vmcs.ts';
import { RAM_END, type Writer } from './operands.ts';
import { at } from './tables.ts';

function vmxField(w: Writer): string {
  const { random } = w;
  const field = random.once(12) ? random.value() : random.pick(supportedFields).encoding + random.pick([0, 0, 0, 1]);
  const flip = `mov ecx, ${field}\nvmread rax, rcx\nbtc rax, ${random.below(64)}\nvmwrite rcx, rax`;
  return random.pick([flip, flip, `mov ecx, ${field}\nmov rax, ${random.value64()}\nvmwrite rcx, rax`]);
}

const POINTERS = ['vmxon', 'vmclear', 'vmptrld', 'vmptrst'];

export function vmx(w: Writer): string {
  const { random, mode } = w;
  if (mode !== 'long') return random.pick(['vmcall', 'vmlaunch', 'vmxoff', 'db 0x0f, 0x01, 0xd4']);
  const region = random.pick([at.vmxon, at.vmcs, at.data, at.vmcs + 0x1000, random.value(), RAM_END]);
  const spoiled = Array.from({ length: random.pick([0, 1, 1, 2, 5]) }, () => vmxField(w));
  return random.pick([
    ['call vmx_set_up', ...spoiled, random.pick(['vmlaunch', 'vmlaunch', 'vmresume'])].join('\n'),
    ['call vmx_set_up', ...spoiled, 'vmlaunch'].join('\n'),
    [...spoiled, random.pick(['vmlaunch', 'vmresume', 'vmresume'])].join('\n'),
    `mov qword [${at.pointer}], ${region}\n${random.pick(POINTERS)} [${at.pointer}]`,
    random.pick(['vmcall', 'vmxoff', 'db 0x0f, 0x01, 0xd4']),
    `mov eax, ${random.below(5)}\n${random.pick(['invept', 'invvpid'])} rax, [${at.pointer}]`,
    `mov dword [${at.vmcs + 4 * random.below(256)}], ${random.value()}`,
    `mov dword [${random.pick([at.ioBitmaps, at.msrBitmaps]) + 4 * random.below(2048)}], ${random.value()}`,
  ]);
}
