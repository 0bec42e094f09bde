import { describe, expect, it } from "vitest";
import { PanelModel } from "../src/panels/model";
import type { Columns, FeedData, Panel, PanelKind, Part } from "../src/protocol";

const panel = (kind: PanelKind, more: Partial<Panel> = {}): Panel => ({
  id: "p", title: "P", from: "t", kind, y: null, by: null, split: null, fields: null, where: null, show: null, top: null,
  limit: null, span_seconds: null, unit: null, decimals: null, min: null, max: null, warn: null, bad: null, wide: false, ...more,
});
const records = (...offset: number[]): Columns => ({
  offset, partition: offset.map(() => 0), time: offset, key: offset.map(() => null), value: offset,
});
const feed = (seq: number, snapshot: boolean, offsets: number[], hidden = 0): Part => ({
  id: "p", kind: "feed", seq, snapshot, time: seq, data: { records: records(...offsets), hidden },
});

describe("PanelModel", () => {
  it("takes a snapshot and the deltas on top of it, at most `limit` records", () => {
    const model = new PanelModel(panel("feed", { limit: 3 }));
    expect(model.take(feed(7, true, [1, 2]))).toBe(true);
    expect(model.take(feed(8, false, [3, 4], 5))).toBe(true);
    expect(model.feed.map((row) => row.offset)).toEqual([2, 3, 4]);
    expect(model.feedHidden).toBe(5);
  });

  it("tells how many were left out, until newer ones are in their place", () => {
    const model = new PanelModel(panel("feed", { limit: 3 }));
    const snapshot = feed(1, true, [3]);
    model.take({ ...snapshot, data: { ...(snapshot.data as FeedData), left_out: 2 } });
    expect(model.leftOut).toBe(2);
    model.take(feed(2, false, [4]));
    expect(model.leftOut).toBe(1);
    model.take(feed(3, false, [5, 6]));
    expect(model.leftOut).toBe(0);
  });

  it("asks for a snapshot once when a sequence number is missing, and counts the gap", () => {
    const model = new PanelModel(panel("feed"));
    model.take(feed(1, true, [1]));
    expect(model.take(feed(3, false, [3]))).toBe(false);
    expect(model.take(feed(4, false, [4]))).toBe(true);
    expect(model.feed.map((row) => row.offset)).toEqual([1]);
    expect(model.take(feed(9, true, [1, 2, 3]))).toBe(true);
    expect(model.take(feed(10, false, [4]))).toBe(true);
    expect(model.feed.map((row) => row.offset)).toEqual([1, 2, 3, 4]);
    expect(model.resyncs).toBe(1);
  });

  it("takes no delta twice when one crosses a snapshot on its way", () => {
    const model = new PanelModel(panel("feed"));
    model.take(feed(5, true, [1, 2]));
    expect(model.take(feed(5, false, [2]))).toBe(true);
    expect(model.feed.map((row) => row.offset)).toEqual([1, 2]);
    expect(model.resyncs).toBe(0);
  });

  it("shows an error until data comes", () => {
    const model = new PanelModel(panel("number"));
    model.take({ id: "p", kind: "number", seq: 0, snapshot: true, time: 0, error: "the topic does not exist yet" });
    expect(model.error).toBe("the topic does not exist yet");
    model.take({ id: "p", kind: "number", seq: 1, snapshot: true, time: 1, data: { value: 3, trend: [], trend_step: 1000 } });
    expect(model.error).toBeNull();
    expect(model.number?.value).toBe(3);
  });

  it("keeps gaps of the last snapshot, and drops them when a snapshot has none", () => {
    const model = new PanelModel(panel("number"));
    const part = (gaps?: [number, number, number | null][]): Part => ({
      id: "p", kind: "number", seq: 1, snapshot: true, time: 0, data: { value: 1, trend: [], trend_step: 1, ...(gaps ? { gaps } : {}) },
    });
    model.take(part([[1, 2, null]]));
    expect(model.gaps).toEqual([[1, 2, null]]);
    model.take(part());
    expect(model.gaps).toEqual([]);
  });

  it("inserts, replaces and removes rows of a table", () => {
    const model = new PanelModel(panel("table"));
    const part = (seq: number, snapshot: boolean, keys: string[], cells: number[], removed?: string[]): Part => ({
      id: "p", kind: "table", seq, snapshot, time: 0,
      data: { keys, time: keys.map(() => seq), columns: ["price"], values: [cells], ...(removed ? { removed } : {}) },
    });
    model.take(part(1, true, ["AAPL", "MSFT", "KO"], [175, 9, 60]));
    model.take(part(2, false, ["MSFT", "NVDA"], [415, 100], ["KO"]));
    const held = model.table?.sorted(0, false) ?? [];
    expect(held.map((row) => [row.key, row.cells[0], row.time])).toEqual([["NVDA", 100, 2], ["AAPL", 175, 1], ["MSFT", 415, 2]]);
  });
});
