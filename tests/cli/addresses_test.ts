import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseClientCluster, parseCluster, placeOf, type PlaceOptions } from "../../lib/cli/addresses.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import { clientAddressesOf, formatAddress, parseAddress } from "../../lib/client/addresses.ts";

const three = "127.0.0.1:8080,127.0.0.1:8081,127.0.0.1:8082";

Deno.test("parseAddress() reads names, IPv4 and bracketed IPv6, and formatAddress() gives them back", () => {
  const cases: [string, string, number][] = [
    ["127.0.0.1:8080", "127.0.0.1", 8080],
    ["localhost:1", "localhost", 1],
    ["[::1]:65535", "::1", 65535],
    ["node-1.example.com:80", "node-1.example.com", 80],
  ];
  for (const [text, host, port] of cases) {
    assertEquals(parseAddress(text), { host, port });
    assertEquals(formatAddress({ host, port }), text);
  }
});

Deno.test("parseAddress() refuses what is no address and names it", () => {
  for (
    const text of ["", "8080", "host", "host:", ":8080", "host:0", "host:65536", "::1:8080", "a b:80", "h:1x"]
  ) {
    const error = assertThrows(() => parseAddress(text), TypeError, "is not an address");
    assertStringIncludes(error.message, `"${text}"`);
  }
  assertThrows(() => parseAddress("::1:8080"), TypeError, "brackets");
});

Deno.test("clientAddressesOf() tries the port + 1000 first, then the port itself", () => {
  assertEquals(clientAddressesOf("localhost:8080"), ["localhost:9080", "localhost:8080"]);
  assertEquals(clientAddressesOf("[::1]:64535"), ["[::1]:65535", "[::1]:64535"]);
  assertEquals(clientAddressesOf("localhost:64536"), ["localhost:64536"]);
});

Deno.test("parseCluster() counts ids from 1 or takes those that are given, sorted", () => {
  assertEquals(parseCluster(" a:1, b:2 "), [{ id: 1, address: "a:1" }, { id: 2, address: "b:2" }]);
  assertEquals(parseCluster("7=B:2,3=[::1]:1"), [{ id: 3, address: "[::1]:1" }, { id: 7, address: "b:2" }]);
  assertEquals(parseClientCluster(undefined), ["127.0.0.1:8080"]);
});

Deno.test("parseCluster() refuses ids and addresses that are doubled, mixed or wrong", () => {
  const cases: [string, string][] = [
    ["", "lists host:port"],
    [",", "lists host:port"],
    ["a:1,a:1", "has a:1 twice"],
    ["a:1,A:1", "has a:1 twice"],
    ["1=a:1,1=b:1", "has the id 1 twice"],
    ["1=a:1,b:1", "give every node an id"],
    ["0=a:1", "positive whole number"],
    ["x=a:1", "positive whole number"],
    ["=a:1", "positive whole number"],
    ["1.5=a:1", "positive whole number"],
    ["a", "expected host:port"],
    ["a:99999", "from 1 to 65535"],
  ];
  for (const [text, message] of cases) assertThrows(() => parseCluster(text), UsageError, message);
});

Deno.test("placeOf() makes a single node that works at once of an empty command line", () => {
  assertEquals(placeOf({}), {
    nodeId: 1,
    bindAddress: "127.0.0.1:8080",
    clientBindAddress: "127.0.0.1:9080",
    clientAddress: "127.0.0.1:9080",
    cluster: [{ id: 1, address: "127.0.0.1:8080" }],
  });
});

Deno.test("placeOf() finds the node by --node-id, by --bind, or by both", () => {
  assertEquals(placeOf({ cluster: three, nodeId: 2 }).bindAddress, "127.0.0.1:8081");
  assertEquals(placeOf({ cluster: three, bind: "127.0.0.1:8082" }).nodeId, 3);
  assertEquals(placeOf({ cluster: "5=a:1,9=b:1", bind: "B:1" }).nodeId, 9);
  const anywhere = placeOf({ cluster: "10.0.0.1:8080,10.0.0.2:8080", nodeId: 2, bind: "0.0.0.0:8080" });
  assertEquals(anywhere.clientBindAddress, "0.0.0.0:9080");
  assertEquals(
    anywhere.clientAddress,
    "10.0.0.2:9080",
    "other machines are told an address that they can reach",
  );
});

Deno.test("placeOf() puts the client port 1000 above the raft port, or where --client-port says", () => {
  assertEquals(placeOf({ bind: "[::1]:64535" }).clientBindAddress, "[::1]:65535");
  assertEquals(placeOf({ bind: "localhost:65000", clientPort: 7000 }).clientAddress, "localhost:7000");
});

Deno.test("placeOf() tells others the client address that --advertise-client names, and listens where it did", () => {
  const place = placeOf({ cluster: three, nodeId: 2, advertiseClient: "KV.example.com:443" });
  assertEquals(place.clientAddress, "kv.example.com:443");
  assertEquals(place.clientBindAddress, "127.0.0.1:9081");
});

Deno.test("placeOf() refuses what is missing or impossible, with the way out", () => {
  const cases: [PlaceOptions, string][] = [
    [{ cluster: three }, "give --node-id"],
    [{ cluster: three, nodeId: 4 }, "--node-id 4 is not in --cluster, whose ids are 1, 2, 3"],
    [{ cluster: three, bind: "0.0.0.0:8080" }, "give --node-id to say which node this is"],
    [{ bind: "127.0.0.1:64536" }, "ports end at 65535"],
    [{ bind: "127.0.0.1:80", clientPort: 80 }, "they must differ"],
    [{ bind: "127.0.0.1" }, "--bind"],
    [{ advertiseClient: "kv.example.com" }, "--advertise-client"],
  ];
  for (const [options, message] of cases) assertThrows(() => placeOf(options), UsageError, message);
});
