/**
 * A map in the order of its keys, which can be cloned in no time: a B+ tree whose nodes are copied when they are
 * changed while a clone may see them. A search does not compare texts, which lie anywhere in memory, but numbers that
 * lie side by side: a node has a digest of each key, of the characters behind those that all of its keys begin with.
 *
 * Keys are in the order of JavaScript's `<`.
 *
 * @module
 */

import { digestOf, digestsOf, isExact } from "./key_digest.ts";

/** A node with more keys is split. One that lost a key is joined with a neighbour when they have three quarters of that. */
const nodeKeysMax = 64;

/** Who may change a node: a map, from one clone to the next. */
type Owner = object;

/** A node has the keys from `low` to before `high`; null is above all. */
interface Bounds {
  low: string;
  high: string | null;
}

/** What a node has of each key. */
interface Entries<Value> {
  keys: string[];
  /** Values in a leaf; else the nodes that have the keys from this one up to the next. */
  items: (Value | Node<Value>)[];
  /** For search; absent: to be made. */
  digests?: number[];
}

/** Some keys in order. It has none only when it has no neighbour that it could be joined with. */
class Node<Value> {
  readonly owner: Owner;
  /** Above the leaves, whose height is 0. */
  readonly height: number;
  readonly bounds: Bounds;
  readonly keys: string[];
  readonly items: (Value | Node<Value>)[];
  readonly #digests: number[];
  /** Of that many characters all texts within the bounds begin with the same. */
  readonly #skip: number;

  constructor(owner: Owner, height: number, bounds: Bounds, { keys, items, digests }: Entries<Value>) {
    this.owner = owner;
    this.height = height;
    this.bounds = bounds;
    this.keys = keys;
    this.items = items;
    this.#skip = commonLength(bounds);
    this.#digests = digests ?? digestsOf(keys, this.#skip);
  }

