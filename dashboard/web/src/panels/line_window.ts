/**
 * The points of a line panel: a fixed grid of times, one ring of numbers for each series and column.
 *
 * The numbers live in typed arrays of twice the shown length; when their end is reached the newest half is moved to the
 * front, so that a point costs one write and nothing is allocated while data flows. NaN: no record in that time.
 */

import type { Json, LineData } from "../protocol";

export type Column = "last" | "mean" | "min" | "max";

export interface Series {
  key: Json;
  y: string;
}

const COLUMNS: Column[] = ["last", "mean", "min", "max"];

export class LineWindow {
  readonly series: readonly Series[];
  readonly columns: readonly Column[];
  readonly step: number;
  readonly points: number;
  hidden: number;
  length = 0;
  private start: number;
  private from = 0;
  private readonly rings: Record<Column, Float64Array[]>;

  constructor(data: LineData) {
    this.series = data.series ?? [];
    this.columns = COLUMNS.filter((name) => data[name] !== undefined);
    this.step = data.step;
    this.points = Math.max(1, data.points ?? 600);
    this.hidden = data.hidden ?? 0;
    this.start = data.start;
    const ring = (name: Column): Float64Array[] =>
      data[name] ? this.series.map(() => new Float64Array(this.points * 2).fill(NaN)) : [];
    this.rings = { last: ring("last"), mean: ring("mean"), min: ring("min"), max: ring("max") };
    this.write(data);
  }

  /** The time of point `index`. */
  time(index: number): number {
    return this.start + index * this.step;
  }

  /** The value of a series at point `index`; null: no record. */
  at(column: Column, series: number, index: number): number | null {
    const value = this.rings[column][series]?.[this.from + index];
    return value === undefined || Number.isNaN(value) ? null : value;
  }

  /** The column that is drawn as the line. */
  get main(): Column {
    return this.columns.includes("last") ? "last" : "mean";
  }

  /** The newest value of a series and its index, or null. */
  newest(series: number): number | null {
    for (let index = this.length - 1; index >= 0; index -= 1) {
      const value = this.at(this.main, series, index);
      if (value !== null) return value;
    }
    return null;
  }

  /** The first point that has a value in any series; `length` without one. */
  firstKnown(): number {
    for (let index = 0; index < this.length; index += 1)
      for (let series = 0; series < this.series.length; series += 1) if (this.at(this.main, series, index) !== null) return index;
    return this.length;
  }

  /**
   * The longest time (ms) between two records of a series that is no hole in its line: four times what is usual for
   * it, so that a series with a record now and then is a line too.
   */
  patience(series: number): number {
    let first = -1;
    let last = -1;
    let known = 0;
    for (let index = 0; index < this.length; index += 1) {
      if (this.at(this.main, series, index) === null) continue;
      if (first < 0) first = index;
      last = index;
      known += 1;
    }
    const usual = known > 1 ? ((last - first) / (known - 1)) * this.step : this.step;
    return Math.max(2000, 4 * usual, 3 * this.step);
  }

  /** Replaces everything from the delta's start on. */
  write(data: LineData): void {
    const lengths = this.columns.map((name) => data[name]?.[0]?.length ?? 0);
    const fresh = Math.max(0, ...lengths);
    let at = Math.round((data.start - this.start) / this.step);
    let skip = 0;
    if (at < 0) {
      skip = -at;
      at = 0;
    }
    if (data.hidden !== undefined) this.hidden = data.hidden;
    if (fresh === 0) return;
    if (at - this.length > this.points) {
      // Longer away than the window is long: nothing of it is shown any more.
      this.length = 0;
      this.from = 0;
      this.start = data.start;
      at = 0;
    }
    for (let gap = this.length; gap < at; gap += 1) this.put(gap, null, 0);
    // What lies behind the delta's end was never: the delta goes to the newest point.
    this.length = Math.min(this.length, at);
    for (let point = skip; point < fresh; point += 1) {
      const index = this.put(at, data, point);
      at = index + 1;
    }
  }

  private put(index: number, data: LineData | null, point: number): number {
    let to = index;
    if (to >= this.points) {
      this.from += 1;
      this.start += this.step;
      to = this.points - 1;
      if (this.from + this.points > this.points * 2) this.rewind();
    }
    for (const name of this.columns) {
      const rings = this.rings[name];
      for (let series = 0; series < rings.length; series += 1)
        (rings[series] as Float64Array)[this.from + to] = data?.[name]?.[series]?.[point] ?? NaN;
    }
    this.length = to + 1;
    return to;
  }

  private rewind(): void {
    for (const name of this.columns)
      for (const ring of this.rings[name]) {
        ring.copyWithin(0, this.from, this.from + this.points - 1);
        ring.fill(NaN, this.points - 1);
      }
    this.from = 0;
  }

  /** Fills `into` with what uPlot draws: times, then for each series its columns. Arrays are used again. */
  fill(into: (number | null)[][]): (number | null)[][] {
    const wanted = 1 + this.series.length * this.columns.length;
    while (into.length < wanted) into.push([]);
    into.length = wanted;
    const times = into[0] as number[];
    times.length = this.length;
    for (let index = 0; index < this.length; index += 1) times[index] = this.time(index);
    let at = 1;
    for (let series = 0; series < this.series.length; series += 1)
      for (const name of this.columns) {
        const out = into[at] as (number | null)[];
        at += 1;
        out.length = this.length;
        for (let index = 0; index < this.length; index += 1) out[index] = this.at(name, series, index);
      }
    return into;
  }
}
