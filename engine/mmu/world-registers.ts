/** The registers that fast translations were made for. */
import { WORLD_REGISTERS_ADDRESS, WORLD_REGISTERS_BYTES, worldRegister } from '../cpu/memory-map.ts';
import { readSigned, writeInteger } from '../cpu/state.ts';
import { fieldAddress } from '../cpu/state-layout.ts';
import type { World } from './fast-tlb.ts';
import { PagingMode, pagingMode } from './paging-structures.ts';
import type { TranslationContext } from './translation-context.ts';

/**
 * Everything that fast translations depend on but the privilege, as it was. The control registers are kept where compiled
 * code finds them, which changes CR3 (exec/translation-changes.ts) and enters worlds (exec/world-switch-emitter.ts).
 */
export class WorldRegisters {
  readonly #at: number;
  #vpid = 0;
  #eptp = -1;
  /** PDPTE registers are loaded besides, so that nothing can be said about PAE paging. */
  #isPae = true;

  constructor(world: World) {
    this.#at = WORLD_REGISTERS_ADDRESS + WORLD_REGISTERS_BYTES * world;
  }

  remember(view: DataView, { vpid, ept }: TranslationContext): void {
    writeInteger(view, this.#at + worldRegister.cr3, readSigned(view, fieldAddress.cr3));
    const cr0 = view.getUint32(fieldAddress.cr0, true);
    const cr4 = view.getUint32(fieldAddress.cr4, true);
    const efer = view.getUint32(fieldAddress.efer, true);
    view.setUint32(this.#at + worldRegister.cr0, cr0, true);
    view.setUint32(this.#at + worldRegister.cr4, cr4, true);
    view.setUint32(this.#at + worldRegister.efer, efer, true);
    this.#vpid = vpid;
    this.#eptp = ept ? ept.eptp : -1;
    this.#isPae = pagingMode(cr0, cr4, efer) === PagingMode.PAE;
  }

  areCurrent(view: DataView, { vpid, ept }: TranslationContext): boolean {
    const at = this.#at;
    return (
      !this.#isPae &&
      readSigned(view, at + worldRegister.cr3) === readSigned(view, fieldAddress.cr3) &&
      view.getUint32(at + worldRegister.cr0, true) === view.getUint32(fieldAddress.cr0, true) &&
      view.getUint32(at + worldRegister.cr4, true) === view.getUint32(fieldAddress.cr4, true) &&
      view.getUint32(at + worldRegister.efer, true) === view.getUint32(fieldAddress.efer, true) &&
      this.#vpid === vpid &&
      this.#eptp === (ept ? ept.eptp : -1)
    );
  }
}
