/**
 * The driver handed the device something that the specification forbids and that leaves no way on, such as a descriptor
 * outside RAM. The transport catches it, sets DEVICE_NEEDS_RESET and keeps the words as the reason.
 * Source: Virtio 1.2, 2.1.1 "Driver Requirements: Device Status Field" and 2.7.
 */
export class VirtioViolation extends Error {
  override readonly name = 'VirtioViolation';
}
