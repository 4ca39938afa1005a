/**
 * What waits in a line: first in, first out. A ring, so that its memory is used again and again, and a place that was
 * left refers to nothing. An array that is cut in front, or a Map, leaves old copies behind, which keep all that they
 * referred to in memory until the next collection of everything, although the collector of young objects has passed by.
 *
 * @module
 */

/** A queue. */
export class Queue<Item> {
  /** Its length is a power of two. */
  #ring: (Item | undefined)[] = new Array(16).fill(undefined);
  #start = 0;
  #size = 0;

  /** How many items it has. */
  get size(): number {
    return this.#size;
  }

  /** The oldest item. */
  get first(): Item | undefined {
    return this.#ring[this.#start];
  }

  /** The newest item. */
  get last(): Item | undefined {
    return this.#size === 0 ? undefined : this.at(this.#size - 1);
  }

  /** The item that has so many before it. */
  at(place: number): Item | undefined {
    return place < this.#size ? this.#ring[(this.#start + place) & (this.#ring.length - 1)] : undefined;
  }

  /** Adds an item. */
  push(item: Item): void {
    if (this.#size === this.#ring.length) this.#grow();
    this.#ring[(this.#start + this.#size) & (this.#ring.length - 1)] = item;
    this.#size++;
  }

  /** Takes the oldest item away. */
  shift(): Item | undefined {
    const item = this.#ring[this.#start];
    if (this.#size === 0) return undefined;
    this.#ring[this.#start] = undefined;
    this.#start = (this.#start + 1) & (this.#ring.length - 1);
    this.#size--;
    return item;
  }

  /** Takes the newest item away. */
  pop(): Item | undefined {
    if (this.#size === 0) return undefined;
    this.#size--;
    const at = (this.#start + this.#size) & (this.#ring.length - 1);
    const item = this.#ring[at];
    this.#ring[at] = undefined;
    return item;
  }

  /** All items, oldest first. */
  *[Symbol.iterator](): Generator<Item> {
    for (let i = 0; i < this.#size; i++) yield this.at(i)!;
  }

  #grow(): void {
    const items = [...this];
    const length = 2 * this.#ring.length;
    this.#ring.fill(undefined);
    this.#ring = new Array(length).fill(undefined);
    for (let i = 0; i < items.length; i++) this.#ring[i] = items[i];
    this.#start = 0;
  }
}
