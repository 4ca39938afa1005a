/**
 * Deep equality as `@std/assert` defines it: 0 equals -0, NaN equals NaN, a missing property differs from one that is
 * undefined, and what is compared of an instance of a class is what its getters and fields show.
 *
 * @module
 */

const typedArray = Object.getPrototypeOf(Uint8Array);

/** Whether two values are deeply equal. */
export function equal(a: unknown, b: unknown): boolean {
  return same(a, b, new Map());
}

/** `seen` holds the pairs that are being compared further up, so that a cycle ends. */
function same(a: unknown, b: unknown, seen: Map<object, object>): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Date && b instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (prototypeOf(a) !== prototypeOf(b)) return false;
  if (a instanceof typedArray || a instanceof ArrayBuffer || a instanceof SharedArrayBuffer) {
    return sameElements(elementsOf(a), elementsOf(b));
  }
  if (a instanceof WeakMap || a instanceof WeakSet) {
    throw new TypeError(`The contents of a ${a.constructor.name} cannot be compared`);
  }
  if (a instanceof WeakRef) return same(a.deref(), (b as WeakRef<object>).deref(), seen);
  if (a instanceof RegExp || a instanceof URL || a instanceof URLSearchParams) return String(a) === String(b);
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (Object.keys(a).length !== Object.keys(b).length) return false;
  if (a instanceof Set) return sameEntries([...a], [...b as Set<unknown>], seen);
  if (a instanceof Map) return sameEntries([...a], [...b as Map<unknown, unknown>], seen);
  return sameProperties(a, b, seen);
}

/** A null prototype counts as that of a plain object. */
function prototypeOf(value: object): object {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

function elementsOf(value: unknown): ArrayLike<unknown> {
  return ArrayBuffer.isView(value)
    ? value as unknown as ArrayLike<unknown>
    : new Uint8Array(value as ArrayBuffer);
}

function sameElements(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i] && !Object.is(a[i], b[i])) return false;
  }
  return true;
}

/** Each entry of a Map or Set must find one of its own on the other side, whatever the order. */
function sameEntries(a: unknown[], b: unknown[], seen: Map<object, object>): boolean {
  if (a.length !== b.length) return false;
  const left = [...b];
  for (const entry of a) {
    const at = left.findIndex((other) => same(entry, other, seen));
    if (at < 0) return false;
    left.splice(at, 1);
  }
  return true;
}

function sameProperties(a: object, b: object, seen: Map<object, object>): boolean {
  for (const key of new Set([...propertiesOf(a), ...propertiesOf(b)])) {
    if (!(key in a) || !(key in b)) return false;
    if (!same(a[key as keyof typeof a], b[key as keyof typeof b], seen)) return false;
  }
  return true;
}

/** Enumerable properties of plain objects and arrays; of other instances also hidden ones and their class's getters. */
function propertiesOf(value: object): (string | symbol)[] {
  const plain = prototypeOf(value) === Object.prototype || prototypeOf(value) === Array.prototype;
  if (plain) {
    return Reflect.ownKeys(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key));
  }
  const keys: (string | symbol)[] = [];
  let at: object | null = value;
  while (at !== null && at !== Object.prototype && at !== Array.prototype) {
    keys.push(...Reflect.ownKeys(at));
    at = Object.getPrototypeOf(at);
  }
  return keys;
}
