/** Lines over time, with a legend that tells the values under the pointer and hides series. */

import { useComputed, useSignal, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { PanelFeed } from "../live/store";
import { clock, measure, plural } from "../ui/format";
import { inert, oneLine } from "../ui/inert";
import { colourName, DASHES, shapeOf, shapePath } from "../ui/palette";
import { theme } from "../ui/theme";
import { type ChartOptions, type ChartSeries, TimeChart } from "../ui/time_chart";
import type { LineWindow } from "./line_window";
import { useDraw } from "./shown";

interface Props {
  feed: PanelFeed;
  live: boolean;
  search: string;
  range: { start: number; end: number } | null;
  onZoom: (start: number, end: number) => void;
}

interface Entry {
  at: number;
  /** What the legend calls it: the key, under which all its values stand, or the name of the value. */
  group: string;
  label: string;
  colour: string;
  dash: readonly number[];
  shape: ReturnType<typeof shapeOf>;
}

/** Colour and shape go with the key, the dash with the value's name; with one key the names get the colours. */
function entries(lines: LineWindow): Entry[] {
  const keys = [...new Set(lines.series.map((series) => JSON.stringify(series.key)))];
  const names = [...new Set(lines.series.map((series) => series.y))];
  return lines.series.map((series, at) => {
    const key = keys.indexOf(JSON.stringify(series.key));
    const y = names.indexOf(series.y);
    const main = keys.length > 1 ? key : y;
    const group = series.key === null ? inert(series.y, 40) : oneLine(series.key, 40);
    const label = series.key !== null && names.length > 1 ? `${group} ${inert(series.y, 40)}` : group;
    return { at, group, label, colour: colourName(main), dash: DASHES[(keys.length > 1 ? y : 0) % DASHES.length] ?? [], shape: shapeOf(main) };
  });
}

function chartSeries(lines: LineWindow, all: Entry[]): Pick<ChartOptions, "series" | "bands"> {
  const series: ChartSeries[] = [];
  const bands: NonNullable<ChartOptions["bands"]> = [];
  for (const entry of all) {
    const first = series.length;
    for (const column of lines.columns) series.push({ ...entry, edge: column === "min" || column === "max", width: entry.dash.length ? 1.25 : 1.75, patience: () => lines.patience(entry.at) });
    const upper = lines.columns.indexOf("max");
    const lower = lines.columns.indexOf("min");
    if (upper >= 0 && lower >= 0) bands.push({ upper: first + upper, lower: first + lower, colour: entry.colour });
  }
  return { series, bands };
}

export function LinePanel({ feed, live, search, range, onZoom }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const chart = useRef<{ plot: TimeChart; lines: LineWindow } | null>(null);
  const buffers = useRef<(number | null)[][]>([]);
  const cursor = useSignal<number | null>(null);
  const legend = useSignal(0);
  const lines = useSignal<LineWindow | null>(feed.model.line);
  const off = useSignal<ReadonlySet<string>>(new Set());
  const rangeNow = useRef(range);
  rangeNow.current = range;
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  const told = useRef(0);
  const { panel } = feed.model;

  const isShown = ({ group }: Entry): boolean =>
    !off.value.has(group) && (search === "" || group.toLowerCase().includes(search.toLowerCase()));

  const draw = (): void => {
    const held = feed.model.line;
    if (!held) return;
    if (lines.peek() !== held) {
      lines.value = held;
      return;
    }
    const made = chart.current;
    if (!made || made.lines !== held) return;
    const columns = held.fill(buffers.current);
    const shown = rangeNow.current;
    const end = held.time(Math.max(0, held.length - 1));
    // A young topic fills at least a quarter of the width, not a sliver at its end.
    const young = Math.min(held.firstKnown(), held.length - 1 - held.points / 4);
    const start = held.time(Math.max(held.length - held.points, Math.floor(young)));
    made.plot.draw(columns, shown?.start ?? start, shown?.end ?? end);
    // The legend is read, not watched: twice a second is enough.
    const at = performance.now();
    if (cursor.peek() !== null || at - told.current >= 490) {
      told.current = at;
      legend.value += 1;
    }
  };
  useDraw(feed, live, range ? 0 : 60, draw);

  const held = lines.value;
  const all = held ? entries(held) : [];
  const drawn = theme.value;
  useEffect(() => {
    const element = root.current;
    if (!element || !held) return;
    const plot = new TimeChart(element, {
      ...chartSeries(held, all),
      min: panel.min,
      max: panel.max,
      sync: "streams",
      format: (value) => measure(value, null),
      onZoom: (start, end) => zoom.current(start, end),
      onCursor: (index) => (cursor.value = index),
      gaps: () => feed.model.gaps,
    });
    chart.current = { plot, lines: held };
    buffers.current = [];
    draw();
    legend.value += 1;
    return () => {
      chart.current = null;
      plot.close();
    };
  }, [held, drawn, panel]);

  const visibility = all.map(isShown);
  useEffect(() => {
    const made = chart.current;
    if (!made) return;
    const width = made.lines.columns.length;
    visibility.forEach((shown, at) => {
      for (let column = 0; column < width; column += 1) made.plot.show(at * width + column, shown);
    });
  }, [visibility.join(), held, drawn]);

  const groups = new Map<string, Entry[]>();
  for (const entry of all) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry]);
  const names = held && groups.size < all.length ? [...new Set(held.series.map((series) => series.y))] : [];

  const toggle = (group: string, only: boolean): void => {
    const next = new Set(off.value);
    if (only) {
      const others = [...groups.keys()].filter((other) => other !== group);
      const isOnly = others.every((other) => next.has(other)) && !next.has(group);
      off.value = new Set(isOnly ? [] : others);
      return;
    }
    if (!next.delete(group)) next.add(group);
    off.value = next;
  };

  const onKey = (event: KeyboardEvent): void => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      chart.current?.plot.step((event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1));
      event.preventDefault();
    } else if (event.key === "Escape") chart.current?.plot.leave();
  };

  return (
    <div class="line">
      <div
        class="line-chart"
        ref={root}
        tabIndex={0}
        role="application"
        aria-label={`${panel.title}: chart. Left and right arrow keys move through time; the list below tells the values.`}
        onKeyDown={onKey}
      />
      {held ? (
        <div class="legend">
          <LegendTime lines={held} cursor={cursor} version={legend} />
          <ul>
            {[...groups].map(([group, of]) =>
              search !== "" && !isShown(of[0] as Entry) && !off.value.has(group) ? null : (
                <li key={group}>
                  <button
                    type="button"
                    class="legend-item"
                    aria-pressed={!off.value.has(group)}
                    title="Click hides or shows, with Shift shows only this one"
                    onClick={(event) => toggle(group, event.shiftKey)}
                    onPointerEnter={() => chart.current?.plot.focus((of[0] as Entry).at * held.columns.length)}
                    onPointerLeave={() => chart.current?.plot.focus(null)}
                  >
                    <Swatch {...(of[0] as Entry)} />
                    <span class="legend-name">{group}</span>
                    {of.map((entry) => (
                      <LegendValue key={entry.at} lines={held} at={entry.at} decimals={panel.decimals} cursor={cursor} version={legend} />
                    ))}
                  </button>
                </li>
              ),
            )}
            {names.map((name, at) => (
              <li key={`of ${name}`} class="legend-dash">
                <svg class="swatch" viewBox="0 0 22 10" aria-hidden="true">
                  <path d="M0 5h22" stroke="currentColor" stroke-width="1.5" stroke-dasharray={(DASHES[at % DASHES.length] ?? []).join(" ")} />
                </svg>
                {inert(name, 40)}
              </li>
            ))}
            {held.hidden > 0 ? <li class="legend-more">{plural(held.hidden, "more series", "more series")} not shown</li> : null}
          </ul>
        </div>
      ) : null}
    </div>
  );
}

