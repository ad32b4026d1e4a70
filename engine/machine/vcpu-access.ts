/** One vCPU as the outside sees it. Everything is a peek; the vCPU is loaded for the time of the question. */

import { linearOfRip } from '../cpu/modes.ts';
import { cpuMode } from '../inspect/cpu-mode.ts';
import {
  nestedRoot,
  type PagingNode,
  type PagingRoots,
  type PagingTable,
  pagingChildren,
  pagingRoots,
} from '../inspect/page-tables.ts';
import { readRegister, registerGroups, registerNames, writeRegister } from '../inspect/registers.ts';
import { type TlbEntryView, tlbEntries } from '../inspect/tlb.ts';
import { explainTranslation, type TranslationView } from '../inspect/translation.ts';
import type { CpuModeView, EntryCheckView, RegisterGroup, VmcsView } from '../inspect/views.ts';
import { type LinearAddress, linearAddressOf, offsetInPage, plus } from '../isa/linear-address.ts';
import { Access } from '../mmu/access.ts';
import { guestPhysicalToHost } from './guest-physical.ts';
import type { Host } from './host.ts';
import type { AddressSpaceName, HandlerFrame, Vcpu } from './machine-api.ts';
import type { Virtualizer } from './virtualizer.ts';

const accesses = { read: Access.Read, write: Access.Write, execute: Access.Execute } as const;

export class VcpuAccess implements Vcpu {
  readonly index: number;
  readonly #host: Host;
  readonly #virtualizer: Virtualizer;
  readonly #edited: (again: () => void) => void;

  /** `edited` is told of every change from outside before it is made, and how to make it again. */
  constructor(index: number, host: Host, virtualizer: Virtualizer, edited: (again: () => void) => void) {
    this.index = index;
    this.#host = host;
    this.#virtualizer = virtualizer;
    this.#edited = edited;
  }

