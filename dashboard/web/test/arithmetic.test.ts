import { describe, expect, it } from "vitest";
import { backoff } from "../src/live/backoff";
import { level, niceCeil, share, shift, widen } from "../src/panels/scale";
import { Settled } from "../src/panels/settle";
import { append, compare, holds, rows } from "../src/panels/rows";
import { sparkPath } from "../src/panels/spark";
import { widths } from "../src/panels/widths";
import { Steady } from "../src/ui/steady";
import { inView } from "../src/ui/in_view";
import { extend } from "../src/views/stage_history";
import { HISTORY_COLUMNS, type StageHistory, type StageMetrics } from "../src/protocol";

describe("reconnecting", () => {
  it("waits 0.5 to 5 s at first, and up to 30 s later", () => {
    expect(backoff(0, () => 0)).toBe(0.5);
    expect(backoff(0, () => 1)).toBe(5);
    expect(backoff(1, () => 1)).toBe(10);
    expect(backoff(50, () => 1)).toBe(30);
    expect(backoff(50, () => 0)).toBe(0.5);
  });
});

describe("steady numbers", () => {
  it("do not follow noise", () => {
    const steady = new Steady(900, 0.02);
    expect([500, 503, 498, 507].map((value, at) => steady.next(value, at * 1000))).toEqual([500, 500, 500, 500]);
  });

  it("follow a change, but not before they could be read", () => {
    const steady = new Steady(900, 0.02);
    steady.next(500, 0);
    expect(steady.next(700, 300)).toBe(500);
    expect(steady.next(700, 1000)).toBe(700);
  });

  it("tell at once when something stops, begins, or is not known", () => {
    const steady = new Steady(900, 0.02);
    steady.next(500, 0);
    expect(steady.next(0, 10)).toBe(0);
    expect(steady.next(1, 20)).toBe(1);
    expect(steady.next(null, 30)).toBeNull();
  });
});

describe("an order that holds still", () => {
  it("keeps places until its time has come", () => {
    const settled = new Settled(1000);
    expect(settled.arrange(["a", "b", "c"], 0)).toEqual(["a", "b", "c"]);
    expect(settled.arrange(["c", "a", "d"], 500)).toEqual(["a", "c", "d"]);
    expect(settled.arrange(["c", "a", "d"], 1000)).toEqual(["c", "a", "d"]);
  });
});

describe("scales", () => {
  it("stay between their ends", () => {
    expect([share(5, 0, 10), share(-1, 0, 10), share(11, 0, 10), share(1, 3, 3)]).toEqual([0.5, 0, 1, 0]);
  });

  it("know when high is bad and when low is", () => {
    expect([10, 50, 90].map((value) => level(value, 40, 80))).toEqual(["ok", "warn", "bad"]);
    expect([10, 50, 90].map((value) => level(value, 60, 20))).toEqual(["bad", "warn", "ok"]);
    expect(level(null, 40, 80)).toBe("ok");
    expect(level(85, null, 80)).toBe("bad");
  });

  it("end at round numbers", () => {
    expect([0, 0.3, 1, 172, 2000, 5001].map(niceCeil)).toEqual([1, 0.5, 1, 200, 2000, 10000]);
  });

  it("move and widen a range, but never into the future", () => {
    expect(shift({ start: 0, end: 100 }, 0.5, 1000)).toEqual({ start: 50, end: 150 });
    expect(shift({ start: 900, end: 1000 }, 0.5, 1000)).toEqual({ start: 900, end: 1000 });
    expect(widen({ start: 400_000, end: 500_000 }, 2, 1_000_000)).toEqual({ start: 350_000, end: 550_000 });
    expect(widen({ start: 900_000, end: 1_000_000 }, 2, 1_000_000)).toEqual({ start: 800_000, end: 1_000_000 });
  });
});

