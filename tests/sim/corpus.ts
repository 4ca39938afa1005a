/**
 * Seeds that failed once, each with what was wrong. They are run again for ever: the schedule that a seed makes changes
 * with the simulator, so what they found has a test of its own as well.
 *
 * @module
 */

/** By seed: what was wrong. */
export const corpus: ReadonlyMap<number, string> = new Map([
  [28, "the simulator's clients left a node that is down all at once, and came back to it"],
  [215, "the simulator took a read round for unheard that came together with a timeoutNow"],
  [305, "the simulator let disks of the core hang"],
  [354, "the simulator did not wait for what a slow disk had begun"],
  [1363, "the simulator took a configuration that followed a proposal for another proposal"],
  [2131, "the simulator let packets to the core take longer than an election timeout"],
  [3371, "a start took two segments in each other's place for a torn one, and lost an entry"],
  [4047, "a leader took more writes than it finished in time, until it finished none in time"],
  [4229, "the simulator took a node that was over, and waited for its disk only, for one that still leads"],
  [5012, "the simulator's clients tried nodes that are down for too long"],
  [
    5395,
    "a start took the last segment, in the place of one that it did not need, for needless, and lost an entry",
  ],
  [6149, "the simulator held so many packets up for longer than an election timeout that nobody could lead"],
  [6865, "the simulator let a loop whose timers are late apply one entry at a time"],
  [7887, "the simulator took an admission that an earlier start had left for a new one"],
  [8016, "the simulator did not wait for a start with a hundred files to save"],
  [8907, "a snapshot overtook the state file on a disk that hung: a start found a vote lost that never was"],
  [9371, "the simulator forgot what a slow disk had begun when a node started beside it"],
  [10278, "the simulator let packets between two slow hosts take minutes"],
  [12132, "the simulator gave up before many quick clients had seen the faults that were to come"],
  [17144, "the simulator took a folder for whole whose start had not yet made it so"],
  [18363, "the simulator took a snapshot in another one's place for whole, and let the newest one rot"],
  [18850, "the simulator let the snapshot rot that was all that a node had after its log was lost"],
  [
    21531,
    "a leader put each resend of a session's write into the log, until no answer came before the next resend",
  ],
]);
