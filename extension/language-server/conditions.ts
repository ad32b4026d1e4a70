/** The conditions of Jcc, SETcc and CMOVcc (SDM volume 1, "EFLAGS Condition Codes"). */
export interface Condition {
  /** As iced-x86 names it. */
  readonly name: string;
  readonly means: string;
  readonly flags: string;
}

export const conditions: readonly Condition[] = [
  { name: 'o', means: 'Overflow', flags: 'OF = 1' },
  { name: 'no', means: 'Not Overflow', flags: 'OF = 0' },
  { name: 'b', means: 'Below (unsigned)', flags: 'CF = 1' },
  { name: 'ae', means: 'Above or Equal (unsigned)', flags: 'CF = 0' },
  { name: 'e', means: 'Equal', flags: 'ZF = 1' },
  { name: 'ne', means: 'Not Equal', flags: 'ZF = 0' },
  { name: 'be', means: 'Below or Equal (unsigned)', flags: 'CF = 1 or ZF = 1' },
  { name: 'a', means: 'Above (unsigned)', flags: 'CF = 0 and ZF = 0' },
  { name: 's', means: 'Sign', flags: 'SF = 1' },
  { name: 'ns', means: 'Not Sign', flags: 'SF = 0' },
  { name: 'p', means: 'Parity Even', flags: 'PF = 1' },
  { name: 'np', means: 'Parity Odd', flags: 'PF = 0' },
  { name: 'l', means: 'Less (signed)', flags: 'SF ≠ OF' },
  { name: 'ge', means: 'Greater or Equal (signed)', flags: 'SF = OF' },
  { name: 'le', means: 'Less or Equal (signed)', flags: 'ZF = 1 or SF ≠ OF' },
  { name: 'g', means: 'Greater (signed)', flags: 'ZF = 0 and SF = OF' },
];
