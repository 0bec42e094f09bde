/** What the server says, as docs/dashboard-protocol.md has it. Times are ms since 1970, other durations seconds. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Role = "admin" | "reader";

export interface Session {
  protocol: number;
  role: Role | null;
  login: boolean;
  version: string;
  pipeline: string | null;
}

export interface Raw {
  why: "large" | "undecodable";
  bytes: number;
  text: string;
  error?: string;
}

/** Records in columns: a record is one index through all of them. */
export interface Columns {
  partition: number[];
  offset: number[];
  time: number[];
  key: Json[];
  value: Json[];
  headers?: Record<string, [string, string][]>;
  raw?: Record<string, Raw>;
}

export type Where = Record<string, Json>;

export interface Option {
  name: string;
  value: Json;
  help: string;
  is_default: boolean;
  secret: boolean;
}

export interface Plugin {
  use: string;
  summary: string;
  options: Option[];
}

export type StageKind = "producer" | "flow" | "sink";

export interface Stage {
  name: string;
  kind: StageKind;
  inputs: string[];
  output: string | null;
  delivery: string;
  plugin: Plugin | null;
  steps: { name: string; plugin: Plugin; concurrency: number }[];
  key: string | null;
  rate: number | null;
  count: number | null;
  timeout_seconds: number | null;
  on_error: string;
  retry: Record<string, Json>;
  restart: Record<string, Json>;
  replay_topic: string | null;
  group: string | null;
}

export interface Topic {
  name: string;
  partitions: number;
  codec: string;
  retention_ms: number | null;
  retention_bytes: number | null;
  cleanup: string;
  role: "data" | "dead_letters" | "settled_letters" | "metrics" | "replay" | "alerts";
}

export type PanelKind = "line" | "bar" | "feed" | "number" | "table" | "heatmap" | "gauge";

export interface Panel {
  id: string;
  title: string;
  from: string;
  kind: PanelKind;
  y: string[] | null;
  by: string | null;
  split: string | null;
  fields: string[] | null;
  where: Where | null;
  show: string | null;
  top: number | null;
  limit: number | null;
  span_seconds: number | null;
  unit: string | null;
  decimals: number | null;
  min: number | null;
  max: number | null;
  warn: number | null;
  bad: number | null;
  wide: boolean;
}

export interface Rule {
  id: string;
  name: string;
  when: string;
  level: "warning" | "critical";
}

export interface Pipeline {
  protocol: number;
  pipeline: string;
  delivery: string;
  time: number;
  role: "observer" | "alone";
  broker: { use: string; delivery: string; options: Option[] };
  stages: Stage[];
  topics: Topic[];
  panels: Panel[];
  alerts: Rule[];
}

export interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

export type Health = "ok" | "stuck" | "failed" | "ended" | "unknown";

export interface StageMetrics {
  kind: StageKind;
  health: Health;
  activity: string;
  activity_seconds: number;
  error: string | null;
  delivery: string;
  in: number;
  out: number;
  added: number;
  filtered: number;
  dead_lettered: number;
  skipped: number;
  in_flight: number;
  lost: number;
  errors: number;
  retries: number;
  restarts: number;
  units: number;
  in_per_second: number;
  out_per_second: number;
  errors_per_second: number | null;
  lag_records: number | null;
  lag_seconds: number | null;
  processing_ms: Percentiles | null;
  latency_ms: Percentiles | null;
  counters: Record<string, number>;
  gauges: Record<string, number>;
}

export interface Metrics {
  time: number;
  workers: number;
  stale_seconds: number;
  stages: Record<string, StageMetrics>;
  topics: Record<string, { per_second: number | null; records: number }>;
}

export const HISTORY_COLUMNS = [
  "in_per_second", "out_per_second", "lag_records", "lag_seconds", "errors", "dead_lettered", "restarts",
  "processing_p50", "processing_p99", "latency_p50", "latency_p99",
] as const;
export type HistoryColumn = (typeof HISTORY_COLUMNS)[number];
export type StageHistory = { time: number[] } & Record<HistoryColumn, (number | null)[]>;

export interface StageDetail {
  stage: Stage;
  now: StageMetrics | null;
  inputs: { topic: string; partition: number; begin: number; end: number; committed: number | null }[];
  history: StageHistory;
}

