/**
 * How the engine's plain data travels in a DAP message: a bigint becomes a hexadecimal string (`0x1f`), a property that
 * is undefined is absent; all else is as it was.
 */
export type Wire<T> = T extends bigint
  ? string
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends Uint8Array
      ? string
      : T extends readonly (infer Item)[]
        ? readonly Wire<Item>[]
        : T extends object
          ? WireObject<T>
          : T;

type MayBeUndefined<T, Key extends keyof T> = undefined extends T[Key] ? Key : never;
type OptionalKeys<T> = { [Key in keyof T]-?: MayBeUndefined<T, Key> }[keyof T];

type WireObject<T> = {
  readonly [Key in Exclude<keyof T, OptionalKeys<T>>]: Wire<T[Key]>;
} & {
  readonly [Key in OptionalKeys<T>]?: Wire<Exclude<T[Key], undefined>>;
};
