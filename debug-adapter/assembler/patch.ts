/** The values that depend on where the sections lie, put into their bytes. */

import { appendConstant } from './encode.ts';
import type { PlacedFixup, Section } from './section.ts';
import type { Diagnostics } from './source.ts';
import { cutOffMessage, isCutOff } from './value.ts';

/** The places of sections by their names. */
export type SectionStarts = ReadonlyMap<string, { readonly start: number; readonly vstart: number }>;

/** Reports the values that do not fit. */
export function patchFixups(sections: readonly Section[], starts: SectionStarts, diagnostics: Diagnostics): void {
  for (const section of sections) {
    const vstart = starts.get(section.name)?.vstart ?? 0;
    for (const fixup of section.fixups) {
      const value = fixedValue(fixup, vstart, starts);
      const bytes: number[] = [];
      appendConstant(bytes, value, fixup.sizeBytes);
      section.contents.set(bytes, fixup.offset);
      checkRange(fixup, value, diagnostics);
    }
  }
}

function fixedValue({ value, relative, end }: PlacedFixup, vstart: number, starts: SectionStarts): bigint {
  let sum = value.constant;
  for (const { base, coefficient } of value.terms) {
    const place = 'sectionName' in base ? starts.get(base.sectionName) : undefined;
    if (place && 'sectionName' in base) sum += coefficient * BigInt(place[base.kind]);
  }
  return relative ? sum - BigInt(vstart + end) : sum;
}

function checkRange({ sizeBytes, relative, range }: PlacedFixup, value: bigint, diagnostics: Diagnostics): void {
  const bits = sizeBytes * 8;
  if (relative && bits === 8 && BigInt.asIntN(8, value) !== value) {
    const found = `the target is ${value} bytes away, at most -128 to 127 fit`;
    diagnostics.error(range, `short jump is out of range: ${found}`);
  } else if (!relative && isCutOff(value, bits)) {
    diagnostics.warning(range, cutOffMessage({ constant: value, bits }));
  }
}
