/** The panels of the pipeline file. */

import { metrics, pipeline, skipped } from "../live/store";
import { allPaused, PanelFrame, usePanels } from "../panels/frame";
import { Steady } from "../ui/steady";
import { plural, rate } from "../ui/format";
import { Icon } from "../ui/icon";
import { Empty } from "../ui/notice";
import { useRef } from "preact/hooks";

export function Streams() {
  const panels = usePanels();
  const onlyNormal = panels.every((panel) => panel.kind !== "number" && panel.kind !== "gauge" && !panel.wide);
  return (
    <>
      <div class="view-head">
        <h1>Streams</h1>
        <Flow />
        <button type="button" class="button" aria-pressed={allPaused.value} onClick={() => (allPaused.value = !allPaused.value)}>
          <Icon name={allPaused.value ? "play" : "pause"} />
          {allPaused.value ? "Go on" : "Pause all"}
        </button>
      </div>
      {panels.length === 0 ? (
        <Empty title="The pipeline file has no panels">
          List them under <code>dashboard: panels:</code>, each with a title, the topic it is from, and a kind.
        </Empty>
      ) : (
        <div class={`grid ${onlyNormal ? "grid-normal" : ""}`}>
          {panels.map((panel) => (
            <PanelFrame key={panel.id} panel={panel} />
          ))}
        </div>
      )}
    </>
  );
}

/** How much flows through the topics that hold data, as one number that stands still long enough to be read. */
function Flow() {
  const steady = useRef(new Steady(1500, 0.03));
  const topics = (pipeline.value?.topics ?? []).filter((topic) => topic.role === "data");
  const newest = metrics.value;
  const rates = topics.map((topic) => newest?.topics[topic.name]?.per_second ?? null).filter((each) => each !== null);
  const total = rates.length ? rates.reduce((sum, each) => sum + each, 0) : null;
  const shown = steady.current.next(total, performance.now());
  return (
    <p class="view-facts">
      <span>
        <b>{rate(shown)}</b> records through {plural(topics.length, "topic")}
      </span>
      {skipped.value > 0 ? <span title="This page or its line was too slow for them; nothing is out of order.">{plural(skipped.value, "tick")} skipped</span> : null}
    </p>
  );
}
