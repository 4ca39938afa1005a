/**
 * The version of this program, as in deno.json.
 *
 * @module
 */

/** Semantic version; tests keep it equal to the one in deno.json. */
export const version = "0.1.0";
