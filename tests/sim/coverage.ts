/**
 * What a batch of seeds must have seen. A simulator that is quiet because nothing happened in it proves nothing, so a
 * batch that misses one of these is invalid, whatever it found.
 *
 * @module
 */

/**
 * Each at least so often in 50 million events, which are a thousand seeds of 50,000; a thousand of those here have fewer
 * events, and owe as much less. A lossy crash lost or tore what was not fsynced; of the torn files some part was written.
 * What a session sends again is mostly answered without an entry (repeatedAnswers), but for another leader's.
 */
export const required: Record<string, number> = {
  crashes: 10_000,
  lossyCrashes: 3000,
  tornFiles: 500,
  partitions: 5000,
  asymmetricPartitions: 1500,
  partialPartitions: 500,
  leaderChanges: 5000,
  rivalLeaders: 300,
  truncations: 1000,
  installs: 1000,
  interruptedInstalls: 100,
  figure8s: 200,
  cancelledRounds: 1000,
  pausedLeaders: 500,
  repeatedSessionWrites: 600,
  repeatedAnswers: 150,
  foundDamage: 200,
  fullDisks: 100,
  failedOperations: 50,
  wiped: 50,
  cores: 1000,
};

/** In fewer events chance decides, and nothing is required. */
const eventsMin = 10_000_000;

/** What the counters of a batch lack, in words. */
export function missingIn(total: Record<string, number>): string[] {
  const events = total.events ?? 0;
  if (events < eventsMin) return [];
  return Object.entries(required).flatMap(([name, count]) => {
    const least = Math.ceil(count * events / 50e6);
    const seen = total[name] ?? 0;
    return seen < least ? [`${seen} ${name} in ${events} events, ${least} are required`] : [];
  });
}
