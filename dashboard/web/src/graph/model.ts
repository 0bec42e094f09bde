/** The pipeline as nodes and arrows, with what the newest figures say about each. Pure. */

import type { Health, Metrics, Pipeline } from "../protocol";

export interface Node {
  id: string;
  type: "stage" | "topic";
  name: string;
  kind: string;
}

export interface Edge {
  from: string;
  to: string;
  stage: string;
  topic: string;
  /** Into a stage (with its lag), or out of one (with the topic's rate). */
  into: boolean;
}

export interface Graph {
  nodes: Node[];
  edges: Edge[];
}

export const stageId = (name: string): string => `stage/${name}`;
export const topicId = (name: string): string => `topic/${name}`;

/** Stages and the topics between them; the pipeline's own topics only when asked for. */
export function graphOf(pipeline: Pipeline, own: boolean): Graph {
  const topics = pipeline.topics.filter((topic) => own || topic.role === "data");
  const known = new Set(topics.map((topic) => topic.name));
  const nodes: Node[] = [
    ...pipeline.stages.map((stage): Node => ({ id: stageId(stage.name), type: "stage", name: stage.name, kind: stage.kind })),
    ...topics.map((topic): Node => ({ id: topicId(topic.name), type: "topic", name: topic.name, kind: topic.role })),
  ];
  const edges: Edge[] = [];
  for (const stage of pipeline.stages) {
    for (const topic of stage.inputs)
      if (known.has(topic)) edges.push({ from: topicId(topic), to: stageId(stage.name), stage: stage.name, topic, into: true });
    if (stage.output !== null && known.has(stage.output))
      edges.push({ from: stageId(stage.name), to: topicId(stage.output), stage: stage.name, topic: stage.output, into: false });
  }
  return { nodes, edges };
}

export interface Flow {
  rate: number | null;
  lagSeconds: number | null;
  health: Health;
}

/** What moves along an arrow. Into a stage of one input that is what the stage takes; of several, what the topic gets. */
export function flowOf(edge: Edge, metrics: Metrics | null, inputs: number): Flow {
  const stage = metrics?.stages[edge.stage];
  const topic = metrics?.topics[edge.topic];
  const own = edge.into ? (inputs === 1 ? stage?.in_per_second : undefined) : stage?.out_per_second;
  return {
    rate: own ?? topic?.per_second ?? null,
    lagSeconds: edge.into ? (stage?.lag_seconds ?? null) : null,
    health: stage?.health ?? "unknown",
  };
}

/** A lag that deserves a look. */
export function isBehind(lagSeconds: number | null): boolean {
  return lagSeconds !== null && lagSeconds > 10;
}
