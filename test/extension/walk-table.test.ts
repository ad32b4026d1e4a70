import { describe, expect, it } from 'vitest';
import { explainTranslation } from '../../engine/inspect/translation.ts';
import { Access } from '../../engine/mmu/access.ts';
import { PagingMode } from '../../engine/mmu/paging-structures.ts';
import { faultBits, stages, walkSections } from '../../extension/webview/walk-table.ts';
import { type Bench, bench, enable, enableEpt, map, P, R, RW, US, WB, write64 } from '../mmu/machine.ts';
import { wire } from './support.ts';

const LINEAR = 0x40_3000;
const references = { linear: '0x403021', guestPhysical: 'gpa:0x9021', hostPhysical: 'hpa:0x9021' };

function paged() {
  const b = bench();
  const at = map(b, PagingMode.Level4, LINEAR, 0x9000n | P | RW | US);
  enable(b, PagingMode.Level4);
  return { ...b, at };
}

const explained = ({ mmu }: Bench, access: Access = Access.Read) =>
  wire(explainTranslation(mmu, { linear: LINEAR + 0x21, access }));

describe('the walk of a translation as a table', () => {
  it('lists the four entries of a walk without EPT, with their places and values', () => {
    const sections = walkSections(explained(paged()));
    expect(sections.map(({ heading }) => heading)).toEqual(['Paging structures, from CR3']);
    expect(sections[0]?.rows.map(({ entry, place }) => `${entry} at ${place}`)).toEqual([
      'PML4E 0 at 0x1000',
      'PDPTE 0 at 0x2000',
      'PDE 2 at 0x3010',
      'PTE 3 at 0x4018',
    ]);
    expect(sections[0]?.rows[3]).toMatchObject({
      reference: 'hpa:0x4018',
      value: '0x0000000000009007',
      leadsTo: 'page 0x9000',
    });
    expect(sections.flatMap(({ rows }) => rows).some(({ faults }) => faults)).toBe(false);
  });

  it('lists all twenty-four entries of a nested walk in the order they are read', () => {
    const b = paged();
    write64(b, b.at.PTE, 0x9000n | P | RW | US | (1n << 5n));
    for (const level of ['PML4E', 'PDPTE', 'PDE'] as const) {
      const at = b.at[level];
      if (at !== undefined) write64(b, at, b.memory.readU64(at) | (1n << 5n));
    }
    enableEpt(b);
    const sections = walkSections(explained(b));
    const rows = sections.flatMap((section) => section.rows);
    expect(rows).toHaveLength(24);
    expect(rows.map(({ structure }) => (structure === 'EPT' ? 'e' : 'G')).join('')).toBe('eeeeGeeeeGeeeeGeeeeGeeee');
    expect(sections[0]?.heading).toBe('EPT: where the guest’s PML4E at guest-physical 0x1000 lies');
    expect(sections.at(-1)?.heading).toBe('EPT: where guest-physical 0x9021 lies');
  });

  it('marks the entry that denies, not the last one read', () => {
    const b = paged();
    write64(b, b.at.PDE, 0x4000n | P | US);
    const translation = explained(b, Access.Write);
    const rows = walkSections(translation).flatMap((section) => section.rows);
    expect(rows.filter(({ faults }) => faults).map(({ entry }) => entry)).toEqual(['PDE 2']);
    expect(stages(translation, references).at(-1)).toEqual({
      name: 'Page fault, error code 0x3',
      address: "the guest's PDE 2 denies writes (R/W = 0)",
      reference: undefined,
      fault: true,
    });
    expect(faultBits(translation.result)).toContain('W: caused by a write');
  });

  it('marks the EPT entry of a violation, once, though others have the same name', () => {
    const b = paged();
    const eptEntry = enableEpt(b);
    write64(b, eptEntry(0x9000), 0x9000n | R | WB);
    const translation = explained(b, Access.Write);
    const rows = walkSections(translation).flatMap((section) => section.rows);
    const faulting = rows.filter(({ faults }) => faults);
    expect(faulting).toMatchObject([{ structure: 'EPT', entry: 'PTE 9' }]);
    expect(stages(translation, references).map(({ name }) => name)).toEqual([
      'Linear',
      'Guest-physical',
      'EPT violation, qualification 0x78a',
    ]);
  });

  it('shows an accessed flag that EPT forbids to write as the last step', () => {
    const b = paged();
    const eptEntry = enableEpt(b);
    write64(b, eptEntry(0x1000), 0x1000n | R | WB);
    const sections = walkSections(explained(b));
    expect(sections.map(({ heading }) => heading)).toHaveLength(3);
    expect(sections.at(-1)?.rows.filter(({ faults }) => faults)).toMatchObject([{ entry: 'PTE 1' }]);
  });

  it('goes from linear to physical at once where there is no EPT', () => {
    expect(
      stages(explained(paged()), references).map(({ name, address, reference }) => [name, address, reference]),
    ).toEqual([
      ['Linear', '0x00403021', '0x403021'],
      ['Physical', '0x9021', 'hpa:0x9021'],
    ]);
  });
});
