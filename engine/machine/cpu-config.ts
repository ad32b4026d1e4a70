/** Whether a machine can be made with a CPU as configured: checked before, so that the user is told what to change. */

import {
  type CpuComplaint,
  type CpuConfig,
  type CpuModelSpec,
  checkCpu,
  findCpuModel,
  nominalFeatures,
} from '../cpu/cpu-models.ts';
import { implementedFeatures } from '../cpu/cpuid.ts';
import type { MachineConfig } from './machine-api.ts';

/** What a machine asks of its processors. */
interface Demand {
  readonly feature: string;
  readonly isMade: (config: MachineConfig) => boolean;
  readonly why: string;
}

const demands: readonly Demand[] = [
  {
    feature: 'LM',
    isMade: ({ program }) => program.entry.mode === 'long',
    why: 'the program starts in 64-bit mode',
  },
  { feature: 'APIC', isMade: ({ cpus }) => cpus > 1, why: 'several processors start each other through their APICs' },
  { feature: 'VMX', isMade: ({ virtualization }) => virtualization !== 'none', why: 'the hypervisor runs on VT-x' },
  { feature: 'LM', isMade: ({ virtualization }) => virtualization !== 'none', why: 'the hypervisor is 64-bit code' },
];

/** What is wrong with `config.cpu`, or with it in this machine; undefined if nothing is. */
export function checkCpuConfig(config: MachineConfig): CpuComplaint | undefined {
  const { cpu = {} } = config;
  return checkCpu(cpu, implementedFeatures) ?? checkDemands(config, cpu, findCpuModel(cpu.model) as CpuModelSpec);
}

function checkDemands(config: MachineConfig, cpu: CpuConfig, model: CpuModelSpec): CpuComplaint | undefined {
  const has = nominalFeatures(model, cpu);
  const unmet = demands.find(({ feature, isMade }) => isMade(config) && !has(feature));
  return (
    unmet && {
      expected: `a CPU with ${unmet.feature}, as ${unmet.why}`,
      found: `the model "${model.name}"${cpu.features ? ' with the features as configured' : ''}, without ${unmet.feature}`,
      whatToDo: 'choose another "cpu.model", or change "cpu.features"',
    }
  );
}
