/** The only public door of the engine. */
export { type CpuComplaint, type CpuConfig, cpuModels } from './cpu/cpu-models.ts';
export { describeVirtqueue, type VirtioDeviceView, type VirtqueueView } from './devices/index.ts';
export type { PagingNode, PagingTable } from './inspect/page-tables.ts';
export type { TlbEntryView } from './inspect/tlb.ts';
export type { EptStep, GuestStep, TranslationView } from './inspect/translation.ts';
export { type DecodedInstruction, decodeInstructions, decodeOne } from './isa/decode.ts';
export { formOf } from './isa/form.ts';
export { pseudoCode } from './isa/pseudo-code.ts';
export { type Classification, classify, instructionFacts, instructionFactsKey } from './isa/sensitivity.ts';
export { checkCpuConfig } from './machine/cpu-config.ts';
export { createMachine, type Machine } from './machine/machine.ts';
export * from './machine/machine-api.ts';
export { vmcbFields } from './svm/vmcb-fields.ts';
export { isReadOnly, type VmcsField, vmcsFields, widthBitsOf } from './vmx/fields.ts';
