/** One number with its trend, and the same as a gauge. */

import { useRef } from "preact/hooks";
import type { NumberData, Panel } from "../protocol";
import type { PanelFeed } from "../live/store";
import { Badge } from "../ui/badge";
import { measure, rate, span } from "../ui/format";
import { Steady } from "../ui/steady";
import { level, share } from "./scale";
import { HEIGHT, sparkPath, WIDTH } from "./spark";
import { useShown } from "./shown";

function useSteady(feed: PanelFeed, live: boolean): { data: NumberData | null; value: number | null } {
  const steady = useRef(new Steady(500, 0));
  return useShown(feed, live, 250, () => {
    const data = feed.model.number;
    return { data, value: steady.current.next(data?.value ?? null, performance.now()) };
  });
}

function shownValue(panel: Panel, value: number | null): string {
  return panel.show === "rate" && panel.decimals === null ? rate(value).replace("/s", "") : measure(value, panel.decimals);
}

const MEANING: Record<string, string> = {
  last: "latest", mean: "mean", min: "lowest", max: "highest", sum: "sum", count: "records", rate: "records a second",
};

function meaning(panel: Panel): string {
  const what = MEANING[panel.show ?? "last"] ?? panel.show ?? "";
  return panel.show === "last" || !panel.span_seconds ? what : `${what}, ${span(panel.span_seconds)}`;
}

export function NumberPanel({ feed, live }: { feed: PanelFeed; live: boolean }) {
  const { data, value } = useSteady(feed, live);
  const { panel } = feed.model;
  if (!data) return null;
  return (
    <div class="number">
      <p class="number-value">
        {shownValue(panel, value)}
        <span class="number-unit">{panel.unit ?? (panel.show === "rate" ? "/s" : "")}</span>
      </p>
      <p class="small muted">{meaning(panel)}</p>
      <Spark values={data.trend} />
    </div>
  );
}

function Spark({ values }: { values: readonly (number | null)[] }) {
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path d={sparkPath(values)} vector-effect="non-scaling-stroke" />
    </svg>
  );
}

const ARC = 251.3;

export function GaugePanel({ feed, live }: { feed: PanelFeed; live: boolean }) {
  const { data, value } = useSteady(feed, live);
  const { panel } = feed.model;
  if (!data) return null;
  const low = panel.min ?? 0;
  const high = panel.max ?? 100;
  const state = level(value, panel.warn, panel.bad);
  const part = value === null ? 0 : share(value, low, high);
  const tick = (at: number | null, name: string) => {
    if (at === null) return null;
    const angle = Math.PI * (1 - share(at, low, high));
    const point = (radius: number): string => `${(100 + radius * Math.cos(angle)).toFixed(1)} ${(96 - radius * Math.sin(angle)).toFixed(1)}`;
    return <path class={`gauge-tick gauge-${name}`} d={`M${point(71)}L${point(89)}`} />;
  };
  return (
    <div class={`gauge gauge-is-${state}`} role="meter" aria-label={panel.title} aria-valuenow={value ?? low} aria-valuemin={low} aria-valuemax={high}>
      <svg viewBox="0 0 200 104" aria-hidden="true">
        <path class="gauge-track" d="M20 96a80 80 0 0 1 160 0" />
        <path class="gauge-arc" d="M20 96a80 80 0 0 1 160 0" stroke-dasharray={`${part * ARC} 400`} />
        {tick(panel.warn, "warn")}
        {tick(panel.bad, "bad")}
      </svg>
      <p class="gauge-value">
        {shownValue(panel, value)}
        <span class="number-unit">{panel.unit ?? ""}</span>
      </p>
      <p class="gauge-ends small muted">
        <span>{measure(low)}</span>
        {state === "ok" ? <span>{meaning(panel)}</span> : <Badge tone={state === "bad" ? "bad" : "warn"}>{state === "bad" ? "bad" : "warning"}</Badge>}
        <span>{measure(high)}</span>
      </p>
    </div>
  );
}
