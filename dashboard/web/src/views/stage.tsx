/** A stage: how it is now, its last minutes, its options. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { api, messageOf } from "../api";
import { metrics, staleSince } from "../live/store";
import { extend } from "./stage_history";
import type { HistoryColumn, Json, StageDetail, StageHistory, StageMetrics } from "../protocol";
import { HealthBadge, UnheardBadge } from "../ui/badge";
import { count, exact, millis, NOTHING, plural, rate, span, words } from "../ui/format";
import { inert } from "../ui/inert";
import { Empty, Trouble } from "../ui/notice";
import { colourName, DASHES, shapeOf } from "../ui/palette";
import { link } from "../ui/router";
import { theme } from "../ui/theme";
import { TimeChart } from "../ui/time_chart";
import { Swatch } from "../panels/line";
import { Steady } from "../ui/steady";
import { Options } from "./pipeline";

const MINUTES = [10, 30, 60];

export function StageView({ name }: { name: string }) {
  const detail = useSignal<StageDetail | null>(null);
  const failure = useSignal<string | null>(null);
  const minutes = useSignal(10);
  const history = useSignal<StageHistory | null>(null);

  const load = (): void => {
    failure.value = null;
    api.stage(name, minutes.peek()).then(
      (loaded) => {
        detail.value = loaded;
        history.value = loaded.history;
      },
      (error: unknown) => (failure.value = messageOf(error)),
    );
  };
  useEffect(load, [name, minutes.value]);
  const newest = metrics.value;
  useEffect(() => {
    const stage = newest?.stages[name];
    if (stage && newest && history.peek()) history.value = extend(history.peek() as StageHistory, newest.time, stage, minutes.peek() * 60_000);
  }, [newest]);

  if (failure.value) return <Trouble message={failure.value} retry={load} />;
  if (!detail.value) return <Empty title="Loading" />;
  const { stage, inputs } = detail.value;
  const now = newest?.stages[name] ?? detail.value.now;
  return (
    <section class="detail" aria-label={`Stage ${name}`}>
      <header class="detail-head">
        <h2>{inert(stage.name, 80)}</h2>
        <span class="muted">{stage.kind}</span>
        {!now ? null : staleSince.value !== null ? <UnheardBadge /> : <HealthBadge health={now.health} />}
        <span class="muted">{words(stage.delivery)}</span>
        <span class="detail-arrows">
          {stage.inputs.map((topic) => <a key={topic} href={link("pipeline", "topic", topic)}>{topic}</a>)}
          {stage.inputs.length ? <span class="muted">{"\u2192"}</span> : null}
          <b>{stage.name}</b>
          {stage.output ? (
            <>
              <span class="muted">{"\u2192"}</span>
              <a href={link("pipeline", "topic", stage.output)}>{stage.output}</a>
            </>
          ) : null}
        </span>
        <div class="segments push" role="group" aria-label="Time shown">
          {MINUTES.map((each) => (
            <button key={each} type="button" class="chip" aria-pressed={minutes.value === each} onClick={() => (minutes.value = each)}>{each} min</button>
          ))}
        </div>
      </header>
      {now?.error ? <p class="stage-error" role="alert">{inert(now.error, 1000)}</p> : null}
      {now ? <Tiles of={now} /> : <p class="muted card-pad">Nothing was heard of this stage yet.</p>}
      {history.value ? (
        <div class="charts">
          <HistoryChart title="Throughput" history={history.value} columns={[["in_per_second", "in"], ["out_per_second", "out"]]} format={rate} />
          <HistoryChart title="End-to-end latency" history={history.value} columns={[["latency_p50", "p50"], ["latency_p99", "p99"]]} format={millis} />
          <HistoryChart title="Processing time of a batch" history={history.value} columns={[["processing_p50", "p50"], ["processing_p99", "p99"]]} format={millis} />
          {stage.kind === "producer" ? null : <HistoryChart title="Lag" history={history.value} columns={[["lag_seconds", "seconds"]]} format={span} />}
          <HistoryChart title="Errors, dead letters, restarts" history={history.value} columns={[["errors", "errors"], ["dead_lettered", "dead letters"], ["restarts", "restarts"]]} format={whole} />
        </div>
      ) : null}
      <div class="columns">
        <section class="card">
          <h3 class="card-title">Options</h3>
          {stage.plugin ? <PluginCard use={stage.plugin.use} summary={stage.plugin.summary} options={stage.plugin.options} /> : null}
          {stage.steps.map((step) => (
            <PluginCard key={step.name} use={step.name === step.plugin.use ? step.name : `${step.name} (${step.plugin.use})`} summary={step.plugin.summary} options={step.plugin.options} />
          ))}
        </section>
        <section class="card">
          <h3 class="card-title">How it runs</h3>
          <dl class="options">
            <Fact name="delivery">{words(stage.delivery)}</Fact>
            <Fact name="on error">{words(stage.on_error)}</Fact>
            <Fact name="retry">{tries(stage.retry)}</Fact>
            <Fact name="restart">{tries(stage.restart)}</Fact>
            {stage.key ? <Fact name="key">{stage.key}</Fact> : null}
            {stage.rate ? <Fact name="rate">{rate(stage.rate)}</Fact> : null}
            {stage.timeout_seconds ? <Fact name="timeout">{span(stage.timeout_seconds)}</Fact> : null}
            {stage.group ? <Fact name="group">{stage.group}</Fact> : null}
            {stage.replay_topic ? <Fact name="replay topic">{stage.replay_topic}</Fact> : null}
          </dl>
          {inputs.length ? <Inputs of={inputs} /> : null}
        </section>
      </div>
    </section>
  );
}

/** Counts have no value between two of them, so neither has their scale. */
function whole(value: number): string {
  return Number.isNaN(value) || Number.isInteger(value) ? count(value) : "";
}