describe("rows", () => {
  const columns = (first: number, many: number) => ({
    offset: Array.from({ length: many }, (_, index) => first + index), partition: Array.from({ length: many }, () => 1),
    time: Array.from({ length: many }, () => 5), key: Array.from({ length: many }, () => "K"), value: Array.from({ length: many }, () => ({ a: "Text" })),
    raw: { "1": { why: "large" as const, bytes: 9, text: "BEGIN" } },
  });

  it("carry what belongs to their index", () => {
    const [first, second] = rows(columns(10, 2));
    expect(first).toMatchObject({ id: "1:10", key: "K", raw: undefined });
    expect(second?.raw?.text).toBe("BEGIN");
  });

  it("are appended once, and no more than may be kept", () => {
    const held = rows(columns(0, 5));
    expect(append(held, rows(columns(3, 4)), 4).map((row) => row.offset)).toEqual([3, 4, 5, 6]);
    expect(append(held, [], 4)).toBe(held);
  });

  it("are found by text in key or value, whatever its case", () => {
    const [first, second] = rows(columns(10, 2)) as [ReturnType<typeof rows>[number], ReturnType<typeof rows>[number]];
    expect([holds(first, "text"), holds(first, "k"), holds(first, "begin"), holds(second, "begin")]).toEqual([true, true, false, true]);
  });

  it("sort numbers as numbers and put nothing last", () => {
    expect([10, 9, null, 100].sort(compare)).toEqual([9, 10, 100, null]);
    expect(["b10", "b9", "a"].sort(compare)).toEqual(["a", "b9", "b10"]);
  });
});

describe("columns", () => {
  it("of numbers take what they need, of text share the rest by its length", () => {
    const cells = (...texts: string[]) => texts.map((text) => ({ text, number: /^\d+$/.test(text) }));
    expect(widths([cells("12", "7"), cells("short one", ""), cells("x".repeat(200)), cells()])).toEqual([
      { number: true, grow: 0 }, { number: false, grow: 9 }, { number: false, grow: 60 }, { number: false, grow: 6 },
    ]);
  });
});

describe("drawing", () => {
  it("breaks a trend's path where there was no value", () => {
    expect(sparkPath([0, null, 1, 2])).toBe("M0.0 34.0M133.3 18.0L200.0 2.0");
    expect(sparkPath([null, 3])).toBe("");
    expect(sparkPath([0, 0])).toBe("M0.0 18.0L200.0 18.0");
  });

  it("shows a trend's noise as noise", () => {
    const heights = [...sparkPath([500, 505, 500]).matchAll(/ ([\d.]+)/g)].map((match) => Number(match[1]));
    expect(Math.max(...heights) - Math.min(...heights)).toBeLessThan(3);
  });

  it("makes only the rows in view", () => {
    expect(inView(0, 100, 20, 1000, 2)).toEqual([0, 7]);
    expect(inView(1000, 100, 20, 1000, 2)).toEqual([48, 57]);
    expect(inView(1e9, 100, 20, 10, 2)).toEqual([10, 10]);
  });
});

describe("a stage's last minutes", () => {
  const history = (...time: number[]): StageHistory =>
    ({ time, ...Object.fromEntries(HISTORY_COLUMNS.map((name) => [name, time.map(() => 1)])) }) as StageHistory;
  const figures = { in_per_second: 7, lag_seconds: null, latency_ms: { p50: 3, p90: 4, p99: 5, max: 6 }, processing_ms: null } as unknown as StageMetrics;

  it("grow by each new second and lose the oldest", () => {
    const grown = extend(history(1000, 2000, 3000), 4000, figures, 2500);
    expect(grown.time).toEqual([2000, 3000, 4000]);
    expect(grown.in_per_second).toEqual([1, 1, 7]);
    expect(grown.lag_seconds).toEqual([1, 1, null]);
    expect(grown.latency_p99).toEqual([1, 1, 5]);
  });

  it("do not change for a second that is known", () => {
    const held = history(1000, 2000);
    expect(extend(held, 2000, figures, 10_000)).toBe(held);
  });
});
