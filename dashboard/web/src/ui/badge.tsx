/** Health, levels and small facts, each with a shape besides its colour. */

import type { ComponentChildren } from "preact";
import type { Health } from "../protocol";
import { type Shape, shapePath } from "./palette";

export type Tone = "ok" | "warn" | "bad" | "calm" | "info";

const OF_HEALTH: Record<Health, { tone: Tone; shape: Shape }> = {
  ok: { tone: "ok", shape: "circle" },
  stuck: { tone: "bad", shape: "triangle" },
  failed: { tone: "bad", shape: "cross" },
  ended: { tone: "calm", shape: "square" },
  unknown: { tone: "warn", shape: "ring" },
};

const OF_TONE: Record<Tone, Shape> = { ok: "circle", warn: "triangle", bad: "diamond", calm: "square", info: "ring" };

export function toneOf(health: Health): Tone {
  return OF_HEALTH[health]?.tone ?? "warn";
}

export function Mark({ shape, class: name = "" }: { shape: Shape; class?: string }) {
  return (
    <svg class={`mark ${name}`} viewBox="0 0 10 10" aria-hidden="true">
      <path d={shapePath(shape)} fill-rule="evenodd" />
    </svg>
  );
}

export function HealthMark({ health }: { health: Health }) {
  const { tone, shape } = OF_HEALTH[health] ?? OF_HEALTH.unknown;
  return <Mark shape={shape} class={`tone-${tone}`} />;
}

export function Badge({ tone, shape, children }: { tone: Tone; shape?: Shape; children: ComponentChildren }) {
  return (
    <span class={`badge tone-${tone}`}>
      <Mark shape={shape ?? OF_TONE[tone]} />
      <span>{children}</span>
    </span>
  );
}

/** Health of which nothing is known any more: grey, unlike the `unknown` that the server says of a stage. */
export function UnheardBadge() {
  return <Badge tone="calm" shape="ring">unknown</Badge>;
}

export function UnheardMark() {
  return <Mark shape="ring" class="tone-calm" />;
}

export function HealthBadge({ health }: { health: Health }) {
  const { tone, shape } = OF_HEALTH[health] ?? OF_HEALTH.unknown;
  return (
    <Badge tone={tone} shape={shape}>
      {health}
    </Badge>
  );
}