/** "5 attempts, after 1.0 s to 60 s, counted anew after 5 min": a policy as a person would say it. */
function tries(policy: Record<string, Json>): string {
  const seconds = (name: string): string => span(Number(policy[`${name}_seconds`]));
  const attempts = policy["attempts"] === null ? "any number of attempts" : plural(Number(policy["attempts"]), "attempt");
  const anew = policy["reset_seconds"] === undefined ? "" : `, counted anew after ${seconds("reset")}`;
  return policy["attempts"] === 0 ? "none" : `${attempts}, after ${seconds("initial")} to ${seconds("longest")}${anew}`;
}

function Fact({ name, children }: { name: string; children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{inert(children, 240)}</dd>
    </div>
  );
}

function PluginCard({ use, summary, options }: { use: string; summary: string; options: StageDetail["stage"]["steps"][number]["plugin"]["options"] }) {
  return (
    <div class="plugin">
      <p>
        <code class="plugin-name">{inert(use, 80)}</code> <span class="muted">{inert(summary, 200)}</span>
      </p>
      {options.length ? <Options options={options} /> : null}
    </div>
  );
}

function Tiles({ of }: { of: StageMetrics }) {
  const steadies = useRef(new Map<string, Steady>());
  const steady = (name: string, value: number | null): number | null => {
    let held = steadies.current.get(name);
    if (!held) steadies.current.set(name, (held = new Steady(1000, 0.02)));
    return held.next(value, performance.now());
  };
  const tiles: [string, string, string?][] = [
    ["in", rate(steady("in", of.in_per_second)), `${count(of.in)} in all`],
    ["out", rate(steady("out", of.out_per_second)), `${count(of.out)} in all`],
    ["lag", of.lag_seconds === null ? NOTHING : span(of.lag_seconds), of.lag_records === null ? "" : `${count(of.lag_records)} records`],
    ["latency p99", millis(steady("latency", of.latency_ms?.p99 ?? null)), `p50 ${millis(steady("p50", of.latency_ms?.p50 ?? null))}`],
    ["errors", count(of.errors), plural(of.retries, "retry", "retries")],
    ["dead letters", count(of.dead_lettered), `${count(of.skipped)} skipped, ${count(of.filtered)} filtered`],
    ["restarts", count(of.restarts), of.lost ? `${count(of.lost)} lost` : "none lost"],
    ["now", inert(of.activity, 90), of.activity_seconds > 1 ? `for ${span(of.activity_seconds)}` : `${count(of.in_flight)} in flight`],
  ];
  return (
    <dl class="tiles">
      {tiles.map(([name, value, second]) => (
        <div key={name} class={(name === "errors" && of.errors) || (name === "dead letters" && of.dead_lettered) || (name === "lag" && (of.lag_seconds ?? 0) > 10) ? "tile-loud" : ""}>
          <dt>{name}</dt>
          <dd class={name === "now" ? "tile-words" : ""}>{value}</dd>
          <dd class="small muted">{second}</dd>
        </div>
      ))}
    </dl>
  );
}

