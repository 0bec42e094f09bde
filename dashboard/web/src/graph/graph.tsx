/** The pipeline drawn: nodes as links, arrows below them with rate, lag and health. */

import { useEffect, useRef, useState } from "preact/hooks";
import { metrics, staleSince } from "../live/store";
import type { Pipeline } from "../protocol";
import { HealthMark, toneOf, UnheardMark } from "../ui/badge";
import { count, rate, span } from "../ui/format";
import { inert } from "../ui/inert";
import { link } from "../ui/router";
import { Steady } from "../ui/steady";
import { layers, layout } from "./layout";
import { type Edge, flowOf, graphOf, isBehind, type Node } from "./model";

const NODE = { width: 156, widest: 240, height: 46 };
const NARROW = { width: 132, widest: 170, height: 46 };
const LETTER = 7.4;
/** What stands beside a name: the mark of its health, and the space around. */
const BESIDE = 48;
/** Pixels out of view from which on an edge says that the graph goes on. */
const EDGE = 12;

/** One steady number for each arrow and topic: rates that stand still long enough to be read. */
function useSteadies(): (id: string, value: number | null) => number | null {
  const held = useRef(new Map<string, Steady>());
  return (id, value) => {
    let steady = held.current.get(id);
    if (!steady) held.current.set(id, (steady = new Steady(1500, 0.03)));
    return steady.next(value, performance.now());
  };
}

