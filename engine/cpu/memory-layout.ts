/** Parts of the wasm memory that lie one after another. */

/** Addresses of parts, given their lengths in bytes in the order in which they lie from `start` on. */
export function consecutive<Part extends string>(
  start: number,
  lengths: Readonly<Record<Part, number>>,
): Readonly<Record<Part, number>> {
  let next = start;
  const places = Object.entries<number>(lengths).map(([part, bytes]) => {
    const at = next;
    next += bytes;
    return [part, at];
  });
  return Object.fromEntries(places) as Readonly<Record<Part, number>>;
}
