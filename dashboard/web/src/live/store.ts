/** What the page knows: session, pipeline, the newest of everything that moves. */

import { batch, computed, effect, signal } from "@preact/signals";
import { api, ApiError, messageOf } from "../api";
import { PanelModel } from "../panels/model";
import { rows, type Row } from "../panels/rows";
import type {
  Alerts, AlertEvent, Frame, FromServer, Metrics, Panel, Pipeline, Session, TailWish, Watch,
} from "../protocol";
import { onNextFrame } from "./flush";
import { LiveSocket } from "./socket";

export const session = signal<Session | null>(null);
export const pipeline = signal<Pipeline | null>(null);
export const problem = signal<string | null>(null);
export const metrics = signal<Metrics | null>(null);
export const alerts = signal<Alerts | null>(null);
/** When the line was lost (ms), or null while data flows. */
export const staleSince = signal<number | null>(null);
export const connected = signal(false);
/** Times in which this page was not connected, newest last: from, to. */
export const outages = signal<[number, number][]>([]);
/** Ticks this page was too slow for, since it was opened. */
export const skipped = signal(0);
/** Server time minus this machine's. */
let ahead = 0;

export const mayChange = computed(() => session.value?.role === "admin");
export const firing = computed(() => (alerts.value?.states ?? []).filter((state) => state.state === "firing"));

/** The server's now. */
export function now(): number {
  return Date.now() + ahead;
}

export class PanelFeed {
  readonly model: PanelModel;
  readonly version = signal(0);
  watchers = 0;
  private readonly bump = (): void => {
    this.version.value += 1;
  };

  constructor(panel: Panel) {
    this.model = new PanelModel(panel);
  }

  changed(): void {
    onNextFrame(this.bump);
  }
}

export interface TailListener {
  wish: TailWish;
  take(rows: Row[], hidden: number): void;
  failed(error: string): void;
}

const feeds = new Map<string, PanelFeed>();
const tails = new Map<string, TailListener>();
const alertListeners = new Set<(fresh: AlertEvent[]) => void>();
let epoch: string | null = null;
let socket: LiveSocket | null = null;
let wishing = false;
let newestEvent: number | null = null;

export function feedOf(panel: Panel): PanelFeed {
  let feed = feeds.get(panel.id);
  if (!feed) feeds.set(panel.id, (feed = new PanelFeed(panel)));
  return feed;
}

/** Watches a panel until the returned function is called. */
export function watchPanel(feed: PanelFeed): () => void {
  feed.watchers += 1;
  wish();
  return () => {
    feed.watchers -= 1;
    if (feed.watchers === 0) feed.model.seq = null;
    wish();
  };
}

let tailNumber = 0;

/** Follows a topic until the returned function is called. At most four at a time; the server refuses more. */
export function followTopic(wanted: Omit<TailWish, "id">, take: TailListener["take"], failed: TailListener["failed"]): () => void {
  tailNumber += 1;
  const id = `t${tailNumber}`;
  tails.set(id, { wish: { ...wanted, id }, take, failed });
  wish();
  return () => {
    tails.delete(id);
    wish();
  };
}

export function onAlerts(listener: (fresh: AlertEvent[]) => void): void {
  alertListeners.add(listener);
}

/** Says once, after everything of this turn has been said, what the page wants to see. */
function wish(): void {
  if (wishing) return;
  wishing = true;
  // A little later: going from view to view drops and takes panels in a row, and messages are limited.
  setTimeout(() => {
    wishing = false;
    sendWatch();
  }, 60);
}

function sendWatch(): void {
  const hidden = document.hidden;
  const panels: Watch["panels"] = {};
  if (!hidden) for (const [id, feed] of feeds) if (feed.watchers > 0) panels[id] = feed.model.seq;
  socket?.send({
    type: "watch",
    panels,
    epoch,
    metrics: !hidden,
    alerts: true,
    tails: hidden ? [] : [...tails.values()].map((tail) => tail.wish),
  });
}

