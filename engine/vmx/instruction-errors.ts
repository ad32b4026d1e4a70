/** VM-instruction error numbers (SDM volume 3, "VM Instruction Error Numbers"). */
const instructionErrors = [
  [1, 'VMCALL executed in VMX root operation'],
  [2, 'VMCLEAR with invalid physical address'],
  [3, 'VMCLEAR with VMXON pointer'],
  [4, 'VMLAUNCH with non-clear VMCS'],
  [5, 'VMRESUME with non-launched VMCS'],
  [6, 'VMRESUME after VMXOFF (VMXOFF and VMXON between VMLAUNCH and VMRESUME)'],
  [7, 'VM entry with invalid control field(s)'],
  [8, 'VM entry with invalid host-state field(s)'],
  [9, 'VMPTRLD with invalid physical address'],
  [10, 'VMPTRLD with VMXON pointer'],
  [11, 'VMPTRLD with incorrect VMCS revision identifier'],
  [12, 'VMREAD/VMWRITE from/to unsupported VMCS component'],
  [13, 'VMWRITE to read-only VMCS component'],
  [15, 'VMXON executed in VMX root operation'],
  [16, 'VM entry with invalid executive-VMCS pointer'],
  [17, 'VM entry with non-launched executive VMCS'],
  [
    18,
    'VM entry with executive-VMCS pointer not VMXON pointer (when attempting to deactivate the dual-monitor treatment)',
  ],
  [19, 'VMCALL with non-clear VMCS (when attempting to activate the dual-monitor treatment)'],
  [20, 'VMCALL with invalid VM-exit control fields'],
  [22, 'VMCALL with incorrect MSEG revision identifier'],
  [23, 'VMXOFF under dual-monitor treatment of SMIs and SMM'],
  [24, 'VMCALL with invalid SMM-monitor features'],
  [25, 'VM entry with invalid VM-execution control fields in executive VMCS'],
  [26, 'VM entry with events blocked by MOV SS'],
  [28, 'Invalid operand to INVEPT/INVVPID'],
] as const;

const texts: ReadonlyMap<number, string> = new Map(instructionErrors);

export const instructionErrorText = (number: number): string | undefined => texts.get(number);

/** Numbers as the instructions use them. */
export const InstructionError = {
  vmcallInRoot: 1,
  vmclearInvalidAddress: 2,
  vmclearVmxonPointer: 3,
  vmlaunchNonClear: 4,
  vmresumeNonLaunched: 5,
  invalidControls: 7,
  invalidHostState: 8,
  vmptrldInvalidAddress: 9,
  vmptrldVmxonPointer: 10,
  vmptrldRevision: 11,
  unsupportedComponent: 12,
  vmxonInRoot: 15,
  blockedByMovSs: 26,
  invalidOperand: 28,
} as const;
