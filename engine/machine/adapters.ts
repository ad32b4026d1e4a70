/** Joins the CPU's system side to the MMU: the interfaces of cpu/processor.ts over mmu/. */
import type { TranslationRegisters } from '../cpu/processor.ts';
import type { Mmu } from '../mmu/mmu.ts';

/** `changed` is told of everything that may make a linear address mean something else. */
export function translationRegisters(mmu: Mmu, changed: () => void): TranslationRegisters {
  const telling =
    <A extends unknown[]>(method: (...parameters: A) => void) =>
    (...parameters: A): void => {
      method.apply(mmu, parameters);
      changed();
    };
  return {
    writeCr0: telling(mmu.writeCr0),
    writeCr3: telling(mmu.writeCr3),
    writeCr4: telling(mmu.writeCr4),
    writeEfer: telling(mmu.writeEfer),
    invlpg: telling(mmu.invlpg),
    invpcid: telling(mmu.invpcid),
    reset: telling(mmu.reset),
    privilegeChanged: () => mmu.privilegeChanged(),
  };
}