function take(message: FromServer): void {
  if (message.type === "hello") {
    ahead = message.time - Date.now();
    if (message.epoch !== epoch) {
      for (const feed of feeds.values()) feed.model.seq = null;
      if (epoch !== null) void loadPipeline();
      epoch = message.epoch;
    }
    sendWatch();
  } else if (message.type === "frame") takeFrame(message);
  else if (message.type === "error") problem.value = message.message;
  if (staleSince.value !== null) {
    const since = staleSince.value;
    batch(() => {
      outages.value = [...outages.value.slice(-49), [since, Date.now()]];
      staleSince.value = null;
    });
  }
}

function takeFrame(frame: Frame): void {
  ahead = frame.time - Date.now();
  let resync = false;
  for (const part of frame.panels ?? []) {
    const feed = feeds.get(part.id);
    if (!feed || feed.watchers === 0 || document.hidden) continue;
    if (!feed.model.take(part)) resync = true;
    feed.changed();
  }
  for (const part of frame.tails ?? []) {
    const tail = tails.get(part.id);
    if (part.error !== undefined) tail?.failed(part.error);
    else if (part.records) tail?.take(rows(part.records), part.hidden ?? 0);
  }
  if (frame.metrics) {
    const fresh = frame.metrics;
    onNextFrame(() => (metrics.value = fresh));
  }
  if (frame.alerts) takeAlerts(frame.alerts);
  if (frame.skipped) skipped.value += frame.skipped;
  if (resync) wish();
}

function takeAlerts(fresh: Alerts): void {
  alerts.value = fresh;
  const since = newestEvent;
  newestEvent = Math.max(newestEvent ?? 0, ...fresh.events.map((event) => event.time));
  // What had happened before the page was opened is history, not news.
  if (since === null) return;
  const news = fresh.events.filter((event) => event.time > since);
  if (news.length) for (const listener of alertListeners) listener(news);
}

export async function loadPipeline(): Promise<void> {
  try {
    const loaded = await api.pipeline();
    batch(() => {
      pipeline.value = loaded;
      problem.value = null;
    });
    for (const panel of loaded.panels) {
      const feed = feeds.get(panel.id);
      if (feed && JSON.stringify(feed.model.panel) !== JSON.stringify(panel)) feeds.delete(panel.id);
    }
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) await loadSession();
    else problem.value = messageOf(error);
  }
}

/** Asks who we are; connects when that is somebody. */
export async function loadSession(): Promise<void> {
  try {
    useSession(await api.session());
  } catch (error) {
    // With a session the page says "stale since" and connects anew by itself; without one it has to ask again.
    if (session.value !== null) return;
    problem.value = messageOf(error);
    setTimeout(() => void loadSession(), 2000);
  }
}

export function useSession(fresh: Session): void {
  const before = session.peek()?.role ?? null;
  session.value = fresh;
  problem.value = null;
  if (fresh.role === null) {
    socket?.stop();
    pipeline.value = null;
  } else if (before === null || socket === null) {
    void loadPipeline();
    connect();
  }
}

function connect(): void {
  if (!socket) {
    const address = new URL("live", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    socket = new LiveSocket(address.href, {
      message: take,
      open: () => (connected.value = true),
      lost: (since) => {
        connected.value = false;
        staleSince.value ??= since;
      },
      refused: () => void loadSession(),
    });
    document.addEventListener("visibilitychange", () => {
      // A hidden page watches nothing; shown again it begins with fresh snapshots.
      for (const feed of feeds.values()) feed.model.seq = null;
      sendWatch();
    });
  }
  socket.start();
}

effect(() => {
  const name = pipeline.value?.pipeline;
  const alarms = firing.value.length;
  document.title = `${alarms ? `(${alarms}) ` : ""}${name ? `${name} \u00b7 ` : ""}StreamWeaver`;
});
