/** The door of the device models to the rest of the engine. */
export { type Claim, MmioBus, PortBus, type UnclaimedAccess, type UnclaimedHook } from './bus.ts';
export type {
  ByteSink,
  Clock,
  Device,
  DeviceView,
  DriverMistake,
  GuestMemory,
  InterruptLine,
  MmioDevice,
  PortDevice,
  RegisterView,
  TimedDevice,
  VirtqueueNotification,
} from './device.ts';
export {
  PcPlatform,
  type PcPlatformConfig,
  type PcPlatformPorts,
  type PcPlatformState,
  type PcPlatformView,
  VIRTIO_MMIO_BASE,
  type VirtioSlot,
  type VirtioSlotConfig,
} from './pc-platform.ts';
export { type BlockBackend, MemoryBlockBackend, SECTOR_BYTES } from './virtio/block-backend.ts';
export {
  describeVirtioDevice,
  describeVirtqueue,
  type VirtioDeviceView,
  type VirtqueueView,
} from './virtio/describe.ts';
export { VirtioConsole } from './virtio/virtio-console.ts';
export { VIRTIO_MMIO_BYTES } from './virtio/virtio-mmio.ts';
