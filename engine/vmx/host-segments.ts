/** What VM exits load into segment registers whatever the VMCS holds (SDM volume 3, "Loading Host Segment and Descriptor-Table Registers"). */
import { ACCESS } from '../cpu/register-bits.ts';

export const FLAT_LIMIT = 0xffff_ffff;
export const TSS_LIMIT = 0x67;
/** Of GDTR and IDTR. */
export const TABLE_LIMIT = 0xffff;

export const DATA_RIGHTS = ACCESS.P | ACCESS.S | ACCESS.G | ACCESS.DB | 3;
export const BUSY_TSS_RIGHTS = ACCESS.P | 11;
/** Of the code segment of a host that is 64-bit or not. */
export const codeRights = (long: boolean): number =>
  ACCESS.P | ACCESS.S | ACCESS.G | 11 | (long ? ACCESS.L : ACCESS.DB);
