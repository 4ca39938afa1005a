import { assertEquals } from "@std/assert";
import { Random } from "../lib/chaos/random.ts";
import { Queue } from "../lib/queue.ts";

Deno.test("Queue() holds what an array holds, whatever comes and goes at its ends", () => {
  const random = new Random("queue");
  const queue = new Queue<number>();
  const model: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const isGrowing = i % 5000 < 2000;
    if (random.below(10) < (isGrowing ? 7 : 4)) {
      queue.push(i);
      model.push(i);
    } else if (random.below(4) > 0) assertEquals(queue.shift(), model.shift());
    else assertEquals(queue.pop(), model.pop());
    assertEquals([queue.size, queue.first, queue.last], [model.length, model[0], model.at(-1)]);
    const place = random.below(model.length + 2);
    assertEquals(queue.at(place), model[place]);
    if (i % 100 === 0) assertEquals([...queue], model);
  }
  while (model.length > 0) assertEquals(queue.shift(), model.shift());
  assertEquals([queue.shift(), queue.pop(), queue.first, queue.last], [
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
