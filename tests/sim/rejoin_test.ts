import { assertEquals } from "@std/assert";
import type { Node } from "./cluster.ts";
import { ScriptedCluster } from "./scripted_cluster.ts";

/** Files of a node that is down rot; it is started again and becomes whole. */
function rot(scene: ScriptedCluster, node: Node, isRotten: (name: string) => boolean): void {
  const { cluster } = scene;
  const disk = scene.diskOf(node);
  cluster.crash(node, "power");
  for (const file of disk.durableNames().filter(isRotten)) cluster.damage(node, { file, bit: 400 });
  cluster.start(node);
  scene.until("all nodes agree", () => cluster.hasConverged);
}

Deno.test("NodeIdentity.judge() takes a lost folder back when nobody remembers who founded the cluster", () => {
  const scene = new ScriptedCluster("founders forgotten");
  const { cluster } = scene;
  scene.start();
  for (let i = 1; i <= 40; i++) scene.write(`k${i}`, `${i}`); // several snapshots: entry 1 is in no log any more
  scene.until("all nodes agree", () => cluster.hasConverged);
  for (const node of cluster.nodes) rot(scene, node, (name) => name === "state.json");
  const [lost] = cluster.nodes;
  rot(scene, lost!, (name) => name.startsWith("snapshots/"));
  scene.write("last");
  scene.checkAgreement();
  assertEquals(lost!.server!.isAdmitted, true);
});