  /** Where a key within the bounds is; when it is not here, `~at` for the place at which it would be. */
  search(key: string): number {
    const { keys } = this;
    const digests = this.#digests;
    const digest = digestOf(key, this.#skip);
    const isAlone = isExact(digest);
    let from = 0, end = digests.length;
    while (from < end) {
      const middle = (from + end) >> 1;
      const other = digests[middle]!;
      if (other < digest || (other === digest && !isAlone && keys[middle]! < key)) from = middle + 1;
      else end = middle;
    }
    return digests[from] === digest && (isAlone || keys[from] === key) ? from : ~from;
  }

  /** Where the first key is that does not come before this one, which is within the bounds. */
  find(key: string): number {
    const at = this.search(key);
    return at < 0 ? ~at : at;
  }

  /** Where the node is that a key within the bounds belongs to. */
  place(key: string): number {
    const at = this.search(key);
    return at < 0 ? ~at - 1 : at;
  }

  child(at: number): Node<Value> {
    return this.items[at] as Node<Value>;
  }

  insert(at: number, key: string, item: Value | Node<Value>): void {
    this.keys.splice(at, 0, key);
    this.items.splice(at, 0, item);
    this.#digests.splice(at, 0, digestOf(key, this.#skip));
  }

  remove(at: number): void {
    this.keys.splice(at, 1);
    this.items.splice(at, 1);
    this.#digests.splice(at, 1);
  }

  copy(owner: Owner): Node<Value> {
    const { height, bounds, keys, items } = this;
    const entries = { keys: keys.slice(), items: items.slice(), digests: this.#digests.slice() };
    return new Node(owner, height, bounds, entries);
  }

  /** The keys before `at`, and the others. */
  split(at: number): [Node<Value>, Node<Value>] {
    const { owner, height, bounds: { low, high }, keys, items } = this;
    const between = keys[at]!;
    const part = (from: number, end?: number): Entries<Value> => ({
      keys: keys.slice(from, end),
      items: items.slice(from, end),
    });
    return [
      new Node(owner, height, { low, high: between }, part(0, at)),
      new Node(owner, height, { low: between, high }, part(at)),
    ];
  }

  /** All of this and of the node behind it. */
  joinedWith(next: Node<Value>, owner: Owner): Node<Value> {
    const { height, bounds: { low } } = this;
    return new Node(owner, height, { low, high: next.bounds.high }, {
      keys: this.keys.concat(next.keys),
      items: this.items.concat(next.items),
    });
  }
}

/** An ordered map. */
export class OrderedMap<Value> {
  #owner: Owner = {};
  #root: Node<Value> = new Node(this.#owner, 0, { low: "", high: null }, { keys: [], items: [] });
  #size = 0;
  readonly #keysMax: number;

  /** The number is for tests, which need fewer keys for a high tree then. */
  constructor(keysMax: number = nodeKeysMax) {
    this.#keysMax = keysMax;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#size;
  }

  /** A copy; neither sees later changes of the other. Takes no time: they share every node until one changes it. */
  clone(): OrderedMap<Value> {
    const clone = new OrderedMap<Value>(this.#keysMax);
    clone.#root = this.#root;
    clone.#size = this.#size;
    this.#owner = {};
    return clone;
  }

  /** The value of a key. */
  get(key: string): Value | undefined {
    let node = this.#root;
    while (node.height > 0) node = node.child(node.place(key));
    const at = node.search(key);
    return at < 0 ? undefined : node.items[at] as Value;
  }

  /** Gives a key a value. */
  set(key: string, value: Value): void {
    this.update(key, () => value);
  }

  /** Gives a key the value that is made of the one that it has. */
  update(key: string, toNew: (value: Value | undefined) => Value): void {
    this.#root = this.#toChange(this.#root);
    const halves = this.#update(this.#root, key, toNew);
    if (halves === null) return;
    const { height, bounds } = this.#root;
    const keys = halves.map((half) => half.bounds.low);
    this.#root = new Node(this.#owner, height + 1, bounds, { keys, items: halves });
  }

  /** Takes a key away. */
  delete(key: string): void {
    this.#root = this.#toChange(this.#root);
    this.#delete(this.#root, key);
    while (this.#root.height > 0 && this.#root.keys.length === 1) this.#root = this.#root.child(0);
  }

  /** The first key. */
  minKey(): string | undefined {
    for (const [key] of this.entries()) return key;
  }

  /** The last key. */
  maxKey(): string | undefined {
    for (const [key] of this.entriesReversed()) return key;
  }

  /** The entries in order, from a key on. The map must not be changed meanwhile; a clone may be read at leisure. */
  *entries(from = ""): Generator<[string, Value]> {
    for (const { leaf: { keys, items }, at } of leavesFrom(this.#root, from)) {
      for (let i = at; i < keys.length; i++) yield [keys[i]!, items[i] as Value];
    }
  }

  /** All keys in order, some at a time, with their values. */
  *blocks(): Generator<{ keys: readonly string[]; values: readonly Value[] }> {
    for (const { leaf: { keys, items } } of leavesFrom(this.#root, "")) {
      yield { keys, values: items as Value[] };
    }
  }

  /** The entries in reverse order, from the last one before a key on; null: from the last one. */
  *entriesReversed(before: string | null = null): Generator<[string, Value]> {
    for (const { leaf: { keys, items }, at } of leavesBefore(this.#root, before)) {
      for (let i = at - 1; i >= 0; i--) yield [keys[i]!, items[i] as Value];
    }
  }

  /** How many keys are at least `low` and less than `high`. */
  count(low: string, high: string): number {
    let count = 0;
    for (const { leaf, at } of leavesFrom(this.#root, low)) {
      const isAll = leaf.bounds.high !== null && leaf.bounds.high <= high;
      count += (isAll ? leaf.keys.length : leaf.find(high)) - at;
      if (!isAll) break;
    }
    return count;
  }

  /** The node, or a copy when a clone may see it. */
  #toChange(node: Node<Value>): Node<Value> {
    return node.owner === this.#owner ? node : node.copy(this.#owner);
  }

  #childToChange(node: Node<Value>, at: number): Node<Value> {
    const child = node.child(at);
    return child.owner === this.#owner ? child : node.items[at] = this.#toChange(child);
  }

  /** Returns the two nodes that go into the place of this one; null: it stays. */
  #update(
    node: Node<Value>,
    key: string,
    toNew: (value: Value | undefined) => Value,
  ): [Node<Value>, Node<Value>] | null {
    if (node.height === 0) {
      const at = node.search(key);
      if (at >= 0) {
        node.items[at] = toNew(node.items[at] as Value);
        return null;
      }
      node.insert(~at, key, toNew(undefined));
      this.#size++;
    } else {
      const at = node.place(key);
      const halves = this.#update(this.#childToChange(node, at), key, toNew);
      if (halves === null) return null;
      const [left, right] = halves;
      node.items[at] = left;
      node.insert(at + 1, right.bounds.low, right);
    }
    const keysMax = this.#keysMax;
    if (node.keys.length <= keysMax) return null;
    // Keys that come in their order always come last: what they leave behind is full.
    return node.split(node.bounds.high === null ? keysMax : keysMax >> 1);
  }

  /** Whether the key was there. */
  #delete(node: Node<Value>, key: string): boolean {
    if (node.height > 0) {
      const at = node.place(key);
      const isGone = this.#delete(this.#childToChange(node, at), key);
      if (isGone) this.#join(node, at);
      return isGone;
    }
    const at = node.search(key);
    if (at < 0) return false;
    node.remove(at);
    this.#size--;
    return true;
  }

  /** Joins a node that has become small with the one before or behind it. */
  #join(parent: Node<Value>, at: number): void {
    const joinedMax = 0.75 * this.#keysMax;
    if (2 * parent.child(at).keys.length > joinedMax) return;
    for (let i = Math.max(0, at - 1); i <= at && i + 1 < parent.keys.length; i++) {
      const left = parent.child(i), right = parent.child(i + 1);
      const count = left.keys.length + right.keys.length;
      const isOneEmpty = left.keys.length === 0 || right.keys.length === 0;
      if (count > joinedMax && !isOneEmpty) continue;
      parent.items[i] = left.joinedWith(right, this.#owner);
      parent.remove(i + 1);
      return;
    }
  }
}

/** A leaf, and a place in it. */
interface Place<Value> {
  leaf: Node<Value>;
  at: number;
}

/** Where `from`, which is within the bounds, is or would be, and all leaves behind it from their beginning. */
function* leavesFrom<Value>(node: Node<Value>, from: string): Generator<Place<Value>> {
  if (node.height === 0) return yield { leaf: node, at: node.find(from) };
  const first = node.place(from);
  yield* leavesFrom(node.child(first), from);
  for (let i = first + 1; i < node.keys.length; i++) yield* leavesFrom(node.child(i), node.keys[i]!);
}

/** The same backwards, and from their ends; null: from the end of the last one. */
function* leavesBefore<Value>(node: Node<Value>, before: string | null): Generator<Place<Value>> {
  const { keys } = node;
  if (node.height === 0) return yield { leaf: node, at: before === null ? keys.length : node.find(before) };
  const first = before === null ? keys.length - 1 : node.place(before);
  yield* leavesBefore(node.child(first), before);
  for (let i = first - 1; i >= 0; i--) yield* leavesBefore(node.child(i), null);
}

function commonLength({ low, high }: Bounds): number {
  if (high === null) return 0;
  let length = 0;
  while (length < low.length && low[length] === high[length]) length++;
  return length;
}
