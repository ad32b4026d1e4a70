/** Guests of the built-in hypervisor in 64-bit mode, and what is asked of them afterwards. */
import { type GuestRun, guestFromSource } from './run-guest.ts';

const PREAMBLE = 'bits 64\norg 0x100000\n';
/** Ends the run with AL as the exit code. */
export const END = '\nmov dx, 0xf4\nout dx, al\nhlt\n';
export const long = (body: string, options = {}) => guestFromSource(`${PREAMBLE}${body}`, options);

export const register = ({ machine }: GuestRun, name: string): bigint => {
  const value = machine.vcpus[0]?.readRegister(name);
  if (value === undefined) throw new Error(`no register ${name}`);
  return value;
};
export const exits = ({ machine }: GuestRun) => machine.statistics().exitsByReason;