export interface TopicDetail {
  topic: Topic;
  records: number;
  time: number;
  partitions: { partition: number; begin: number; end: number; records: number }[];
  readers: string[];
  writers: string[];
}

export interface RecordsPage {
  topic: string;
  records: Columns;
  next: string;
  scanned: number;
  more: boolean;
}

/** Times in which records were not seen: from, to, and how many (null: not known). */
export type Gap = [from: number, to: number, records: number | null];

interface Common {
  unusable?: number;
  gaps?: Gap[];
  /** How many of the oldest records or rows would not have fitted into a message. */
  left_out?: number;
}

export interface LineData extends Common {
  start: number;
  step: number;
  series?: { key: Json; y: string }[];
  last?: (number | null)[][];
  mean?: (number | null)[][];
  min?: (number | null)[][];
  max?: (number | null)[][];
  hidden?: number;
  points?: number;
}

export interface BarData extends Common {
  keys: Json[];
  parts: Json[];
  values: number[][];
  other: number;
}

export interface FeedData extends Common {
  records: Columns;
  hidden: number;
}

export interface NumberData extends Common {
  value: number | null;
  trend: (number | null)[];
  trend_step: number;
}

export interface TableData extends Common {
  keys: Json[];
  time: number[];
  columns: string[];
  values: Json[][];
  removed?: Json[];
  hidden?: number;
}

export interface HeatmapData extends Common {
  x: Json[];
  y: Json[];
  /** Three columns: index into x, index into y, value. */
  cells: [x: number[], y: number[], value: number[]];
  other: number;
}

export interface Part {
  id: string;
  kind: PanelKind;
  seq: number;
  snapshot: boolean;
  time: number;
  data?: LineData | BarData | FeedData | NumberData | TableData | HeatmapData;
  error?: string;
  complete?: boolean;
}

export interface AlertState {
  id: string;
  subject: string;
  state: "pending" | "firing";
  since: number;
  value: number | null;
}

export interface AlertEvent {
  id: string;
  name: string;
  when: string;
  level: "warning" | "critical";
  subject: string;
  state: "firing" | "resolved";
  time: number;
  value: number | null;
}

export interface Alerts {
  states: AlertState[];
  events: AlertEvent[];
}

export interface TailPart {
  id: string;
  records?: Columns;
  hidden?: number;
  error?: string;
}

export interface TailWish {
  id: string;
  topic: string;
  where: Where;
  text: string;
  rate: number;
  partition: number | null;
}

export interface Hello {
  type: "hello";
  protocol: number;
  epoch: string;
  pipeline: string;
  time: number;
  tick_ms: number;
  role: Role;
}

export interface Frame {
  type: "frame";
  tick: number;
  time: number;
  panels?: Part[];
  metrics?: Metrics;
  tails?: TailPart[];
  alerts?: Alerts;
  skipped?: number;
}

export type FromServer =
  | Hello
  | Frame
  | { type: "pong"; id: number; time: number }
  | { type: "error"; message: string };

export interface Watch {
  type: "watch";
  panels: Record<string, number | null>;
  epoch: string | null;
  metrics: boolean;
  alerts: boolean;
  tails: TailWish[];
}

export interface Letter {
  id: string;
  stage: string;
  step: string | null;
  error: string;
  reason: string;
  tries: number;
  failed_at: number;
  topic: string;
  partition: number;
  offset: number;
  time: number;
  key: Json;
  state: "waiting" | "replayed" | "discarded";
}

export interface LetterDetail extends Letter {
  value?: Json;
  raw?: Raw;
  headers?: [string, string][];
  editable: boolean;
}

export interface LettersPage {
  letters: Letter[];
  next: string | null;
  more: boolean;
  scanned: number;
  counts: { waiting: number; stages: Record<string, number>; errors: Record<string, number> };
}

export interface LetterFilter {
  stage?: string;
  error?: string;
  reason?: string;
  since?: number;
  until?: number;
}

export interface LetterAction {
  ids?: string[];
  where?: LetterFilter;
  dry_run: boolean;
  edit?: Record<string, { value: Json }>;
}

export interface LetterResult {
  action: "replay" | "discard";
  dry_run: boolean;
  matched: number;
  done: number;
  refused: { id: string; why: string }[];
  stages: Record<string, number>;
}
