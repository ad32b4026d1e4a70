/**
 * What driver and device agree on before the device works: the device status and the features. Source: Virtio 1.2, 2.1
 * "Device Status Field", 2.2 "Feature Bits", 3.1 "Device Initialization".
 */
import { hex } from '../../cpu/hexadecimal.ts';
import { bitNames, clonePlain } from '../device.ts';
import { type FeatureWords, hasFeature, VIRTIO_F_VERSION_1 } from './features.ts';
import { STATUS, STATUS_NAMES } from './mmio-registers.ts';

export interface NegotiationState {
  status: number;
  /** Why DEVICE_NEEDS_RESET is set; empty if it is not. */
  needsResetReason: string;
  deviceFeaturesSel: number;
  driverFeaturesSel: number;
  driverFeatures: [number, number];
}

const initial = (): NegotiationState => ({
  status: 0,
  needsResetReason: '',
  deviceFeaturesSel: 0,
  driverFeaturesSel: 0,
  driverFeatures: [0, 0],
});

export class Negotiation {
  readonly deviceFeatures: FeatureWords;
  readonly #mistake: (message: string) => void;
  #r = initial();

  /** `mistake` is told what the driver does against the rules, which has no effect. */
  constructor(deviceFeatures: FeatureWords, mistake: (message: string) => void) {
    this.deviceFeatures = deviceFeatures;
    this.#mistake = mistake;
  }

  get status(): number {
    return this.#r.status;
  }
  get needsResetReason(): string {
    return this.#r.needsResetReason;
  }
  get driverFeatures(): FeatureWords {
    return this.#r.driverFeatures;
  }
  /** DRIVER_OK is set, and DEVICE_NEEDS_RESET is not. */
  get live(): boolean {
    return (this.#r.status & (STATUS.DRIVER_OK | STATUS.DEVICE_NEEDS_RESET)) === STATUS.DRIVER_OK;
  }
  /** Whether the driver accepts a feature. */
  has(feature: number): boolean {
    return hasFeature(this.#r.driverFeatures, feature);
  }

  selectDeviceFeatures(word: number): void {
    this.#r.deviceFeaturesSel = word;
  }
  selectDriverFeatures(word: number): void {
    this.#r.driverFeaturesSel = word;
  }
  get selectedDeviceFeatures(): number {
    return this.deviceFeatures[this.#r.deviceFeaturesSel] ?? 0;
  }

  writeDriverFeatures(value: number): void {
    const { status, driverFeaturesSel: word, driverFeatures } = this.#r;
    if (!(status & STATUS.DRIVER) || status & STATUS.FEATURES_OK) {
      this.#mistake('DriverFeatures written outside of feature negotiation (after DRIVER, before FEATURES_OK)');
    } else if (word === 0 || word === 1) {
      driverFeatures[word] = value;
    } else if (value !== 0) {
      this.#mistake(`DriverFeatures ${hex(value)} written for word ${word}; there are two words, 0 and 1`);
    }
  }

  /** A write that is not that of 0, which resets the device. Returns whether it has set DRIVER_OK. */
  writeStatus(value: number): boolean {
    const r = this.#r;
    const old = r.status;
    const cleared = old & ~value & ~STATUS.DEVICE_NEEDS_RESET;
    if (cleared) this.#mistake(`Status bits may only be added; cleared: ${bitNames(cleared, STATUS_NAMES)}; kept`);
    let added = value & ~old & ~STATUS.DEVICE_NEEDS_RESET;
    if (added & STATUS.FEATURES_OK && !this.#acceptFeatures()) added &= ~STATUS.FEATURES_OK;
    if (added & STATUS.DRIVER_OK && !((old | added) & STATUS.FEATURES_OK)) {
      this.#mistake('DRIVER_OK written without FEATURES_OK; ignored');
      added &= ~STATUS.DRIVER_OK;
    }
    r.status = old | added;
    return (added & STATUS.DRIVER_OK) !== 0;
  }

  /** A subset of what is offered, VIRTIO_F_VERSION_1 in it: this device has no legacy interface. */
  #acceptFeatures(): boolean {
    const { driverFeatures } = this.#r;
    const excess = [0, 1].some((word) => (driverFeatures[word] ?? 0) & ~(this.deviceFeatures[word] ?? 0));
    if (excess) this.#mistake('FEATURES_OK refused: the driver accepts features that the device does not offer');
    const modern = this.has(VIRTIO_F_VERSION_1);
    if (!modern) this.#mistake('FEATURES_OK refused: the driver does not accept VIRTIO_F_VERSION_1');
    return !excess && modern;
  }

  setNeedsReset(reason: string): void {
    this.#r.status |= STATUS.DEVICE_NEEDS_RESET;
    this.#r.needsResetReason = reason;
  }

  reset(): void {
    this.#r = initial();
  }
  saveState(): NegotiationState {
    return clonePlain(this.#r);
  }
  restoreState(state: NegotiationState): void {
    this.#r = clonePlain(state);
  }
}
