/** What a device type (block, console) is to its transport. */
import type { FeatureBit, FeatureWords } from './features.ts';
import type { Virtqueue, VirtqueueConfig } from './virtqueue.ts';

/** How a device type reaches its transport. */
export interface VirtioHost {
  /** True between DRIVER_OK and a reset or DEVICE_NEEDS_RESET: the device may use its queues. */
  readonly live: boolean;
  /** Runs the device's work on a queue, then interrupts the driver if it wants that. */
  runQueue(index: number): void;
  /** The configuration space has changed: generation, interrupt. */
  configChanged(): void;
}

export interface VirtioDevice<S = unknown> {
  /** The device type, 'virtio-block'. */
  readonly type: string;
  /** Source: Virtio 1.2, chapter 5 "Device Types". */
  readonly deviceId: number;
  readonly features: readonly FeatureBit[];
  readonly queues: readonly Omit<VirtqueueConfig, 'index'>[];
  /** Once, by the transport. */
  attach(host: VirtioHost): void;
  /** The device configuration space as it is now; a read of it has no side effect. */
  configSpace(): Uint8Array;
  /** A write into the configuration space; false if nothing can be written there. */
  writeConfig(offset: number, bytes: Uint8Array): boolean;
  /** The driver has set DRIVER_OK, with these features. */
  activate(features: FeatureWords): void;
  reset(): void;
  /**
   * Works on a queue. Returns false if chains are left for later because this call has done enough: no guest may hold
   * the machine. @throws VirtioViolation
   */
  processQueue(queue: Virtqueue): boolean;
  saveState(): S;
  restoreState(state: S): void;
  /** Name and value of what is worth seeing beside queues and registers. */
  describe(): readonly { readonly name: string; readonly value: string }[];
}
