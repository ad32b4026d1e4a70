/** The registers of the MMIO transport. Source: Virtio 1.2, 4.2.2 "MMIO Device Register Layout". */

type Access = 'R' | 'W' | 'RW';

const TABLE = {
  MagicValue: [0x000, 'R'],
  Version: [0x004, 'R'],
  DeviceID: [0x008, 'R'],
  VendorID: [0x00c, 'R'],
  DeviceFeatures: [0x010, 'R'],
  DeviceFeaturesSel: [0x014, 'W'],
  DriverFeatures: [0x020, 'W'],
  DriverFeaturesSel: [0x024, 'W'],
  QueueSel: [0x030, 'W'],
  QueueNumMax: [0x034, 'R'],
  QueueNum: [0x038, 'W'],
  QueueReady: [0x044, 'RW'],
  QueueNotify: [0x050, 'W'],
  InterruptStatus: [0x060, 'R'],
  InterruptACK: [0x064, 'W'],
  Status: [0x070, 'RW'],
  QueueDescLow: [0x080, 'W'],
  QueueDescHigh: [0x084, 'W'],
  QueueDriverLow: [0x090, 'W'],
  QueueDriverHigh: [0x094, 'W'],
  QueueDeviceLow: [0x0a0, 'W'],
  QueueDeviceHigh: [0x0a4, 'W'],
  SHMSel: [0x0ac, 'W'],
  SHMLenLow: [0x0b0, 'R'],
  SHMLenHigh: [0x0b4, 'R'],
  SHMBaseLow: [0x0b8, 'R'],
  SHMBaseHigh: [0x0bc, 'R'],
  QueueReset: [0x0c0, 'RW'],
  ConfigGeneration: [0x0fc, 'R'],
  Config: [0x100, 'RW'],
} as const satisfies Record<string, readonly [number, Access]>;

export type RegisterName = keyof typeof TABLE;

/** Offset of each register. */
export const REGISTER = Object.fromEntries(Object.entries(TABLE).map(([name, [offset]]) => [name, offset])) as {
  readonly [Name in RegisterName]: (typeof TABLE)[Name][0];
};

/** Name and access by offset; the configuration space, which is no single register, is left out. */
export const REGISTER_NAMES: ReadonlyMap<number, { readonly name: string; readonly access: Access }> = new Map(
  Object.entries(TABLE)
    .filter(([name]) => name !== 'Config')
    .map(([name, [offset, access]]) => [offset, { name, access }]),
);

/** Source: Virtio 1.2, 2.1 "Device Status Field". */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  DEVICE_NEEDS_RESET: 64,
  FAILED: 128,
};
export const STATUS_NAMES = [
  'ACKNOWLEDGE',
  'DRIVER',
  'DRIVER_OK',
  'FEATURES_OK',
  undefined,
  undefined,
  'DEVICE_NEEDS_RESET',
  'FAILED',
];
/** Bits of InterruptStatus. */
export const INTERRUPT = { USED_BUFFER: 1, CONFIGURATION_CHANGE: 2 };
export const INTERRUPT_NAMES = ['Used Buffer Notification', 'Configuration Change Notification'];