interface Reading {
  lines: LineWindow;
  cursor: Signal<number | null>;
  version: Signal<number>;
}

function LegendTime({ lines, cursor, version }: Reading) {
  const text = useComputed(() => {
    void version.value;
    const index = cursor.value;
    return index === null ? "now" : clock(lines.time(Math.min(index, lines.length - 1)), lines.step < 1000);
  });
  return <span class="legend-time">{text}</span>;
}

function LegendValue({ lines, at, decimals, cursor, version }: Reading & { at: number; decimals: number | null }) {
  const text = useComputed(() => {
    void version.value;
    const index = cursor.value;
    return measure(index === null ? lines.newest(at) : lines.at(lines.main, at, index), decimals);
  });
  return <span class="legend-value">{text}</span>;
}

export function Swatch({ colour, dash, shape }: Pick<Entry, "colour" | "dash" | "shape">) {
  return (
    <svg class="swatch" viewBox="0 0 22 10" aria-hidden="true" style={{ color: `var(${colour})` }}>
      <path d="M0 5h22" stroke="currentColor" stroke-width="1.75" stroke-dasharray={dash.join(" ")} />
      <path d={shapePath(shape)} transform="translate(6 0)" fill="currentColor" fill-rule="evenodd" />
    </svg>
  );
}
