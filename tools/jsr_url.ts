/**
 * Prints the value that the tasks of deno.json give to `JSR_URL`, the variable that tells Deno where JSR is: nothing,
 * which means its usual place, where the packages can be had from there; otherwise the folder of stand-ins that this
 * project brings along (tools/offline). A variable that is already set stays as it is.
 *
 * @module
 */

/** A network that drops packets instead of refusing them must not hold up every task. */
const probeMsMax = 20_000;

const present = Deno.env.get("JSR_URL");
if (present) console.log(present);
else if (!await canFetchPackages()) {
  console.error("JSR cannot be reached from here: using the stand-ins in tools/offline.");
  console.log(new URL("./offline/jsr", import.meta.url).href);
}

/** Asks Deno itself, so that its cache, proxy and certificate settings count. */
async function canFetchPackages(): Promise<boolean> {
  const config = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  const packages = Object.values<string>(config.imports).filter((target) => target.startsWith("jsr:"));
  const probe = new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", "--no-lock", ...packages],
    stdout: "null",
    stderr: "null",
    signal: AbortSignal.timeout(probeMsMax),
  });
  return (await probe.output()).success;
}
