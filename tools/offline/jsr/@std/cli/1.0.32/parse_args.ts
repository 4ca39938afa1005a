/**
 * Stands in for `@std/cli/parse-args` where JSR cannot be reached. The types follow the real ones for plain option
 * names; an option whose name has a dot is left `unknown`.
 *
 * @module
 */

type Name = string | undefined;
type Aliases = { readonly [name: string]: string | readonly string[] };

/** What to expect among the arguments. */
export interface ParseOptions<
  B extends Name = Name,
  S extends Name = Name,
  C extends Name = Name,
  N extends Name = Name,
  D extends Record<string, unknown> | undefined = Record<string, unknown> | undefined,
  A extends Aliases | undefined = Aliases | undefined,
  R extends boolean | undefined = boolean | undefined,
> {
  /** Whether what follows "--" is kept apart, under that name. */
  "--"?: R;
  /** Other names of options. */
  alias?: A;
  /** Options without a value; false when not given. */
  boolean?: B | ReadonlyArray<Extract<B, string>>;
  /** Values of options that are not given. */
  default?: D & Record<string, unknown>;
  /** Whether the first argument that is no option ends the options. */
  stopEarly?: boolean;
  /** Options whose value stays a string, even if it looks like a number. */
  string?: S | ReadonlyArray<Extract<S, string>>;
  /** Options that may be repeated; their values form a list. */
  collect?: C | ReadonlyArray<Extract<C, string>>;
  /** Options that `--no-NAME` sets to false. */
  negatable?: N | ReadonlyArray<Extract<N, string>>;
  /** Called with what no other field names; when it returns false, that is left out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

type Flat<T> = { [K in keyof T]: T[K] };
type Plain<T> = T extends `${string}.${string}` ? never : Extract<T, string>;

type Typed<B, S, C, N> =
  & { [K in Exclude<Plain<S>, C>]?: K extends N ? string | false : string }
  & { [K in Extract<Plain<S>, C>]: K extends N ? string[] | false : string[] }
  & { [K in Exclude<Plain<B>, C>]: boolean }
  & { [K in Extract<Plain<B>, C>]: boolean[] }
  & { [K in Exclude<Plain<C>, S | B>]: K extends N ? unknown[] | false : unknown[] };

type Defaulted<T, D> = D extends undefined ? T
  : Omit<T, keyof D> & { [K in keyof D]: K extends keyof T ? D[K] | NonNullable<T[K]> : unknown };

type NamesOf<K, A> = K extends keyof A
  ? string extends A[K] ? K : A[K] extends string ? K | A[K] : A[K] extends string[] ? K | A[K][number] : K
  : K;

type Aliased<T, A> = { [K in keyof T as NamesOf<K, A>]: T[K] };

type Values<B, S, C, N, D, A> = [B, S, C] extends [undefined, undefined, undefined] ? Record<string, unknown>
  : Record<string, unknown> & Aliased<Flat<Defaulted<Flat<Typed<B, S, C, N>>, D>>, A>;

/** The arguments: one field an option, and in `_` all that is no option. */
export type Args<T = Record<string, unknown>, R extends boolean | undefined = undefined> = Flat<
  & T
  & { _: (string | number)[] }
  & (boolean extends R ? { "--"?: string[] } : true extends R ? { "--": string[] } : Record<never, never>)
>;

type Nested = { [key: string]: unknown };

/** Sorts command line arguments into options and the rest. */
export function parseArgs<
  R extends boolean | undefined = undefined,
  B extends Name = undefined,
  S extends Name = undefined,
  C extends Name = undefined,
  N extends Name = undefined,
  D extends Record<string, unknown> | undefined = undefined,
  const A extends Aliases | undefined = undefined,
>(
  args: readonly string[],
  options: ParseOptions<B, S, C, N, D, A, R> = {},
): Args<Values<B, S, C, N, D, A>, R> {
  const end = args.indexOf("--");
  const after = end < 0 ? [] : args.slice(end + 1);
  const parser = new Parser(options, end < 0 ? args : args.slice(0, end));
  const result = parser.run();
  if (options["--"]) result["--"] = after;
  else (result._ as unknown[]).push(...after);
  return result as Args<Values<B, S, C, N, D, A>, R>;
}

class Parser {
  readonly #result: Nested = { _: [] };
  readonly #aliases = new Map<string, string[]>();
  readonly #boolean: Set<string>;
  readonly #string: Set<string>;
  readonly #collect: Set<string>;
  readonly #negatable: Set<string>;
  #at = 0;

  constructor(readonly options: ParseOptions, readonly args: readonly string[]) {
    for (const [name, other] of Object.entries(options.alias ?? {})) {
      const names = [name, ...listOf(other)];
      for (const each of names) this.#aliases.set(each, names.filter((it) => it !== each));
    }
    this.#boolean = this.#setOf(options.boolean);
    this.#string = this.#setOf(options.string);
    this.#collect = this.#setOf(options.collect);
    this.#negatable = this.#setOf(options.negatable);
  }

  run(): Nested {
    const rest = this.#result._ as unknown[];
    while (this.#at < this.args.length) {
      const arg = this.args[this.#at++]!;
      const long = /^--(no-)?([^]+?)(?:=([^]*))?$/.exec(arg);
      if (long) this.#long(arg, long[1] !== undefined, long[2]!, long[3]);
      else if (arg.length > 1 && arg.startsWith("-")) this.#short(arg);
      else {
        if (this.options.unknown?.(arg) !== false) {
          rest.push(this.#string.has("_") || !isNumber(arg) ? arg : Number(arg));
        }
        if (this.options.stopEarly) {
          rest.push(...this.args.slice(this.#at));
          break;
        }
      }
    }
    this.#fillIn();
    return this.#result;
  }

  #long(arg: string, negated: boolean, name: string, value: string | undefined): void {
    if (value !== undefined) {
      return this.#set(name, this.#boolean.has(name) ? value !== "false" : value, arg);
    }
    if (negated && this.#negatable.has(name)) return this.#set(name, false, arg, false);
    const key = negated ? `no-${name}` : name;
    const next = this.args[this.#at];
    if (next && !next.startsWith("-") && !this.#isBoolean(key)) {
      this.#at++;
      return this.#set(key, next, arg);
    }
    this.#setBare(key, next, arg);
  }

  /** `-a`, `-abc`, `-n5`, `-n=5`, `-n 5`. */
  #short(arg: string): void {
    const last = arg.length - 1;
    for (let i = 1; i < last; i++) {
      const letter = arg[i]!;
      const rest = arg.slice(i + 1);
      const isLetter = /[A-Za-z]/.test(letter);
      const value = isLetter ? /=([^\n\r\u2028\u2029]+)/.exec(rest)?.[1] : undefined;
      if (rest === "-") {
        this.#set(letter, "-", arg);
        continue;
      }
      if (rest === "=") return this.#set(letter, "", arg);
      if (value !== undefined) return this.#set(letter, value, arg);
      if (isLetter && /-?\d+(\.\d*)?(e-?\d+)?$/.test(rest)) return this.#set(letter, rest, arg);
      if (i + 1 < last && /\W/.test(rest[0]!)) return this.#set(letter, rest, arg);
      this.#set(letter, this.#string.has(letter) ? "" : true, arg);
    }
    const key = arg[last]!;
    if (key === "-") return;
    const next = this.args[this.#at];
    if (next && !/^--?[^-]/.test(next) && !this.#isBoolean(key)) {
      this.#at++;
      return this.#set(key, next, arg);
    }
    this.#setBare(key, next, arg);
  }

  /** An option that stands alone, unless the word true or false follows it. */
  #setBare(key: string, next: string | undefined, arg: string): void {
    if (next === "true" || next === "false") {
      this.#at++;
      return this.#set(key, next === "true", arg);
    }
    this.#set(key, this.#string.has(key) ? "" : true, arg);
  }

  #set(key: string, value: string | boolean, arg: string, mayCollect = true): void {
    const known = this.#boolean.has(key) || this.#string.has(key) || this.#collect.has(key) ||
      this.#aliases.has(key);
    if (!known && this.options.unknown?.(arg, key, value) === false) return;
    const typed = typeof value === "string" && !this.#string.has(key) && isNumber(value)
      ? Number(value)
      : value;
    const collect = mayCollect && this.#collect.has(key);
    for (const name of [key, ...this.#aliases.get(key) ?? []]) this.#put(name, typed, collect);
  }

  #put(name: string, value: unknown, collect: boolean): void {
    const path = name.split(".");
    const last = path.pop()!;
    let object = this.#result;
    for (const part of path) {
      if (isUnsafe(object, part)) return;
      object = (object[part] ??= {}) as Nested;
    }
    if (isUnsafe(object, last)) return;
    const old = object[last];
    if (!collect) object[last] = value;
    else if (Array.isArray(old)) old.push(value);
    else object[last] = old ? [old, value] : [value];
  }

  #fillIn(): void {
    for (const [key, value] of Object.entries(this.options.default ?? {})) {
      if (this.#has(key)) continue;
      for (const name of [key, ...this.#aliases.get(key) ?? []]) this.#put(name, value, false);
    }
    for (const key of this.#boolean) {
      if (!this.#has(key)) this.#put(key, this.#collect.has(key) ? [] : false, false);
    }
    for (const key of this.#string) if (!this.#has(key) && this.#collect.has(key)) this.#put(key, [], false);
  }

  #has(name: string): boolean {
    let object: unknown = this.#result;
    for (const part of name.split(".")) {
      if (!Object.hasOwn(object as object, part)) return false;
      object = (object as Nested)[part];
    }
    return true;
  }

  #isBoolean(key: string): boolean {
    return this.#boolean.has(key) || (this.#aliases.get(key) ?? []).some((name) => this.#boolean.has(name));
  }

  #setOf(names: string | undefined | readonly string[]): Set<string> {
    return new Set(listOf(names).filter(Boolean).flatMap((name) => [name, ...this.#aliases.get(name) ?? []]));
  }
}

function listOf(names: string | undefined | readonly string[]): readonly string[] {
  return names === undefined ? [] : typeof names === "string" ? [names] : names;
}

function isNumber(text: string): boolean {
  return /\S/.test(text) && Number.isFinite(Number(text));
}

function isUnsafe(object: Nested, key: string): boolean {
  return key === "__proto__" || (key === "constructor" && typeof object[key] === "function");
}
