/**
 * The states that were reached: a hash of each, to know them again; and, in the order in which they were found, their
 * numbers and the state before them on a shortest way.
 *
 * @module
 */

const chunkLength = 1 << 22;

/** Keys that were seen, 64 bits of hash for each. Two of a hundred million share one with a probability of 1 in 4000. */
export class KeySet {
  #slots = new Uint32Array(2 << 16);
  /** How many there are. */
  size = 0;

  /** Whether the first `length` numbers are no key yet; from now on they are one. */
  isNew(key: Int32Array, length: number): boolean {
    let a = 0x9e3779b9, b = 0x85ebca6b;
    for (let i = 0; i < length; i++) {
      a = Math.imul(a ^ key[i]!, 0xcc9e2d51);
      a = (a ^ (a >>> 15)) + b | 0;
      b = Math.imul(b ^ key[i]!, 0x1b873593);
      b = (b ^ (b >>> 13)) + (a << 5 | a >>> 27) | 0;
    }
    a = finish(a), b = finish(b ^ a) || 1; // 0 is a free place
    if ((this.size + 1) * 3 > this.#slots.length) this.#grow();
    return this.#insert(a, b);
  }

  #insert(a: number, b: number): boolean {
    const slots = this.#slots, mask = slots.length / 2 - 1;
    for (let at = (a & mask) * 2;; at = (at + 2) & (slots.length - 1)) {
      if (slots[at + 1] === 0) {
        slots[at] = a;
        slots[at + 1] = b;
        this.size++;
        return true;
      }
      if (slots[at] === a && slots[at + 1] === b) return false;
    }
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = new Uint32Array(before.length * 2);
    this.size = 0;
    for (let at = 0; at < before.length; at += 2) {
      if (before[at + 1] !== 0) this.#insert(before[at]!, before[at + 1]!);
    }
  }
}

/** The numbers of all states that were reached. */
export class Visited {
  readonly #chunks: Int32Array[] = [];
  #end = chunkLength;
  #starts = new Float64Array(1 << 16);
  #parents = new Int32Array(1 << 16);
  /** How many there are. */
  size = 0;

  /** Keeps the numbers of a state, found from the state `parent`; -1: it is the first one. */
  push(numbers: readonly number[], parent: number): void {
    if (this.#end + numbers.length + 1 > chunkLength) {
      this.#chunks.push(new Int32Array(chunkLength));
      this.#end = 0;
    }
    if (this.size === this.#parents.length) {
      const [starts, parents] = [this.#starts, this.#parents];
      (this.#starts = new Float64Array(this.size * 2)).set(starts);
      (this.#parents = new Int32Array(this.size * 2)).set(parents);
    }
    const chunk = this.#chunks.at(-1)!;
    this.#starts[this.size] = (this.#chunks.length - 1) * chunkLength + this.#end;
    this.#parents[this.size++] = parent;
    chunk[this.#end++] = numbers.length;
    for (let i = 0; i < numbers.length; i++) chunk[this.#end++] = numbers[i]!;
  }

  /** The numbers of a state. */
  at(index: number): Int32Array {
    const start = this.#starts[index]!;
    const chunk = this.#chunks[Math.floor(start / chunkLength)]!;
    const from = start % chunkLength + 1;
    return chunk.subarray(from, from + chunk[from - 1]!);
  }

  /** The states on the way to one, itself included. */
  wayTo(index: number): number[] {
    const way: number[] = [];
    for (let at = index; at >= 0; at = this.#parents[at]!) way.unshift(at);
    return way;
  }
}

function finish(hash: number): number {
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b);
  hash = Math.imul(hash ^ hash >>> 13, 0xc2b2ae35);
  return (hash ^ hash >>> 16) >>> 0;
}
