/** Seconds to wait before connecting for the `attempt`-th time (from 0): 0.5 to 5, the upper end growing to 30. */
export function backoff(attempt: number, random: () => number): number {
  const longest = Math.min(30, 5 * 2 ** Math.max(0, attempt));
  return 0.5 + random() * (longest - 0.5);
}

/** After this long without a message, what is shown is stale. The server says something at least every 5 s. */
export const SILENCE_MS = 12_000;
