/** A chart over time: uPlot in this page's colours, with shapes at the newest points and bands where data is missing. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Gap } from "../protocol";
import { clock, measure, stamp } from "./format";
import { type Shape, shapePath } from "./palette";
import { token } from "./theme";

export interface ChartSeries {
  label: string;
  /** Name of a CSS variable. */
  colour: string;
  dash: readonly number[];
  shape: Shape;
  width?: number;
  /** Only the edge of a band: no line of its own. */
  edge?: boolean;
  shown?: boolean;
  /** The longest time (ms) without a value that the line goes straight over. */
  patience?: () => number;
}

export interface ChartOptions {
  series: ChartSeries[];
  /** Pairs of series (indices into `series`): upper and lower edge of a band, and whose colour it has. */
  bands?: { upper: number; lower: number; colour: string }[];
  format?: (value: number) => string;
  min?: number | null;
  max?: number | null;
  /** Charts of one name show the same time under the pointer. */
  sync?: string;
  onZoom?: (start: number, end: number) => void;
  onCursor?: (index: number | null) => void;
  gaps?: () => readonly Gap[];
}

export class TimeChart {
  private readonly plot: uPlot;
  private range: [number, number] = [0, 1];
  private readonly observer: ResizeObserver;

  constructor(
    private readonly root: HTMLElement,
    private readonly options: ChartOptions,
  ) {
    this.plot = new uPlot(this.settings(), [[]], root);
    this.observer = new ResizeObserver(() => {
      const { width, height } = this.size();
      if (width !== this.plot.width || height !== this.plot.height) this.plot.setSize({ width, height });
    });
    this.observer.observe(root);
  }

  /** Draws columns (times in ms first) between `from` and `to`. */
  draw(columns: (number | null)[][], from: number, to: number): void {
    this.range = [from, Math.max(to, from + 1)];
    this.plot.setData(columns as uPlot.AlignedData, false);
    this.plot.setScale("x", { min: this.range[0], max: this.range[1] });
  }

  show(series: number, shown: boolean): void {
    this.plot.setSeries(series + 1, { show: shown });
  }

  focus(series: number | null): void {
    this.plot.setSeries(series === null ? null : series + 1, { focus: series !== null });
  }

  /** Moves the pointer's place by points, for the keyboard. */
  step(points: number): void {
    const last = this.plot.data[0].length - 1;
    if (last < 0) return;
    const index = Math.min(last, Math.max(0, (this.plot.cursor.idx ?? last + (points < 0 ? 1 : 0)) + points));
    const time = this.plot.data[0][index] ?? 0;
    this.plot.setCursor({ left: this.plot.valToPos(time, "x"), top: this.plot.bbox.height / devicePixelRatio / 2 });
  }

  leave(): void {
    this.plot.setCursor({ left: -10, top: -10 });
  }

