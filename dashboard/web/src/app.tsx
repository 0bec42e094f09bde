/** The page around the views: where one is, how the pipeline is, and whether what is shown is fresh. */

import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { api } from "./api";
import mark from "./assets/mark.svg";
import { connected, firing, metrics, pipeline, problem, session, staleSince, useSession } from "./live/store";
import { allPaused } from "./panels/frame";
import { type Health } from "./protocol";
import { Badge, HealthBadge, UnheardBadge } from "./ui/badge";
import { clock, span } from "./ui/format";
import { inert } from "./ui/inert";
import { IconButton } from "./ui/icon";
import { Empty } from "./ui/notice";
import { go, link, route } from "./ui/router";
import { theme, toggleTheme } from "./ui/theme";
import { LogIn } from "./views/log_in";
import { Streams } from "./views/streams";
import "./ui/notify";

type ViewName = "streams" | "pipeline" | "dead-letters" | "alerts";

const VIEWS: [ViewName, string][] = [
  ["streams", "Streams"], ["pipeline", "Pipeline"], ["dead-letters", "Dead letters"], ["alerts", "Alerts"],
];

/** The views besides the first come when they are first asked for. */
const loaded = signal<Partial<Record<ViewName, ComponentType>>>({ streams: Streams });

function load(view: ViewName): void {
  const put = (component: ComponentType): void => {
    loaded.value = { ...loaded.peek(), [view]: component };
  };
  const failed = (): void => {
    problem.value = "a part of this page could not be loaded; was the server updated? Reload the page.";
  };
  if (view === "pipeline") import("./views/pipeline").then((module) => put(module.PipelineView), failed);
  else if (view === "dead-letters") import("./views/dead_letters").then((module) => put(module.DeadLetters), failed);
  else if (view === "alerts") import("./views/alerts").then((module) => put(module.AlertsView), failed);
}

function currentView(): ViewName {
  const [first] = route.value;
  return VIEWS.find(([name]) => name === first)?.[0] ?? "streams";
}

export function App() {
  const who = session.value;
  useShortcuts();
  if (!who) return <Waiting />;
  if (who.role === null) return <LogIn />;
  const view = currentView();
  const View = loaded.value[view];
  if (!View) load(view);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.getElementById("main")?.focus();
      }}>
        Skip to the content
      </a>
      <TopBar view={view} />
      <Stale />
      <main id="main" tabIndex={-1} class={`view view-${view}`}>
        {!pipeline.value ? <Waiting /> : View ? <View /> : <Empty title="Loading" />}
      </main>
    </>
  );
}

function Waiting() {
  return <Empty title={problem.value ? "The dashboard cannot be shown yet" : "Connecting"}>{problem.value}</Empty>;
}

function TopBar({ view }: { view: ViewName }) {
  const alarms = firing.value.length;
  return (
    <header class="top">
      <a class="brand" href={link("streams")} title="StreamWeaver">
        <img src={mark} alt="" width="22" height="22" />
        <span>{inert(pipeline.value?.pipeline ?? session.value?.pipeline ?? "StreamWeaver", 40)}</span>
      </a>
      <nav aria-label="Views">
        {VIEWS.map(([name, title], index) => (
          <a key={name} href={link(name)} aria-current={view === name ? "page" : undefined} title={`${title} (key ${index + 1})`}>
            {title}
            {name === "alerts" && alarms > 0 ? <span class="count" aria-label={`${alarms} firing`}>{alarms}</span> : null}
          </a>
        ))}
      </nav>
      <div class="top-side">
        <Overall />
        {session.value?.role === "reader" ? <span class="muted small">read only</span> : null}
        <IconButton icon={theme.value === "dark" ? "sun" : "moon"} label={theme.value === "dark" ? "Light colours" : "Dark colours"} onClick={toggleTheme} />
        {session.value?.login ? <IconButton icon="exit" label="Log out" onClick={() => void api.logOut().then(useSession)} /> : null}
      </div>
    </header>
  );
}

const WORST: Health[] = ["failed", "stuck", "unknown", "ok", "ended"];

/** The health of the whole pipeline: that of its worst stage; unknown while what is shown is stale. */
function Overall() {
  const newest = metrics.value;
  if (!newest) return null;
  const stale = staleSince.value !== null;
  if (!stale && newest.stale_seconds > 10) return <Badge tone="warn">figures {span(newest.stale_seconds)} old</Badge>;
  const states = Object.values(newest.stages).map((stage) => stage.health);
  const worst = (stale ? undefined : WORST.find((health) => states.includes(health))) ?? "unknown";
  return (
    <a class="overall" href={link("pipeline")} aria-label={`Health of the pipeline: ${worst}`}>
      {stale ? <UnheardBadge /> : <HealthBadge health={worst} />}
    </a>
  );
}

function Stale() {
  const since = staleSince.value;
  return (
    <div class="banner-place" role="status" aria-live="polite">
      {since !== null ? (
        <p class="banner">
          <Badge tone="warn">stale since {clock(since)}</Badge>
          <span>{connected.value ? "connected again, waiting for fresh data" : "the line is down; connecting anew"}</span>
        </p>
      ) : problem.value && pipeline.value ? (
        <p class="banner banner-bad">
          <span>{problem.value}</span>
          <IconButton icon="close" label="Dismiss" onClick={() => (problem.value = null)} />
        </p>
      ) : null}
    </div>
  );
}

function useShortcuts(): void {
  // Before the first paint: who sees the page may press a key.
  useLayoutEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.closest("dialog")) return;
      const view = VIEWS[Number(event.key) - 1];
      if (view) go(view[0]);
      else if (event.key === "p") allPaused.value = !allPaused.value;
      else if (event.key === "/") {
        const field = document.querySelector<HTMLInputElement>("main input[type=search]");
        field?.focus();
        if (field) event.preventDefault();
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
