/**
 * Watches on RAM, and on fields of VMCS and VMCB where they lie in RAM. Their pages miss the fast TLB; who writes to them in another
 * way tells physical memory. So nothing is lost elsewhere.
 */
import { PAGE_BYTES } from '../../cpu/memory-map.ts';
import { findVmcbField } from '../../inspect/vmcb.ts';
import { isVmcb } from '../../inspect/vmrun-check.ts';
import { Access } from '../../mmu/access.ts';
import { type VmcsFieldName, widthBitsOf } from '../../vmx/fields.ts';
import { fieldByName, offsetOf, SHADOW_VMCS, VMCS_BYTES } from '../../vmx/vmcs.ts';
import type { Host } from '../host.ts';
import type { Watch } from '../machine-api.ts';
import type { WatchCauses } from './watch-causes.ts';
import type { WatchNotes } from './watch-notes.ts';

interface Range {
  readonly watch: Watch;
  readonly address: number;
  readonly lengthBytes: number;
}

const LINK = offsetOf('VMCS link pointer');
/** Values are shown of so many bytes at most. */
const VALUE_BYTES = 8;

export class MemoryWatches {
  readonly #host: Host;
  readonly #notes: WatchNotes;
  readonly #causes: WatchCauses;
  #watches: readonly Watch[] = [];
  #ranges: readonly Range[] = [];
  /** The VMCSs whose fields are among the ranges. */
  #followed: readonly number[] = [];
  #hasFields = false;

  constructor(host: Host, notes: WatchNotes, causes: WatchCauses) {
    this.#host = host;
    this.#notes = notes;
    this.#causes = causes;
    host.mmu.onWatchedAccess = (_linear, physical, lengthBytes, access) =>
      this.#accessed(physical, lengthBytes, access === Access.Write ? 'write' : 'read', true);
    host.physical.onWatchedWrite = (physical, lengthBytes) => this.#accessed(physical, lengthBytes, 'write', false);
  }

  set(watches: readonly Watch[]): void {
    this.#watches = watches;
    this.#hasFields = watches.some(({ target }) => target.kind === 'vmcs-field');
    this.#followed = this.#vmcss();
    this.#arm();
  }

  /** The current VMCS may be another one now. */
  follow(): void {
    if (!this.#hasFields) return;
    const vmcss = this.#vmcss();
    if (vmcss.length === this.#followed.length && vmcss.every((at, index) => at === this.#followed[index])) return;
    this.#followed = vmcss;
    this.#arm();
  }

  /** The current VMCS, and the shadow VMCS that it links to; or the VMCB of the last VMRUN. */
  #vmcss(): number[] {
    const { state, physical, vmx, svm, hasSvm } = this.#host;
    if (hasSvm) return this.#hasFields && isVmcb(svm.parts, state.vmcb) ? [state.vmcb] : [];
    if (!this.#hasFields || !state.currentVmcsValid || !physical.isRam(state.currentVmcs, VMCS_BYTES)) return [];
    const link = vmx.parts.vmcs.number(LINK);
    const isShadow = physical.isRam(link, VMCS_BYTES) && (physical.peekU32(link) & SHADOW_VMCS) !== 0;
    return isShadow ? [state.currentVmcs, link] : [state.currentVmcs];
  }

  #arm(): void {
    const { mmu } = this.#host;
    for (const page of pagesOf(this.#ranges).keys()) mmu.watch(page, false, false);
    this.#ranges = this.#watches.flatMap((watch) => this.#rangesOf(watch));
    for (const [page, { read, write }] of pagesOf(this.#ranges)) mmu.watch(page, read, write);
  }

  #rangesOf(watch: Watch): Range[] {
    const { target } = watch;
    if (target.kind === 'memory') {
      return [{ watch, address: Number(target.address), lengthBytes: target.lengthBytes }];
    }
    if (target.kind !== 'vmcs-field') return [];
    const place = this.#host.hasSvm ? vmcbPlace(target.name) : vmcsPlace(target.name);
    if (!place) return [];
    const { offset, lengthBytes } = place;
    return this.#followed.map((address) => ({ watch, address: address + offset, lengthBytes }));
  }

  #accessed(physical: number, lengthBytes: number, access: 'read' | 'write', isExplicit: boolean): void {
    for (const { watch, address, lengthBytes: length } of this.#ranges) {
      if (!watch[access] || physical >= address + length || physical + lengthBytes <= address) continue;
      const first = Math.max(physical, address);
      const [from, bytes] =
        length <= VALUE_BYTES ? [address, length] : [first, Math.min(VALUE_BYTES, address + length - first)];
      const value = () => this.#value(from, bytes);
      const cause = this.#causes.current;
      this.#notes.add({ watch, access, address: first, before: value(), after: value, isExplicit, cause });
    }
  }

  #value(address: number, lengthBytes: number): bigint | undefined {
    const bytes = this.#host.physical.peek(address, lengthBytes);
    return bytes?.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }
}

/** Where a field lies in its structure. */
type FieldPlace = { readonly offset: number; readonly lengthBytes: number } | undefined;

function vmcsPlace(name: string): FieldPlace {
  const field = fieldByName(name);
  return field && { offset: offsetOf(name as VmcsFieldName), lengthBytes: widthBitsOf(field.encoding) / 8 };
}
function vmcbPlace(name: string): FieldPlace {
  const field = findVmcbField(name);
  return field && { offset: field.offset, lengthBytes: field.bytes };
}

/** What is watched of each page. */
function pagesOf(ranges: readonly Range[]): Map<number, { read: boolean; write: boolean }> {
  const pages = new Map<number, { read: boolean; write: boolean }>();
  for (const { watch, address, lengthBytes } of ranges) {
    for (let page = address - (address % PAGE_BYTES); page < address + lengthBytes; page += PAGE_BYTES) {
      const known = pages.get(page);
      pages.set(page, { read: watch.read || known?.read === true, write: watch.write || known?.write === true });
    }
  }
  return pages;
}
