import { describe, expect, it } from "vitest";
import { layers, layout, type Sizes } from "../src/graph/layout";
import { flowOf, graphOf } from "../src/graph/model";
import type { Metrics, Pipeline, Stage, Topic } from "../src/protocol";

const stage = (name: string, inputs: string[], output: string | null): Stage => ({ name, inputs, output }) as unknown as Stage;
const topic = (name: string, role: Topic["role"] = "data"): Topic => ({ name, role }) as unknown as Topic;
const demo = {
  stages: [stage("stocks", [], "trades"), stage("prices", ["trades"], "out"), stage("lines", [], "logs"), stage("live", ["out", "logs"], null)],
  topics: [topic("trades"), topic("out"), topic("logs"), topic("demo.dead_letters", "dead_letters")],
} as unknown as Pipeline;

describe("the graph of a pipeline", () => {
  it("has stages, topics that hold data, and an arrow for each input and output", () => {
    const { nodes, edges } = graphOf(demo, false);
    expect(nodes.map((node) => node.id)).not.toContain("topic/demo.dead_letters");
    expect(edges.map((edge) => `${edge.from} ${edge.to}`)).toEqual([
      "stage/stocks topic/trades", "topic/trades stage/prices", "stage/prices topic/out", "stage/lines topic/logs", "topic/out stage/live", "topic/logs stage/live",
    ]);
    expect(graphOf(demo, true).nodes.map((node) => node.id)).toContain("topic/demo.dead_letters");
  });

  it("puts every arrow from an earlier to a later layer", () => {
    const { nodes, edges } = graphOf(demo, false);
    const found = layers(nodes, edges);
    for (const edge of edges) expect(found.get(edge.from)).toBeLessThan(found.get(edge.to) ?? -1);
    expect(found.get("stage/live")).toBe(4);
  });

  it("ends although the arrows make a circle", () => {
    const nodes = ["a", "b", "c"].map((id) => ({ id }));
    expect(layers(nodes, [{ from: "a", to: "b" }, { from: "b", to: "c" }, { from: "c", to: "a" }]).size).toBe(3);
  });

  it("places no two nodes on each other, to the right or down", () => {
    const { nodes, edges } = graphOf(demo, true);
    for (const down of [false, true]) {
      const sizes: Sizes = { node: { width: 100, height: 40 }, gap: { layer: 60, node: 10 }, down };
      const { places, width, height } = layout(nodes, edges, sizes);
      const all = [...places.values()];
      expect(all).toHaveLength(nodes.length);
      all.forEach((a, index) => {
        expect(a.x).toBeGreaterThanOrEqual(0);
        expect(a.x + 100).toBeLessThanOrEqual(width);
        expect(a.y + 40).toBeLessThanOrEqual(height);
        for (const b of all.slice(index + 1)) expect(Math.abs(a.x - b.x) >= 100 || Math.abs(a.y - b.y) >= 40).toBe(true);
      });
    }
  });

  it("puts neighbours beside each other", () => {
    const nodes = ["a", "b", "x", "y"].map((id) => ({ id }));
    const { places } = layout(nodes, [{ from: "a", to: "y" }, { from: "b", to: "x" }], { node: { width: 10, height: 10 }, gap: { layer: 10, node: 10 }, down: false });
    expect(places.get("a")?.y).toBe(places.get("y")?.y);
    expect(places.get("b")?.y).toBe(places.get("x")?.y);
  });
});

describe("what moves along an arrow", () => {
  const metrics = {
    stages: { prices: { health: "ok", in_per_second: 5, out_per_second: 4, lag_seconds: 2 }, live: { health: "stuck", in_per_second: 9, lag_seconds: 1 } },
    topics: { out: { per_second: 4.5 }, trades: { per_second: 6 } },
  } as unknown as Metrics;
  const edge = (stageName: string, topicName: string, into: boolean) => ({ from: "", to: "", stage: stageName, topic: topicName, into });

  it("is what the stage takes, with its lag", () => {
    expect(flowOf(edge("prices", "trades", true), metrics, 1)).toEqual({ rate: 5, lagSeconds: 2, health: "ok" });
  });

  it("is what the topic gets where a stage has several inputs", () => {
    expect(flowOf(edge("live", "out", true), metrics, 2)).toEqual({ rate: 4.5, lagSeconds: 1, health: "stuck" });
  });

  it("has no lag out of a stage, and nothing is made up without figures", () => {
    expect(flowOf(edge("prices", "out", false), metrics, 1)).toEqual({ rate: 4, lagSeconds: null, health: "ok" });
    expect(flowOf(edge("prices", "out", false), null, 1)).toEqual({ rate: null, lagSeconds: null, health: "unknown" });
  });
});
