import { describe, expect, it } from "vitest";
import { LineWindow } from "../src/panels/line_window";
import type { LineData } from "../src/protocol";

const snapshot = (values: (number | null)[], points = 5): LineData => ({
  start: 1000, step: 500, series: [{ key: "A", y: "price" }], last: [values], points,
});

const values = (line: LineWindow): (number | null)[] => line.fill([])[1] ?? [];
const times = (line: LineWindow): (number | null)[] => line.fill([])[0] ?? [];

describe("LineWindow", () => {
  it("shows a snapshot as it came", () => {
    const line = new LineWindow(snapshot([1, null, 3]));
    expect(values(line)).toEqual([1, null, 3]);
    expect(times(line)).toEqual([1000, 1500, 2000]);
    expect(line.newest(0)).toBe(3);
  });

  it("replaces everything from a delta's start on", () => {
    const line = new LineWindow(snapshot([1, 2, 3]));
    line.write({ start: 2000, step: 500, last: [[9, 10]] });
    expect(values(line)).toEqual([1, 2, 9, 10]);
  });

  it("keeps the newest points and drops older ones, however long data flows", () => {
    const line = new LineWindow(snapshot([0, 1, 2, 3, 4]));
    for (let point = 5; point < 1000; point += 1) line.write({ start: 1000 + point * 500, step: 500, last: [[point]] });
    expect(values(line)).toEqual([995, 996, 997, 998, 999]);
    expect(times(line)[0]).toBe(1000 + 995 * 500);
  });

  it("leaves times between as holes when a delta begins later", () => {
    const line = new LineWindow(snapshot([1, 2]));
    line.write({ start: 3000, step: 500, last: [[7]] });
    expect(values(line)).toEqual([1, 2, null, null, 7]);
  });

  it("begins anew when a delta lies beyond the whole window", () => {
    const line = new LineWindow(snapshot([1, 2]));
    line.write({ start: 1_000_000, step: 500, last: [[7, 8]] });
    expect(values(line)).toEqual([7, 8]);
    expect(times(line)).toEqual([1_000_000, 1_000_500]);
  });

  it("ignores the part of a delta that is older than the window", () => {
    const line = new LineWindow(snapshot([1, 2, 3]));
    line.write({ start: 0, step: 500, last: [[-2, -1, 10, 20, 30]] });
    expect(values(line)).toEqual([10, 20, 30]);
  });

  it("shortens when a delta ends before what was held", () => {
    const line = new LineWindow(snapshot([1, 2, 3, 4]));
    line.write({ start: 1500, step: 500, last: [[5]] });
    expect(values(line)).toEqual([1, 5]);
  });

  it("gives every column of a range panel, series by series", () => {
    const line = new LineWindow({
      start: 0, step: 1, points: 4, series: [{ key: "A", y: "v" }, { key: "B", y: "v" }],
      min: [[1], [4]], mean: [[2], [5]], max: [[3], [6]],
    });
    expect(line.columns).toEqual(["mean", "min", "max"]);
    expect(line.fill([])).toEqual([[0], [2], [1], [3], [5], [4], [6]]);
    expect(line.main).toBe("mean");
  });

  it("knows where its data begins", () => {
    expect(new LineWindow(snapshot([null, null, 3])).firstKnown()).toBe(2);
    expect(new LineWindow(snapshot([null])).firstKnown()).toBe(1);
  });

  it("has more patience with a series whose records are rare", () => {
    const line = new LineWindow({
      start: 0, step: 500, points: 100, series: [{ key: "often", y: "v" }, { key: "seldom", y: "v" }],
      last: [Array.from({ length: 90 }, () => 1), Array.from({ length: 90 }, (_, index) => (index % 10 ? null : 1))],
    });
    expect(line.patience(0)).toBe(2000);
    expect(line.patience(1)).toBe(20_000);
  });

  it("fills the same arrays again", () => {
    const line = new LineWindow(snapshot([1, 2]));
    const buffers: (number | null)[][] = [];
    const first = line.fill(buffers)[1];
    line.write({ start: 2000, step: 500, last: [[3]] });
    expect(line.fill(buffers)[1]).toBe(first);
    expect(first).toEqual([1, 2, 3]);
  });
});
