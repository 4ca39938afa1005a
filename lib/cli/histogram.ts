/**
 * Latencies in constant space: buckets that grow with the value, 64 to each power of two, so that a quantile is off by
 * less than 1 in 64 whatever its size.
 *
 * @module
 */

const subBits = 6;
const subBuckets = 1 << subBits;
const valueMax = 2 ** 31 - 1;

/** Counts whole numbers from 0 to 2^31 - 1; what is above counts as that. */
export class Histogram {
  readonly #counts = new Float64Array(bucketOf(valueMax) + 1);
  #count = 0;
  #max = 0;

  /** How many values were recorded. */
  get count(): number {
    return this.#count;
  }

  /** Adds a value, rounded. */
  record(value: number): void {
    const whole = Math.min(Math.round(value), valueMax);
    this.#counts[bucketOf(whole)]!++;
    this.#count++;
    if (whole > this.#max) this.#max = whole;
  }

  /** The buckets that hold something, in rising order: the greatest value of each and how many it holds. */
  get buckets(): [value: number, count: number][] {
    const found: [number, number][] = [];
    for (const [bucket, count] of this.#counts.entries()) {
      if (count > 0) found.push([upperEnd(bucket), count]);
    }
    return found;
  }

  /** The value that a share `q` of all values, from 0 to 1, does not exceed; 0 when there are none. */
  quantile(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) return Math.min(upperEnd(bucket), this.#max);
    }
    return 0;
  }
}

// 0 .. 127 have a bucket each; from 128 on one bucket holds 2 values, from 256 on 4, and so on
function bucketOf(value: number): number {
  const shift = Math.max(0, 31 - Math.clz32(value) - subBits);
  return shift * subBuckets + (value >>> shift);
}

/** The greatest value of a bucket. */
function upperEnd(bucket: number): number {
  const shift = Math.max(0, (bucket >>> subBits) - 1);
  return (bucket - shift * subBuckets + 1) * 2 ** shift - 1;
}
