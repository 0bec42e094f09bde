/** One panel's state, and how parts change it. Pure: no signal, no element. */

import type { BarData, FeedData, Gap, HeatmapData, LineData, NumberData, Panel, Part, TableData } from "../protocol";
import { LineWindow } from "./line_window";
import { append, type Row, rows, TableRows } from "./rows";

export class PanelModel {
  seq: number | null = null;
  /** The server's time of the newest part. */
  time = 0;
  error: string | null = null;
  unusable = 0;
  gaps: Gap[] = [];
  /** Of the records or rows with which it began, so many were left out. */
  leftOut = 0;
  /** Times that a delta did not fit and a snapshot was asked for. */
  resyncs = 0;
  private asked = false;
  /** False when a history answer could not cover all of its time. */
  complete = true;

  line: LineWindow | null = null;
  feed: Row[] = [];
  feedHidden = 0;
  table: TableRows | null = null;
  bar: BarData | null = null;
  number: NumberData | null = null;
  heatmap: HeatmapData | null = null;

  constructor(readonly panel: Panel) {}

  get empty(): boolean {
    return !this.line && !this.table && !this.bar && !this.number && !this.heatmap && this.seq === null;
  }

  /** A line without a series: there are no records in its span. */
  get hollow(): boolean {
    return this.line !== null && this.line.series.length === 0;
  }

  /** Takes a part; false: it does not fit, ask for a snapshot. */
  take(part: Part): boolean {
    if (part.error !== undefined) {
      this.error = part.error;
      return true;
    }
    if (!part.snapshot && (this.seq === null || part.seq !== this.seq + 1)) {
      // A delta that is known already is no gap: it may cross a snapshot on its way.
      if (this.seq !== null && part.seq <= this.seq) return true;
      // More deltas may come before the snapshot does: one question is enough.
      if (this.seq === null && this.asked) return true;
      this.resyncs += 1;
      this.seq = null;
      this.asked = true;
      return false;
    }
    this.asked = false;
    this.seq = part.seq;
    this.time = part.time;
    this.error = null;
    this.complete = part.complete ?? true;
    if (!part.data) return true;
    if (part.snapshot) {
      this.gaps = part.data.gaps ?? [];
      this.leftOut = part.data.left_out ?? 0;
    }
    if (part.data.unusable !== undefined) this.unusable = part.data.unusable;
    this.put(part);
    return true;
  }

  private put(part: Part): void {
    switch (this.panel.kind) {
      case "line": {
        const data = part.data as LineData;
        if (part.snapshot || !this.line) this.line = new LineWindow(data);
        else this.line.write(data);
        break;
      }
      case "feed": {
        const data = part.data as FeedData;
        // Newer records take the place of those that were left out.
        if (!part.snapshot) this.leftOut = Math.max(0, this.leftOut - data.records.time.length);
        this.feed = append(part.snapshot ? [] : this.feed, rows(data.records), this.panel.limit ?? 100);
        this.feedHidden = (part.snapshot ? 0 : this.feedHidden) + (data.hidden ?? 0);
        break;
      }
      case "table":
        this.table ??= new TableRows();
        this.table.take(part.data as TableData, part.snapshot);
        break;
      case "bar":
        this.bar = part.data as BarData;
        break;
      case "heatmap":
        this.heatmap = part.data as HeatmapData;
        break;
      case "number":
      case "gauge":
        this.number = part.data as NumberData;
        break;
    }
  }
}
