/** Alerts: what fires or is about to, what did, and the rules. */

import { useEffect } from "preact/hooks";
import { api } from "../api";
import { alerts, now, pipeline } from "../live/store";
import type { AlertState, Rule } from "../protocol";
import { Badge } from "../ui/badge";
import { measure, plural, span, when } from "../ui/format";
import { inert } from "../ui/inert";
import { Empty } from "../ui/notice";
import { askPermission, permission } from "../ui/notify";
import "../style/pipeline.css";
import "../style/letters.css";

export function AlertsView() {
  const loaded = alerts.value;
  const rules = pipeline.value?.alerts ?? [];
  useEffect(() => {
    // The live line brings them too; this is for a page whose line is not up yet.
    if (alerts.peek() === null) void api.alerts().then((fresh) => (alerts.value ??= fresh), () => undefined);
  }, []);
  const byId = new Map(rules.map((rule) => [rule.id, rule]));
  const states = [...(loaded?.states ?? [])].sort((a, b) => Number(b.state === "firing") - Number(a.state === "firing") || b.since - a.since);
  return (
    <>
      <div class="view-head">
        <h1>Alerts</h1>
        <p class="view-facts"><span>{plural(rules.length, "rule")}</span></p>
        <Notifications />
      </div>
      {rules.length === 0 ? (
        <Empty title="The pipeline file has no alert rules">
          List them under <code>dashboard: alerts:</code>, such as <code>when: lag {">"} 10 s for 30 s</code>.
        </Empty>
      ) : (
        <div class="columns">
          <div>
            <section class="card" aria-label="Now">
              <div class="card-head"><h2>Now</h2></div>
              {states.length ? (
                <ul class="alert-list" aria-live="polite">
                  {states.map((state) => <StateRow key={`${state.id}/${state.subject}`} state={state} rule={byId.get(state.id)} />)}
                </ul>
              ) : (
                <p class="card-pad"><Badge tone="ok">all {plural(rules.length, "rule")} quiet</Badge></p>
              )}
            </section>
            <section class="card" aria-label="Rules" style={{ marginTop: "12px" }}>
              <div class="card-head"><h2>Rules</h2></div>
              <ul class="alert-list">
                {rules.map((rule) => (
                  <li key={rule.id} class="alert-row">
                    <Level level={rule.level} />
                    <b>{inert(rule.name, 120)}</b>
                    <span />
                    <span class="when">{inert(rule.when, 300)}</span>
                  </li>
                ))}
              </ul>
            </section>
          </div>
          <section class="card" aria-label="History">
            <div class="card-head"><h2>History</h2></div>
            {loaded?.events.length ? (
              <ul class="alert-list">
                {loaded.events.map((event) => (
                  <li key={`${event.id}/${event.subject}/${event.time}/${event.state}`} class="alert-row">
                    {event.state === "firing" ? <Level level={event.level} word="fired" /> : <Badge tone="ok">resolved</Badge>}
                    <b>{inert(event.name, 120)}</b>
                    <span class="alert-time">{when(event.time, now())}</span>
                    <span class="when">{inert(event.subject, 80)}{event.value === null ? "" : `: ${measure(event.value)}`}</span>
                  </li>
                ))}
              </ul>
            ) : (
              <p class="card-pad muted">Nothing fired yet.</p>
            )}
          </section>
        </div>
      )}
    </>
  );
}

function Level({ level, word }: { level: Rule["level"]; word?: string }) {
  return <Badge tone={level === "critical" ? "bad" : "warn"}>{word ?? level}</Badge>;
}

function StateRow({ state, rule }: { state: AlertState; rule: Rule | undefined }) {
  return (
    <li class="alert-row">
      {state.state === "firing" ? <Level level={rule?.level ?? "warning"} word="firing" /> : <Badge tone="info">pending</Badge>}
      <b>{inert(rule?.name ?? state.id, 120)}</b>
      <span class="alert-time">for {span(Math.max(0, (now() - state.since) / 1000))}</span>
      <span class="when">
        {inert(state.subject, 80)}
        {state.value === null ? "" : `: ${measure(state.value)}`}
        {rule ? ` \u00b7 ${inert(rule.when, 300)}` : ""}
      </span>
    </li>
  );
}

function Notifications() {
  switch (permission.value) {
    case "granted":
      return <Badge tone="ok">this browser notifies</Badge>;
    case "denied":
      return <span class="muted small">The browser does not allow notifications for this page.</span>;
    case "unsupported":
      return null;
    default:
      return <button type="button" class="button" onClick={() => void askPermission()}>Notify in this browser</button>;
  }
}
