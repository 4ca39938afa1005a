/**
 * The randomness of all tests that a seed decides.
 *
 * @module
 */

export { hash, Random } from "../../lib/chaos/random.ts";