  #edit<T>(make: () => T): T {
    const loaded = () => this.#with(make);
    this.#edited(loaded);
    return loaded();
  }

  #with<T>(work: () => T): T {
    return this.#host.with(this.index, work);
  }

  get rip(): bigint {
    return this.#with(() => BigInt.asUintN(64, BigInt(this.#host.state.rip)));
  }
  get instructionAddress(): bigint {
    return this.#with(() => {
      const { state } = this.#host;
      const linear = linearOfRip(state);
      return BigInt.asUintN(64, BigInt(linear));
    });
  }

  readRegister(name: string): bigint | undefined {
    return this.#with(() => readRegister(this.#host.processor, name));
  }
  writeRegister(name: string, value: bigint): string | undefined {
    return this.#edit(() => {
      const problem = writeRegister(this.#host.processor, name, value);
      this.#host.executor.translationsChanged();
      return problem;
    });
  }
  findMsr(nameOrIndex: string | number): { readonly index: number; readonly name: string } | undefined {
    const wanted = typeof nameOrIndex === 'string' ? nameOrIndex.toLowerCase() : nameOrIndex;
    for (const { index, name } of this.#host.processor.model.msrs.values()) {
      if (index === wanted || name.toLowerCase() === wanted) return { index, name };
    }
    return undefined;
  }
  registers(): readonly RegisterGroup[] {
    return this.#with(() => registerGroups(this.#host.processor));
  }
  registerNames(): readonly string[] {
    return registerNames(this.#host.processor);
  }

  peek(space: AddressSpaceName, address: bigint, lengthBytes: number): Uint8Array {
    return this.#with(() => {
      const { physical } = this.#host;
      if (space === 'linear') return this.#peekLinear(linearAddressOf(address), lengthBytes);
      return this.#pieces(space, Number(address), lengthBytes, (at, length) => physical.peek(at, length));
    });
  }

  /** What the CPU reads, and where EPT does not map the guest's memory yet, what it will read. */
  #peekLinear(linear: LinearAddress, lengthBytes: number): Uint8Array {
    const { mmu } = this.#host;
    let bytes = mmu.peek(linear, lengthBytes);
    // The built-in hypervisor has mappings of its own: the guest's say nothing about them.
    while (bytes.length < lengthBytes && !this.#virtualizer.handling) {
      const at = plus(linear, bytes.length);
      const more = this.#peekGuestPage(at, lengthBytes - bytes.length);
      if (!more) break;
      bytes = Uint8Array.of(
        ...bytes,
        ...more,
        ...mmu.peek(plus(at, more.length), lengthBytes - bytes.length - more.length),
      );
    }
    return bytes;
  }

  /** Up to `lengthBytes` of the hypervisor's guest, none behind the page. */
  #peekGuestPage(linear: LinearAddress, lengthBytes: number): Uint8Array | undefined {
    const host = this.#virtualizer.locateInGuest(linear);
    const inPage = 4096 - offsetInPage(linear);
    return host === undefined ? undefined : this.#host.physical.peek(host, Math.min(inPage, lengthBytes));
  }

  peekExitedGuest(address: bigint, lengthBytes: number): Uint8Array {
    return this.#with(() => {
      const linear = linearAddressOf(address);
      let bytes = new Uint8Array();
      while (bytes.length < lengthBytes) {
        const more = this.#peekGuestPage(plus(linear, bytes.length), lengthBytes - bytes.length);
        if (!more) break;
        bytes = Uint8Array.of(...bytes, ...more);
      }
      return bytes;
    });
  }

  poke(space: AddressSpaceName, address: bigint, bytes: Uint8Array): number {
    return this.#edit(() => {
      const { mmu, physical } = this.#host;
      if (space === 'linear') return mmu.poke(linearAddressOf(address), bytes);
      let written = 0;
      this.#pieces(space, Number(address), bytes.length, (at, length) => {
        if (!physical.poke(at, bytes.subarray(written, written + length))) return undefined;
        written += length;
        return new Uint8Array(length);
      });
      return written;
    });
  }

  /** Walks a physical range page by page; ends where `visit` finds no memory. Returns what it collected. */
  #pieces(
    space: AddressSpaceName,
    address: number,
    lengthBytes: number,
    visit: (hostPhysical: number, length: number) => Uint8Array | undefined,
  ): Uint8Array {
    const collected: number[] = [];
    for (let done = 0; done < lengthBytes; ) {
      const at = address + done;
      const length = Math.min(lengthBytes - done, 4096 - (at % 4096));
      const host = space === 'host-physical' ? at : guestPhysicalToHost(this.#host, this.#virtualizer, at);
      const piece = host === undefined ? undefined : visit(host, length);
      if (!piece) break;
      for (const byte of piece) collected.push(byte);
      done += length;
    }
    return Uint8Array.from(collected);
  }

  mode(): CpuModeView {
    return this.#with(() => cpuMode(this.index, this.#host.processor, this.#host.mmu, this.#virtualizer.levels()));
  }
  checkVmEntry(): EntryCheckView {
    return this.#with(() => this.#virtualizer.structure.check());
  }
  vmcs(address?: bigint): VmcsView | undefined {
    return this.#with(() => this.#virtualizer.structure.view(address));
  }
  readVmcs(field: string): bigint | undefined {
    return this.#with(() => this.#virtualizer.structure.read(field));
  }
  writeVmcs(field: string, value: bigint): string | undefined {
    return this.#edit(() => this.#virtualizer.structure.write(field, value));
  }
  handlerFrames(): readonly HandlerFrame[] {
    return this.#with(() => this.#virtualizer.handlerFrames());
  }

  translate(linear: bigint, access: keyof typeof accesses = 'read'): TranslationView {
    const address = linearAddressOf(linear);
    return this.#with(() => explainTranslation(this.#host.mmu, { linear: address, access: accesses[access] }));
  }
  tlb(): readonly TlbEntryView[] {
    return this.#with(() => tlbEntries(this.#host.mmu));
  }
  pagingRoots(): PagingRoots {
    return this.#with(() => {
      const { mmu, svm, hasSvm } = this.#host;
      const roots = pagingRoots(mmu);
      // Of the last VMCB's guest, while its host runs.
      const context = hasSvm && !roots.ept ? svm.nestedPaging : undefined;
      return context ? { ...roots, nestedOfGuest: nestedRoot(mmu, context) } : roots;
    });
  }
  pagingChildren(table: PagingTable): readonly PagingNode[] {
    return this.#with(() => {
      const { mmu, svm } = this.#host;
      const space = mmu.currentSpace();
      if (table.structure !== 'nested' || space.ept?.nested) return pagingChildren(mmu, table, space);
      const { nestedPaging } = svm;
      return nestedPaging ? pagingChildren(mmu, table, { ...space, ept: nestedPaging }) : [];
    });
  }
}
