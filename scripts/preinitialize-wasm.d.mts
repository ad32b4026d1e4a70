/** The bytes of a module with one memory of its own, which begins as it is `after` some work; `before`: after instantiation. */
export function preinitialized(module: Uint8Array, before: Uint8Array, after: Uint8Array): Uint8Array;
