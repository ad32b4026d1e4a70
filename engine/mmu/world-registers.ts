/** The registers that fast translations were made for. */
import { WORLD_CR3_ADDRESS } from '../cpu/memory-map.ts';
import { readSigned, writeInteger } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import type { World } from './fast-tlb.ts';
import { PagingMode, pagingMode } from './paging-structures.ts';
import type { TranslationContext } from './translation.ts';

/** Everything that fast translations depend on but the privilege, as it was. */
export class WorldRegisters {
  #cr0 = 0;
  /** Where CR3 is kept: compiled code changes it too (exec/translation-changes.ts). */
  readonly #cr3: number;
  #cr4 = 0;
  #efer = 0;
  #vpid = 0;
  #eptp = -1;
  /** PDPTE registers are loaded besides, so that nothing can be said about PAE paging. */
  #isPae = true;

  constructor(world: World) {
    this.#cr3 = WORLD_CR3_ADDRESS + 8 * world;
  }

  remember(view: DataView, { vpid, ept }: TranslationContext): void {
    this.#cr0 = view.getUint32(fieldAddress.cr0, true);
    writeInteger(view, this.#cr3, readSigned(view, fieldAddress.cr3));
    this.#cr4 = view.getUint32(fieldAddress.cr4, true);
    this.#efer = view.getUint32(fieldAddress.efer, true);
    this.#vpid = vpid;
    this.#eptp = ept ? ept.eptp : -1;
    this.#isPae = pagingMode(this.#cr0, this.#cr4, this.#efer) === PagingMode.PAE;
  }

  areCurrent(view: DataView, { vpid, ept }: TranslationContext): boolean {
    return (
      !this.#isPae &&
      readSigned(view, this.#cr3) === readSigned(view, fieldAddress.cr3) &&
      this.#cr0 === view.getUint32(fieldAddress.cr0, true) &&
      this.#cr4 === view.getUint32(fieldAddress.cr4, true) &&
      this.#efer === view.getUint32(fieldAddress.efer, true) &&
      this.#vpid === vpid &&
      this.#eptp === (ept ? ept.eptp : -1)
    );
  }
}