  close(): void {
    this.observer.disconnect();
    this.plot.destroy();
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(80, this.root.clientWidth), height: Math.max(60, this.root.clientHeight) };
  }

  private settings(): uPlot.Options {
    const { options } = this;
    const muted = token("--muted");
    const grid = { stroke: token("--grid"), width: 1 };
    const font = `11px ${token("--sans")}`;
    const format = options.format ?? ((value: number) => measure(value));
    return {
      ...this.size(),
      ms: 1,
      pxAlign: 1,
      legend: { show: false },
      padding: [10, 10, 0, 0],
      focus: { alpha: 0.25 },
      cursor: {
        y: false,
        points: { size: 7, width: 2 },
        drag: { x: options.onZoom !== undefined, y: false, setScale: false },
        ...(options.sync ? { sync: { key: options.sync, setSeries: false } } : {}),
      },
      scales: {
        x: { time: true, range: () => this.range },
        y: { range: (_, low, high) => this.yRange(low, high) },
      },
      axes: [
        {
          stroke: muted, font, grid: { show: false }, ticks: { ...grid, size: 4 }, size: 26, gap: 4, space: 78,
          values: (_, splits, __, ___, step) => splits.map((time) => (this.range[1] - time < 0.03 * (this.range[1] - this.range[0]) ? "" : axisTime(time, step))),
        },
        {
          stroke: muted, font, grid, ticks: { show: false }, gap: 6, space: 34,
          size: (_, values) => 14 + 6.4 * Math.max(3, ...(values ?? []).map((value) => value.length)),
          values: (_, splits) => splits.map((value) => format(value)),
        },
      ],
      series: [
        {},
        ...options.series.map((series): uPlot.Series => ({
          label: series.label,
          show: series.shown ?? true,
          stroke: token(series.colour),
          width: series.edge ? 0 : (series.width ?? 1.5),
          dash: [...series.dash],
          spanGaps: false,
          ...(series.patience ? { gaps: bridged(series.patience) } : {}),
          points: { show: false },
        })),
      ],
      bands: (options.bands ?? []).map(({ upper, lower, colour }) => ({
        series: [upper + 1, lower + 1],
        fill: `${token(colour)}2e`,
      })),
      hooks: {
        drawClear: [(plot) => this.drawGaps(plot)],
        draw: [(plot) => this.drawShapes(plot)],
        setCursor: [(plot) => options.onCursor?.(plot.cursor.idx ?? null)],
        setSelect: [(plot) => this.selected(plot)],
      },
    };
  }

  private yRange(low: number | null, high: number | null): [number, number] {
    const { min = null, max = null } = this.options;
    if (low === null || high === null) return [min ?? 0, max ?? 1];
    // Room of a tenth, and whole steps of it, so that the scale moves seldom.
    const spread = high - low || Math.abs(high) || 1;
    const unit = 10 ** Math.floor(Math.log10(spread)) / 2;
    const floor = Math.floor((low - spread * 0.04) / unit) * unit;
    return [min ?? (low >= 0 ? Math.max(0, floor) : floor), max ?? Math.ceil((high + spread * 0.04) / unit) * unit];
  }

  private selected(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < 6) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.options.onZoom?.(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
  }

  private drawGaps(plot: uPlot): void {
    const { ctx, bbox } = plot;
    for (const [from, to] of this.options.gaps?.() ?? []) {
      const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
      const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
      if (right <= left) continue;
      ctx.save();
      ctx.fillStyle = `${token("--warn")}22`;
      ctx.strokeStyle = `${token("--warn")}88`;
      ctx.fillRect(left, bbox.top, right - left, bbox.height);
      ctx.beginPath();
      ctx.rect(left, bbox.top, right - left, bbox.height);
      ctx.clip();
      const pitch = 8 * devicePixelRatio;
      for (let x = left - bbox.height; x < right; x += pitch) {
        ctx.moveTo(x, bbox.top + bbox.height);
        ctx.lineTo(x + bbox.height, bbox.top);
      }
      ctx.stroke();
      ctx.restore();
    }
  }

  private drawShapes(plot: uPlot): void {
    const { ctx, bbox } = plot;
    const times = plot.data[0];
    this.options.series.forEach((series, at) => {
      if (series.edge || plot.series[at + 1]?.show === false) return;
      const values = plot.data[at + 1];
      if (!values) return;
      let index = values.length - 1;
      while (index >= 0 && (values[index] === null || values[index] === undefined)) index -= 1;
      const x = index < 0 ? NaN : plot.valToPos(times[index] ?? NaN, "x", true);
      if (!(x >= bbox.left && x <= bbox.left + bbox.width + 4)) return;
      const scale = 0.72 * devicePixelRatio;
      ctx.save();
      ctx.translate(x - 5 * scale, plot.valToPos(values[index] as number, "y", true) - 5 * scale);
      ctx.scale(scale, scale);
      ctx.fillStyle = token(series.colour);
      ctx.fill(outline(series.shape), "evenodd");
      ctx.restore();
    });
  }
}

/** Only holes that are longer than the patience. */
function bridged(patience: () => number): uPlot.Series.GapsRefiner {
  return (plot, _series, _from, _to, holes) => {
    if (holes.length === 0) return holes;
    const longest = Math.abs(plot.valToPos(patience(), "x", true) - plot.valToPos(0, "x", true));
    return holes.filter(([left, right]) => right - left > longest);
  };
}

const OUTLINES = new Map<Shape, Path2D>();

function outline(shape: Shape): Path2D {
  let path = OUTLINES.get(shape);
  if (!path) OUTLINES.set(shape, (path = new Path2D(shapePath(shape))));
  return path;
}

function axisTime(time: number, step: number): string {
  if (step >= 86_400_000) return stamp(time).slice(5, 10);
  return step >= 60_000 ? clock(time).slice(0, 5) : clock(time);
}
