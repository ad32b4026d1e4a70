/** Device-independent feature bits. Source: Virtio 1.2, chapter 6 "Reserved Feature Bits". */
import { hex } from '../../cpu/hexadecimal.ts';

export interface FeatureBit {
  readonly bit: number;
  readonly name: string;
}

export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_RING_RESET = 40;

/** Those that this transport offers for every device. */
export const TRANSPORT_FEATURES: readonly FeatureBit[] = [
  { bit: VIRTIO_F_INDIRECT_DESC, name: 'VIRTIO_F_INDIRECT_DESC' },
  { bit: VIRTIO_F_EVENT_IDX, name: 'VIRTIO_F_EVENT_IDX' },
  { bit: VIRTIO_F_VERSION_1, name: 'VIRTIO_F_VERSION_1' },
  { bit: VIRTIO_F_RING_RESET, name: 'VIRTIO_F_RING_RESET' },
];

/** For telling what a driver asked for in vain. */
const OTHER_RESERVED: readonly FeatureBit[] = [
  { bit: 33, name: 'VIRTIO_F_ACCESS_PLATFORM' },
  { bit: 34, name: 'VIRTIO_F_RING_PACKED' },
  { bit: 35, name: 'VIRTIO_F_IN_ORDER' },
  { bit: 36, name: 'VIRTIO_F_ORDER_PLATFORM' },
  { bit: 37, name: 'VIRTIO_F_SR_IOV' },
  { bit: 38, name: 'VIRTIO_F_NOTIFICATION_DATA' },
  { bit: 39, name: 'VIRTIO_F_NOTIF_CONFIG_DATA' },
];

/** 64 feature bits as the two 32-bit words that the registers show; word 1 holds bits 32 to 63. */
export type FeatureWords = readonly [number, number];

export function featureWords(features: readonly FeatureBit[]): FeatureWords {
  const words: [number, number] = [0, 0];
  for (const { bit } of features) {
    if (bit < 32) words[0] = (words[0] | (1 << bit)) >>> 0;
    else words[1] = (words[1] | (1 << (bit - 32))) >>> 0;
  }
  return words;
}

export function hasFeature(words: FeatureWords, bit: number): boolean {
  return ((words[bit >> 5 ? 1 : 0] >>> (bit & 31)) & 1) === 1;
}

/** Names of the set bits, lowest first; `known` are those of the device's type. */
export function featureNames(words: FeatureWords, known: readonly FeatureBit[]): string[] {
  const all = [...known, ...TRANSPORT_FEATURES, ...OTHER_RESERVED];
  const names: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    if (hasFeature(words, bit)) names.push(all.find((feature) => feature.bit === bit)?.name ?? `bit ${bit}`);
  }
  return names;
}

export const featuresHex = (words: FeatureWords) => hex((BigInt(words[1]) << 32n) | BigInt(words[0]), 16);
