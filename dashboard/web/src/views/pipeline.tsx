/** The pipeline as a graph; below it the stage or topic that was chosen. */

import { useSignal } from "@preact/signals";
import { PipelineGraph } from "../graph/graph";
import { metrics, pipeline } from "../live/store";
import type { Option, Pipeline } from "../protocol";
import { Badge } from "../ui/badge";
import { plural, span, words } from "../ui/format";
import { oneLine } from "../ui/inert";
import { Empty } from "../ui/notice";
import { route } from "../ui/router";
import { StageView } from "./stage";
import { TopicView } from "./topic";
import "../style/pipeline.css";

export function PipelineView() {
  const own = useSignal(false);
  const loaded = pipeline.value;
  if (!loaded) return null;
  const [, type, name] = route.value;
  const chosenTopic = type === "topic" ? loaded.topics.find((topic) => topic.name === name) : undefined;
  const withOwn = own.value || (chosenTopic !== undefined && chosenTopic.role !== "data");
  return (
    <>
      <div class="view-head">
        <h1>Pipeline</h1>
        <Facts of={loaded} />
        <label class="field">
          <input type="checkbox" checked={own.value} onChange={(event) => (own.value = event.currentTarget.checked)} />
          own topics
        </label>
      </div>
      <PipelineGraph pipeline={loaded} own={withOwn} chosen={`${type ?? ""}/${name ?? ""}`} />
      {type === "stage" && name ? (
        loaded.stages.some((stage) => stage.name === name) ? <StageView key={name} name={name} /> : <Empty title={`The pipeline has no stage ${oneLine(name, 60)}`} />
      ) : type === "topic" && name ? (
        chosenTopic ? <TopicView key={name} topic={chosenTopic} /> : <Empty title={`The pipeline has no topic ${oneLine(name, 60)}`} />
      ) : (
        <Broker of={loaded} />
      )}
    </>
  );
}

function Facts({ of }: { of: Pipeline }) {
  const newest = metrics.value;
  const states = Object.values(newest?.stages ?? {}).map((stage) => stage.health);
  const unhealthy = states.filter((health) => health === "stuck" || health === "failed").length;
  const unknown = states.filter((health) => health === "unknown").length;
  return (
    <div class="view-facts">
      <span>{plural(of.stages.length, "stage")}</span>
      {newest ? <span>{plural(newest.workers, "worker")}</span> : null}
      <span>{words(of.delivery)}</span>
      {newest && newest.stale_seconds > 10 ? <Badge tone="warn">figures {span(newest.stale_seconds)} old</Badge> : null}
      {unhealthy > 0 ? <Badge tone="bad">{plural(unhealthy, "stage")} not healthy</Badge> : null}
      {unknown > 0 ? <Badge tone="warn" shape="ring">nothing heard of {plural(unknown, "stage")}</Badge> : null}
    </div>
  );
}

function Broker({ of }: { of: Pipeline }) {
  return (
    <section class="card" aria-label="Broker">
      <div class="card-head">
        <h2>Broker: {of.broker.use}</h2>
        <span class="muted">{words(of.broker.delivery)}</span>
        <span class="muted push">Choose a stage or a topic in the graph to look inside.</span>
      </div>
      {of.broker.options.length ? <Options options={of.broker.options} /> : <p class="muted card-pad">All options have their defaults.</p>}
    </section>
  );
}

/** A long name breaks after an underscore rather than within a word. */
function breakable(name: string) {
  return name.split(/(?<=_)/).map((part, at) => (at ? [<wbr key={at} />, part] : part));
}

export function Options({ options }: { options: readonly Option[] }) {
  return (
    <dl class="options">
      {options.map((option) => (
        <div key={option.name} class={option.is_default ? "is-default" : ""}>
          <dt title={option.help}>{breakable(option.name)}</dt>
          <dd>{option.value === null ? <span class="muted">not set</span> : option.secret ? <Badge tone="calm">secret, set</Badge> : <code>{oneLine(option.value, 200)}</code>}</dd>
          <dd class="options-help">{option.help}</dd>
        </div>
      ))}
    </dl>
  );
}
