/**
 * How the simulator says that something is wrong.
 *
 * @module
 */

/** The invariants that are checked after every event (paper figure 3 and what this product promises on top). */
export const invariants = {
  I1: "at most one leader in a term",
  I2: "a leader never overwrites or removes entries of its own log",
  I3: "the same index and term is the same entry, and so is everything before it",
  I4: "what is committed never changes, and is on the disks of a majority",
  I5: "a new leader has everything that was committed before its term",
  I6: "the same index applied gives the same state on every node",
  I7: "a term never goes back and a vote never changes within a term, across restarts too",
  I8: "applied is at most committed, committed is at most the last index, neither goes back",
  I9: "an acknowledged write is committed, on the disks of a majority, and stays",
  I10: "a write of a session happens at most once",
  I11: "answers show the committed state at an index no older than what was known when the request was made",
  I14: "no message claims what is not durable",
  I15: "a node that has lost what it may have promised takes no part until it is admitted again",
  I16:
    "nobody deposes a leader that it hears, helps or stands in vain, and leaders and followers claim of each other's " +
    "logs what is so",
  replies: "replies come in the order of the requests, and definite errors mean that nothing happened",
  watch: "a watch tells every change once, in order, or says that it begins anew and tells the state",
  memory: "what nobody reads any more makes room for others",
  running: "a node stops by itself only when its disk failed, and starts on whatever a crash has left",
  convergence: "once the faults end, all nodes agree, a leader is there and writes succeed, in bounded time",
} as const;

/** Something that must never happen has happened. */
export class Violation extends Error {
  override name = "Violation";

  constructor(readonly invariant: keyof typeof invariants, message: string) {
    super(message);
  }
}
