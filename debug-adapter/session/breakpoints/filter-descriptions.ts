import type { StopFilter } from '../../engine-target.ts';

export interface FilterDescription {
  readonly label: string;
  readonly description: string;
  /** What the condition may ask, as a placeholder in the client's input. */
  readonly condition: string;
  /** Armed unless the user says otherwise. */
  readonly isDefault?: boolean;
}

/** How the client shows the stop filters of the engine. */
export const filterDescriptions: Readonly<Record<StopFilter, FilterDescription>> = {
  'vm-exit': {
    label: 'VM exit',
    description: 'A VM exit (#VMEXIT of AMD-V) has left the guest: the hypervisor is about to handle it.',
    condition:
      'reason == 48 && guest_physical >= 0x1000 (also qualification, port, msr, vector, registers, vmcs.FIELD)',
  },
  'vm-entry': {
    label: 'VM entry',
    description: 'A VM entry has succeeded: the guest is about to run.',
    condition: 'rip == 0x1000 (registers, symbols, vmcs.FIELD)',
  },
  'vm-entry-failure': {
    label: 'VM-entry failure',
    description: 'VMLAUNCH, VMRESUME or VMRUN failed a check; the stop names the rule that is broken.',
    condition: 'error == 7 (values of the failure, registers, vmcs.FIELD)',
    isDefault: true,
  },
  'sensitive-instruction': {
    label: 'Sensitive instruction',
    description: 'An instruction outside ring 0 that behaves by ring, whether it traps or not.',
    condition: 'instruction == "SGDT" && ring == 3',
  },
  'privileged-instruction': {
    label: 'Privileged instruction',
    description: 'An instruction that only ring 0 may execute, before it executes or faults.',
    condition: 'instruction == "WRMSR" && ecx == 0xc0000080',
  },
  'page-fault': {
    label: 'Page fault (#PF)',
    description: 'A page fault is about to be delivered to the guest.',
    condition: 'address >= 0x400000 && error_code == 7',
  },
  'ept-violation': {
    label: 'EPT violation',
    description: 'An access to guest-physical memory that EPT, or nested paging, does not allow or map.',
    condition: 'guest_physical >= 0x10000',
  },
  'stale-translation': {
    label: 'Stale translation used',
    description: 'The TLB has translated an access by an entry that the tables contradict: an invalidation is missing.',
    condition: "address == 0x400000, access == 'write', table == 'EPT' (also physical, now)",
  },
  exception: {
    label: 'Exception',
    description: 'Any exception is about to be delivered, by its vector.',
    condition: 'vector == 13 && error_code != 0',
  },
  'ring-change': {
    label: 'Ring change',
    description: 'The current privilege level has changed.',
    condition: 'to == 3',
  },
  'triple-fault': {
    label: 'Triple fault',
    description: 'A fault while a double fault is delivered: stops before the reset.',
    condition: 'rip == 0x1000',
    isDefault: true,
  },
  hypercall: {
    label: 'Hypercall',
    description: 'The guest has called its hypervisor (VMCALL).',
    condition: 'rax == 1',
  },
  'virtqueue-notification': {
    label: 'Virtqueue notification',
    description: 'A driver has told a virtio device that a queue has new buffers.',
    condition: 'queue == 0',
  },
};

/** Within a sentence: `VM exit`, `page fault (#PF)`. */
export function sentenceOf(filter: StopFilter): string {
  const { label } = filterDescriptions[filter];
  return /^[A-Z][a-z]/.test(label) ? label.charAt(0).toLowerCase() + label.slice(1) : label;
}