function Inputs({ of }: { of: StageDetail["inputs"] }) {
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label="Inputs">
      <table class="data">
        <thead>
          <tr>
            <th scope="col">input</th>
            <th scope="col" class="is-number">partition</th>
            <th scope="col" class="is-number">begin</th>
            <th scope="col" class="is-number">committed</th>
            <th scope="col" class="is-number">end</th>
          </tr>
        </thead>
        <tbody>
          {of.map((input) => (
            <tr key={`${input.topic}/${input.partition}`}>
              <th scope="row">{input.topic}</th>
              <td class="is-number">{input.partition}</td>
              <td class="is-number">{exact(input.begin)}</td>
              <td class="is-number">{exact(input.committed)}</td>
              <td class="is-number">{exact(input.end)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function HistoryChart({ title, history, columns, format }: {
  title: string;
  history: StageHistory;
  columns: [HistoryColumn, string][];
  format: (value: number) => string;
}) {
  const root = useRef<HTMLDivElement>(null);
  const chart = useRef<TimeChart | null>(null);
  const cursor = useSignal<number | null>(null);
  const drawn = theme.value;
  const draw = (): void => {
    const { time } = history;
    const last = time.at(-1);
    if (last !== undefined) chart.current?.draw([time, ...columns.map(([column]) => history[column])], Math.min(time[0] ?? last, last - 60_000), last);
  };
  useEffect(() => {
    if (!root.current) return;
    const made = new TimeChart(root.current, {
      series: columns.map(([, label], at) => ({ label, colour: colourName(at), dash: DASHES[at] ?? [], shape: shapeOf(at) })),
      format,
      min: 0,
      sync: "stage",
      onCursor: (index) => (cursor.value = index),
    });
    chart.current = made;
    draw();
    return () => {
      chart.current = null;
      made.close();
    };
  }, [drawn]);
  useEffect(draw, [history]);
  const at = Math.min(cursor.value ?? Infinity, history.time.length - 1);
  return (
    <figure class="card chart-card">
      <figcaption>
        <h3>{title}</h3>
        {columns.map(([column, label], index) => (
          <span key={column} class="chart-value">
            <Swatch colour={colourName(index)} dash={DASHES[index] ?? []} shape={shapeOf(index)} />
            <span class="muted">{label}</span> <b>{format(history[column][at] ?? NaN)}</b>
          </span>
        ))}
      </figcaption>
      <div
        class="history-chart"
        ref={root}
        tabIndex={0}
        role="application"
        aria-label={`${title}. Left and right arrow keys move through time; the line above tells the values.`}
        onKeyDown={(event) => {
          if (event.key === "ArrowLeft" || event.key === "ArrowRight") chart.current?.step((event.key === "ArrowLeft" ? -1 : 1) * (event.shiftKey ? 10 : 1));
        }}
      />
    </figure>
  );
}
