/** Arithmetic of bars, gauges, heatmaps and zooming. Pure. */

/** Where `value` stands between `low` and `high`, 0 to 1. */
export function share(value: number, low: number, high: number): number {
  if (high <= low) return 0;
  return Math.min(1, Math.max(0, (value - low) / (high - low)));
}

export type Level = "ok" | "warn" | "bad";

/** The level of a gauge's value. With `bad` below `warn`, low is bad. */
export function level(value: number | null, warn: number | null, bad: number | null): Level {
  if (value === null) return "ok";
  const lowIsBad = warn !== null && bad !== null && bad < warn;
  const reached = (limit: number | null): boolean => limit !== null && (lowIsBad ? value <= limit : value >= limit);
  return reached(bad) ? "bad" : reached(warn) ? "warn" : "ok";
}

/** The next round number at or above `value`: 1, 2, 5, 10, 20 ... */
export function niceCeil(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const lead = value / power;
  // A little slack, so that 5.000000001 is still five.
  return power * (lead <= 1.0000001 ? 1 : lead <= 2.0000001 ? 2 : lead <= 5.0000001 ? 5 : 10);
}

export interface Range {
  start: number;
  end: number;
}

/** `range` moved by `parts` of its own length, not beyond `now`. */
export function shift(range: Range, parts: number, now: number): Range {
  const length = range.end - range.start;
  const end = Math.min(now, range.end + parts * length);
  return { start: end - length, end };
}

/** `range` made `factor` times as long around its middle, at most 31 days, at least a second, not beyond `now`. */
export function widen(range: Range, factor: number, now: number): Range {
  const middle = (range.start + range.end) / 2;
  const length = Math.min(31 * 86_400_000, Math.max(1000, (range.end - range.start) * factor));
  const end = Math.min(now, middle + length / 2);
  return { start: Math.round(end - length), end: Math.round(end) };
}
