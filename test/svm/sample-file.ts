import { fileURLToPath } from 'node:url';

/** The sample hypervisor on AMD-V. */
export const SAMPLE = fileURLToPath(new URL('../../samples/tiny-svm/tiny-svm.asm', import.meta.url));
