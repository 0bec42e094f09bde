/** A stage's last minutes, with each new second put behind. Pure. */

import { HISTORY_COLUMNS, type HistoryColumn, type StageHistory, type StageMetrics } from "../protocol";

const READ: Record<HistoryColumn, (of: StageMetrics) => number | null> = {
  in_per_second: (of) => of.in_per_second,
  out_per_second: (of) => of.out_per_second,
  lag_records: (of) => of.lag_records,
  lag_seconds: (of) => of.lag_seconds,
  errors: (of) => of.errors,
  dead_lettered: (of) => of.dead_lettered,
  restarts: (of) => of.restarts,
  processing_p50: (of) => of.processing_ms?.p50 ?? null,
  processing_p99: (of) => of.processing_ms?.p99 ?? null,
  latency_p50: (of) => of.latency_ms?.p50 ?? null,
  latency_p99: (of) => of.latency_ms?.p99 ?? null,
};

/** `history` with the figures of `time`, without what is older than `keep` ms. Seconds known already change nothing. */
export function extend(history: StageHistory, time: number, figures: StageMetrics, keep: number): StageHistory {
  const last = history.time.at(-1);
  if (last !== undefined && time <= last) return history;
  const first = Math.max(0, history.time.findIndex((at) => at > time - keep));
  const grown = { time: [...history.time.slice(first), time] } as StageHistory;
  for (const column of HISTORY_COLUMNS) grown[column] = [...(history[column] ?? []).slice(first), READ[column](figures)];
  return grown;
}