export function PipelineGraph({ pipeline, own, chosen }: { pipeline: Pipeline; own: boolean; chosen: string }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(1200);
  const [scrolled, setScrolled] = useState(0);
  const steady = useSteadies();
  useEffect(() => {
    const observer = new ResizeObserver((seen) => setWidth(Math.floor(seen[0]?.contentRect.width ?? 1200)));
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  const { nodes, edges } = graphOf(pipeline, own);
  const down = width < 720;
  const node = roomFor(nodes, down ? NARROW : NODE);
  const depth = 1 + Math.max(0, ...layers(nodes, edges).values());
  const room = depth > 1 ? (width - depth * node.width) / (depth - 1) : 0;
  const gap = down ? { layer: 54, node: 12 } : { layer: Math.min(190, Math.max(92, Math.floor(room))), node: 14 };
  const placed = layout(nodes, edges, { node, gap, down });
  const newest = metrics.value;
  const first = nodes[0]?.id ?? "";
  useEffect(() => {
    const at = placed.places.get(placed.places.has(chosen) ? chosen : first);
    if (box.current && at) bringIntoView(box.current, at, node);
  }, [chosen, first, placed.width, placed.height, width]);

  const left = Math.max(0, Math.floor((width - placed.width) / 2));

  return (
    <div class={`graph-box ${scrolled > EDGE ? "more-left" : ""} ${placed.width - width - scrolled > EDGE ? "more-right" : ""}`}>
      <div class="graph" ref={box} role="region" aria-label="The pipeline: stages and topics" tabIndex={0} onScroll={(event) => setScrolled(event.currentTarget.scrollLeft)}>
        <div class="graph-all" style={{ width: `${placed.width}px`, height: `${placed.height}px`, marginLeft: `${left}px` }}>
          <svg width={placed.width} height={placed.height} aria-hidden="true">
            {edges.map((edge) => {
              const from = placed.places.get(edge.from);
              const to = placed.places.get(edge.to);
              if (!from || !to) return null;
              const flow = flowOf(edge, newest, pipeline.stages.find((stage) => stage.name === edge.stage)?.inputs.length ?? 1);
              return <path key={`${edge.from}>${edge.to}`} class={`edge ${edge.into && isBehind(flow.lagSeconds) ? "edge-behind" : ""} edge-${toneOf(flow.health)}`} d={curve(from, to, node, down)} />;
            })}
          </svg>
          {nodes.map((of) => {
            const at = placed.places.get(of.id);
            return at ? <GraphNode key={of.id} node={of} x={at.x} y={at.y} size={node} chosen={chosen === of.id} steady={steady} /> : null;
          })}
          <ul class="edge-labels" aria-label="Arrows">
            {edges.map((edge) => {
              const from = placed.places.get(edge.from);
              const to = placed.places.get(edge.to);
              if (!from || !to) return null;
              return <EdgeLabel key={`${edge.from}>${edge.to}`} edge={edge} inputs={pipeline.stages.find((stage) => stage.name === edge.stage)?.inputs.length ?? 1} {...labelPlace(from, to, node, down, edge.into)} steady={steady} />;
            })}
          </ul>
        </div>
      </div>
    </div>
  );
}

/** The longest name decides, within bounds: names that are cut look the same. */
function roomFor(nodes: readonly Node[], size: typeof NODE): Size {
  const longest = Math.max(0, ...nodes.map((node) => node.name.length));
  return { width: Math.round(Math.min(size.widest, Math.max(size.width, BESIDE + LETTER * longest))), height: size.height };
}

/** Scrolls the graph, never the page, and only when the node is not in view already. */
function bringIntoView(box: HTMLElement, at: Point, node: Size): void {
  if (at.x < box.scrollLeft || at.x + node.width > box.scrollLeft + box.clientWidth) box.scrollLeft = at.x + node.width / 2 - box.clientWidth / 2;
  if (at.y < box.scrollTop || at.y + node.height > box.scrollTop + box.clientHeight) box.scrollTop = at.y + node.height / 2 - box.clientHeight / 2;
}

type Point = { x: number; y: number };
type Size = { width: number; height: number };

function ends(from: Point, to: Point, node: Size, down: boolean): [Point, Point] {
  return down
    ? [{ x: from.x + node.width / 2, y: from.y + node.height }, { x: to.x + node.width / 2, y: to.y }]
    : [{ x: from.x + node.width, y: from.y + node.height / 2 }, { x: to.x, y: to.y + node.height / 2 }];
}

function curve(from: Point, to: Point, node: Size, down: boolean): string {
  const [a, b] = ends(from, to, node, down);
  const bend = (down ? b.y - a.y : b.x - a.x) / 2;
  return down
    ? `M${a.x} ${a.y}C${a.x} ${a.y + bend} ${b.x} ${b.y - bend} ${b.x} ${b.y}`
    : `M${a.x} ${a.y}C${a.x + bend} ${a.y} ${b.x - bend} ${b.y} ${b.x} ${b.y}`;
}

/** Labels stand where arrows are apart: at the topic's end, which only one stage may write and several read. */
function labelPlace(from: Point, to: Point, node: Size, down: boolean, into: boolean): Point {
  const [a, b] = ends(from, to, node, down);
  const part = into ? 0.42 : 0.5;
  // The curve's own place for this part (the bend is half of the way on both ends).
  const eased = 3 * part * part - 2 * part * part * part;
  return down ? { x: a.x + (b.x - a.x) * eased, y: a.y + (b.y - a.y) * part } : { x: a.x + (b.x - a.x) * part, y: a.y + (b.y - a.y) * eased };
}

type SteadyOf = (id: string, value: number | null) => number | null;

function EdgeLabel({ edge, inputs, x, y, steady }: { edge: Edge; inputs: number; x: number; y: number; steady: SteadyOf }) {
  const flow = flowOf(edge, metrics.value, inputs);
  const shown = steady(`${edge.from}>${edge.to}`, flow.rate);
  const behind = isBehind(flow.lagSeconds);
  return (
    <li class={`edge-label ${behind ? "is-behind" : ""}`} style={{ left: `${x}px`, top: `${y}px` }}>
      <span class="unseen">{edge.into ? `${edge.topic} to ${edge.stage}` : `${edge.stage} to ${edge.topic}`}: </span>
      {flow.health === "ok" || flow.health === "ended" ? null : <HealthMark health={flow.health} />}
      <span>{rate(shown)}</span>
      {edge.into ? <span class="edge-lag" title="lag in seconds">{behind ? "\u25b2 " : ""}{span(roundLag(flow.lagSeconds))}</span> : null}
      <span class="unseen">, {edge.into ? "lag, " : ""}health {flow.health}</span>
    </li>
  );
}

/** Lags under a tenth of a second are all the same to a person. */
function roundLag(seconds: number | null): number | null {
  return seconds === null ? null : seconds < 0.1 ? 0 : seconds;
}

function GraphNode({ node, x, y, size, chosen, steady }: { node: Node; x: number; y: number; size: Size; chosen: boolean; steady: SteadyOf }) {
  const stage = metrics.value?.stages[node.name];
  const topic = metrics.value?.topics[node.name];
  const stale = staleSince.value !== null;
  const health = (stale ? undefined : stage?.health) ?? "unknown";
  const isStage = node.type === "stage";
  const second = isStage
    ? `${node.kind}${stage && stage.dead_lettered > 0 ? ` \u00b7 ${count(stage.dead_lettered)} dead` : ""}`
    : `${rate(steady(node.id, topic?.per_second ?? null))}`;
  return (
    <a
      class={`node node-${node.type} ${isStage && !stale ? `tone-edge-${toneOf(health)}` : ""}`}
      href={link("pipeline", node.type, node.name)}
      aria-current={chosen ? "true" : undefined}
      style={{ left: `${x}px`, top: `${y}px`, width: `${size.width}px`, height: `${size.height}px` }}
    >
      <span class="node-name" title={node.name}>
        {!isStage ? null : stale ? <UnheardMark /> : <HealthMark health={health} />}
        <span>{inert(node.name, 60)}</span>
      </span>
      <span class="node-second">
        <span class="unseen">{isStage ? `stage, health ${health}, ` : "topic, "}</span>
        {second}
      </span>
    </a>
  );
}
