/** Where Bochs's VM entry differs from what the manual demands, or its processor from ours: by case, why. */

const MISSING = 'its processor has no posted interrupts, mode-based execute control or sub-page permissions';
const OFFERED = 'the control is reserved on our processor, and exists on its';
const NARROW = 'its linear addresses have 48 bits, ours up to 57';
const UNCHECKED = 'it does not check this rule';

export const differences: Readonly<Record<string, string>> = {
  'posted-interrupt-vector, nearest': MISSING,
  'posted-interrupts-aligned, nearest': MISSING,
  'posted-interrupts-width, nearest': MISSING,
  'mode-based-execute-needs-ept, nearest': MISSING,
  'sub-page-table-aligned, nearest': MISSING,
  'sub-page-table-width, nearest': MISSING,
  'sub-pages-need-ept, nearest': MISSING,
  'exit-controls-allowed, broken': OFFERED,
  'entry-controls-allowed, broken': OFFERED,
  'guest-debugctl-reserved, broken': UNCHECKED,
  'guest-ia32e-paging, broken': UNCHECKED,
  'guest-rip-canonical, broken': UNCHECKED,
  'guest-activity-injection, broken': UNCHECKED,
  'guest-interruptibility-virtual-nmi, broken': UNCHECKED,
  'guest-pending-debug-bs-set, broken': UNCHECKED,
  'guest-pending-debug-bs-clear, broken': UNCHECKED,
  'guest-ss-dpl-zero, nearest': 'it compares the RPL of CS with the DPL of CS, where the manual compares the DPL of SS',
  'guest-interruptibility-injected-nmi, broken': 'it gives the exit qualification 0, where the manual has 3',
};

/** The same of random states, by seed. */
export const randomDifferences: Readonly<Record<string, string>> = {
  'seed 14': UNCHECKED,
  'seed 77': 'it looks at the VMCS link pointer first, which the manual leaves open',
  'seed 137': 'it does not check all reserved bits of pending debug exceptions',
  'seed 206': OFFERED,
  'seed 273': UNCHECKED,
  'seed 304': UNCHECKED,
  'seed 420': NARROW,
  'seed 574': OFFERED,
  'seed 576': NARROW,
};
