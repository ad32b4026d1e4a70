/** A processor with memory and nothing around it. */
import { silentHooks } from '../../engine/cpu/processor.ts';
import { Host, type HostConfig } from '../../engine/machine/host.ts';

type HostOwner = HostConfig['owner'];

export interface BareHostConfig extends Partial<Pick<HostConfig, 'cpu' | 'hotSpots'>> {
  readonly ramBytes: number;
  readonly handleEvent: HostOwner['handleEvent'];
  readonly interrupted: HostOwner['interrupted'];
  readonly tripleFault?: () => void;
}

/** All ports read as ones, and nobody is told of what happens but of events. */
export function bareHost({ handleEvent, interrupted, tripleFault = () => {}, ...config }: BareHostConfig): Host {
  return new Host({
    ...config,
    cpus: 1,
    localApic: false,
    ports: { read: (_port, size) => 2 ** (8 * size) - 1, write: () => {} },
    hooks: { ...silentHooks, tripleFault },
    owner: { handleEvent, interrupted, takeInterruptions: () => 0, stopAtMark: () => true },
  });
}
