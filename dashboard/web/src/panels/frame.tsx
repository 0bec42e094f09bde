/** A panel: its title and tools, the drawing inside, and what must be known about its data. */

import { signal, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { api, messageOf } from "../api";
import { feedOf, now, PanelFeed, pipeline, watchPanel } from "../live/store";
import type { Panel } from "../protocol";
import { Badge } from "../ui/badge";
import { clock, plural, span, when } from "../ui/format";
import { inert } from "../ui/inert";
import { IconButton } from "../ui/icon";
import { Empty, Trouble } from "../ui/notice";
import { link } from "../ui/router";
import { BarPanel } from "./bar";
import { FeedPanel } from "./feed";
import { HeatmapPanel } from "./heatmap";
import { LinePanel } from "./line";
import { GaugePanel, NumberPanel } from "./number";
import { type Range, shift, widen } from "./scale";
import { TablePanel } from "./table";
import { useShown } from "./shown";

export const allPaused = signal(false);

const SPANS: [string, number][] = [
  ["5 min", 5], ["15 min", 15], ["1 h", 60], ["6 h", 360], ["24 h", 1440], ["7 d", 10080],
];

/** Past time of a panel, asked for and held apart from the live one. */
function useHistory(panel: Panel, range: Range | null): { feed: PanelFeed | null; failure: string | null; busy: boolean } {
  const held = useSignal<{ feed: PanelFeed | null; failure: string | null; busy: boolean }>({ feed: null, failure: null, busy: false });
  useEffect(() => {
    if (!range) {
      held.value = { feed: null, failure: null, busy: false };
      return;
    }
    let open = true;
    held.value = { ...held.peek(), failure: null, busy: true };
    // A short wait: who moves through history step by step asks once.
    const timer = setTimeout(() => {
      api.panelHistory(panel.id, range.start, range.end).then(
        (part) => {
          if (!open) return;
          const feed = new PanelFeed(panel);
          feed.model.take({ ...part, snapshot: true });
          held.value = { feed, failure: part.error ?? null, busy: false };
        },
        (error: unknown) => open && (held.value = { ...held.peek(), failure: messageOf(error), busy: false }),
      );
    }, 150);
    return () => {
      open = false;
      clearTimeout(timer);
    };
  }, [panel, range]);
  return held.value;
}

export function PanelFrame({ panel }: { panel: Panel }) {
  const feed = feedOf(panel);
  const paused = useSignal(false);
  const full = useSignal(false);
  const searching = useSignal(false);
  const search = useSignal("");
  const range = useSignal<Range | null>(null);
  const choosing = useSignal(false);
  const visible = useSignal(true);
  const root = useRef<HTMLElement>(null);
  const history = useHistory(panel, range.value);
  const held = paused.value || allPaused.value;
  const live = !held && visible.value && !range.value;

  useEffect(() => watchPanel(feed), [feed]);
  useEffect(() => {
    const observer = new IntersectionObserver((seen) => (visible.value = seen[0]?.isIntersecting ?? true), { rootMargin: "100px" });
    if (root.current) observer.observe(root.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!full.value) return;
    const leave = (): void => {
      if (!document.fullscreenElement) full.value = false;
    };
    const key = (event: KeyboardEvent): void => {
      if (event.key === "Escape") full.value = false;
    };
    document.addEventListener("fullscreenchange", leave);
    document.addEventListener("keydown", key);
    // Where the browser gives no full screen (iPhone) the panel still fills the page.
    root.current?.requestFullscreen?.().catch(() => undefined);
    return () => {
      document.removeEventListener("fullscreenchange", leave);
      document.removeEventListener("keydown", key);
      if (document.fullscreenElement) void document.exitFullscreen();
    };
  }, [full.value]);

  const look = (minutes: number): void => {
    const end = now();
    range.value = { start: end - minutes * 60_000, end };
    choosing.value = false;
  };
  const zoom = (start: number, end: number): void => {
    range.value = { start, end };
  };
  const id = `panel-${panel.id}`;
  const small = panel.kind === "number" || panel.kind === "gauge";
  const drawn = history.feed ?? feed;
  return (
    <section ref={root} class={`panel kind-${panel.kind} ${panel.wide ? "is-wide" : ""} ${full.value ? "is-full" : ""}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id} title={`from ${panel.from}`}>
          {inert(panel.title, 80)}
        </h2>
        {panel.unit && !small ? <span class="panel-unit">{inert(panel.unit, 16)}</span> : null}
        <PanelFacts feed={drawn} />
        {held && !range.value ? <Badge tone="info">paused</Badge> : null}
        <div class="panel-tools">
          {small ? null : <IconButton icon="search" label={`Filter ${panel.title}`} pressed={searching.value} onClick={() => {
            searching.value = !searching.value;
            if (!searching.value) search.value = "";
          }} />}
          <IconButton icon="history" label={`Past time of ${panel.title}`} pressed={choosing.value || range.value !== null} onClick={() => (choosing.value = !choosing.value)} />
          {range.value ? null : <IconButton icon={paused.value ? "play" : "pause"} label={paused.value ? `Go on with ${panel.title}` : `Pause ${panel.title}`} pressed={paused.value} onClick={() => (paused.value = !paused.value)} />}
          <IconButton icon={full.value ? "shrink" : "expand"} label={full.value ? "Leave full screen" : `Full screen: ${panel.title}`} onClick={() => (full.value = !full.value)} />
        </div>
      </header>
      {choosing.value ? (
        <div class="panel-bar" role="group" aria-label="Past time">
          <span class="muted">Show the last</span>
          {SPANS.map(([name, minutes]) => (
            <button key={name} type="button" class="chip" onClick={() => look(minutes)}>{name}</button>
          ))}
        </div>
      ) : null}
      {range.value ? <RangeBar range={range.value} busy={history.busy} complete={history.feed?.model.complete ?? true} set={(to) => (range.value = to)} /> : null}
      {searching.value ? (
        <div class="panel-bar">
          <input
            type="search"
            class="input grow"
            placeholder={panel.kind === "feed" ? "Text in the key or value" : "Show only what contains"}
            aria-label={`Filter ${panel.title}`}
            maxLength={200}
            ref={(element) => {
              if (element && !element.dataset["met"]) {
                element.dataset["met"] = "1";
                element.focus();
              }
            }}
            value={search.value}
            onInput={(event) => (search.value = event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== "Escape") return;
              search.value = "";
              searching.value = false;
            }}
          />
        </div>
      ) : null}
      <div class="panel-body">
        {history.failure ? (
          <Trouble message={history.failure} retry={() => (range.value = range.value && { ...range.value })} />
        ) : range.value && !history.feed ? (
          <Empty title="Reading past records" />
        ) : (
          <PanelBody key={history.feed ? "past" : "live"} feed={drawn} live={history.feed ? true : live} search={search.value} range={history.feed ? range.value : null} zoom={zoom} />
        )}
      </div>
    </section>
  );
}

/** What the data of a panel lacks: shown beside its title, never silently. */
function PanelFacts({ feed }: { feed: PanelFeed }) {
  const facts = useShown(feed, true, 1000, () => {
    const { unusable, gaps, resyncs, leftOut } = feed.model;
    return { unusable, gaps, resyncs, leftOut };
  });
  const lost = facts.gaps.reduce((sum, [, , many]) => sum + (many ?? 0), 0);
  const spans = facts.gaps.map(([from, to, many]) => `${clock(from)} \u2013 ${clock(to)}: ${many === null ? "number not known" : plural(many, "record")}`);
  return (
    <>
      {facts.gaps.length ? (
        <span title={`Not seen:\n${spans.join("\n")}`}>
          <Badge tone="warn">{lost ? `${plural(lost, "record")} not seen` : plural(facts.gaps.length, "gap")}</Badge>
        </span>
      ) : null}
      {facts.resyncs ? (
        <span title="Updates went missing between server and page; the panel was filled anew.">
          <Badge tone="info">{plural(facts.resyncs, "update gap")}, filled</Badge>
        </span>
      ) : null}
      {facts.leftOut ? (
        <span title="The oldest would not have fitted into one message of a megabyte. Fewer fields, or a lower limit, make room.">
          <Badge tone="warn">{plural(facts.leftOut, feed.model.panel.kind === "table" ? "row" : "record")} left out</Badge>
        </span>
      ) : null}
      {facts.unusable ? (
        <span title="Records of this span in which a needed field is missing or no number">
          <Badge tone="calm">{plural(facts.unusable, "record")} unusable</Badge>
        </span>
      ) : null}
    </>
  );
}

function RangeBar({ range, busy, complete, set }: { range: Range; busy: boolean; complete: boolean; set: (to: Range | null) => void }) {
  return (
    <div class="panel-bar range-bar" role="group" aria-label="Past time shown">
      <IconButton icon="left" label="Earlier" onClick={() => set(shift(range, -0.5, now()))} />
      <span class="range-text" aria-live="polite">
        {when(range.start, now())} {"\u2013"} {when(range.end, now())} <span class="muted">{span((range.end - range.start) / 1000)}</span>
      </span>
      <IconButton icon="right" label="Later" disabled={range.end >= now() - 1000} onClick={() => set(shift(range, 0.5, now()))} />
      <IconButton icon="out" label="Zoom out" onClick={() => set(widen(range, 2, now()))} />
      {busy ? <span class="muted small">reading</span> : complete ? null : <Badge tone="warn">newest part only</Badge>}
      <button type="button" class="chip chip-live" onClick={() => set(null)}>Back to live</button>
    </div>
  );
}

interface BodyProps {
  feed: PanelFeed;
  live: boolean;
  search: string;
  range: Range | null;
  zoom: (start: number, end: number) => void;
}

function PanelBody({ feed, live, search, range, zoom }: BodyProps) {
  const state = useShown(feed, true, 250, () => ({ error: feed.model.error, empty: feed.model.empty, hollow: feed.model.hollow }));
  if (state.error) return <Trouble message={state.error} />;
  if (state.empty)
    return (
      <Empty title="Waiting for records">
        from <a href={link("pipeline", "topic", feed.model.panel.from)}>{feed.model.panel.from}</a>
      </Empty>
    );
  switch (feed.model.panel.kind) {
    case "line":
      if (state.hollow) return <Empty title="No records in this span" />;
      return <LinePanel feed={feed} live={live} search={search} range={range} onZoom={zoom} />;
    case "bar":
      return <BarPanel feed={feed} live={live} search={search} />;
    case "feed":
      return <FeedPanel feed={feed} live={live} search={search} history={range !== null} />;
    case "number":
      return <NumberPanel feed={feed} live={live} />;
    case "gauge":
      return <GaugePanel feed={feed} live={live} />;
    case "table":
      return <TablePanel feed={feed} live={live} search={search} />;
    case "heatmap":
      return <HeatmapPanel feed={feed} live={live} search={search} />;
    default:
      return <Empty title={`This page does not know panels of kind ${inert(String(feed.model.panel.kind), 20)}`} />;
  }
}

export function usePanels(): Panel[] {
  const loaded = pipeline.value;
  return useMemo(() => loaded?.panels ?? [], [loaded]);
}
