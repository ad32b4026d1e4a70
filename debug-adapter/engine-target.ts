/** Where the adapter meets the engine: no other file of the adapter imports it. */
import type { MachineConfig, MachineControl } from '../engine/index.ts';

export type {
  AddressSpaceName,
  CpuModeView,
  ExitLogView,
  HandlerFrame,
  MachineConfig,
  MachineControl,
  MachineEvent,
  MachineHistory,
  OutputSource,
  PagingNode,
  PagingTable,
  RegisterGroup,
  RegisterView,
  Stop,
  StopFilter,
  TranslationView,
  Vcpu,
  VmcsFieldView,
  VmcsView,
  Watch,
  WatchHit,
  WatchTarget,
} from '../engine/index.ts';
export { checkCpuConfig, createMachine, stopFilters, vmcbFields, vmcsFields } from '../engine/index.ts';

/** Makes the machine that a session debugs; a test gives one of its own. */
export type CreateTarget = (config: MachineConfig) => MachineControl;
