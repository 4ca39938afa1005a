import { assertEquals } from "@std/assert";
import { CrashPointDisk } from "./crash_points_disk.ts";
import { FakeDisk } from "./fake_disk.ts";
import { Random } from "./random.ts";
import { Life, Scheduler } from "./scheduler.ts";
import { ScriptedCluster } from "./scripted_cluster.ts";
import { calm } from "./world.ts";

for (const Kind of [FakeDisk, CrashPointDisk]) {
  /** A disk with one durable file. */
  const diskWith = (bytes: number[]): FakeDisk => {
    const random = new Random("lost");
    const scheduler = new Scheduler(random, { grainMicroseconds: 1 });
    const disk = new Kind(scheduler, random, calm.disk);
    disk.of(new Life("n1")).append("f", new Uint8Array(bytes), () => {});
    for (let event = scheduler.next(); event !== null; event = scheduler.next()) event.run!();
    return disk;
  };
  const seen = (
    disk: FakeDisk,
  ): (Uint8Array | null)[] => [disk.of(new Life("n1")).read("f"), disk.durable("f")];

  Deno.test(`${Kind.name}.rot() turns one bit around, in what is seen and in what is durable`, () => {
    const disk = diskWith([0, 0b1000, 255]);
    for (
      const [bit, left] of [[9, [0, 0b1010, 255]], [11, [0, 0b0010, 255]], [23, [0, 0b0010, 127]]] as const
    ) {
      disk.rot("f", bit);
      for (const bytes of seen(disk)) assertEquals(bytes, new Uint8Array(left));
    }
  });

  Deno.test(`${Kind.name}.putBack() brings back what a copy holds, and wipe() leaves nothing`, () => {
    const disk = diskWith([1, 2, 3]);
    const copy = disk.copy();
    disk.rot("f", 0);
    disk.wipe();
    assertEquals([seen(disk), disk.durableNames()], [[null, null], []]);
    disk.putBack(copy);
    for (const bytes of seen(disk)) assertEquals(bytes, new Uint8Array([1, 2, 3]));
  });
}

Deno.test("DurableState.has() counts what a lost folder had, and what a new one has once it is admitted", () => {
  const scene = new ScriptedCluster("counts");
  scene.start();
  scene.write("before");
  scene.checkAgreement();
  const leader = scene.leader();
  const [lost, away] = scene.others(leader) as [typeof leader, typeof leader];
  const has = (key: string): boolean => lost.durable.has(scene.writtenAt.get(key)!, leader.durable.crcs);
  scene.stop(lost);
  scene.write("meanwhile");
  assertEquals([has("before"), has("meanwhile")], [true, false]);
  scene.stop(away); // without it nobody is admitted
  scene.loseFolder(lost);
  scene.until("it has caught up", () => lost.durable.lastIndex >= scene.writtenAt.get("meanwhile")!);
  assertEquals([has("before"), has("meanwhile")], [true, false]);
  scene.start();
  scene.checkAgreement();
  assertEquals([has("before"), has("meanwhile")], [true, true]);
});
