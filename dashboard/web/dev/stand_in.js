// A stand-in for the server, with made-up data: for work on the page alone (`npm run stand-in`, then `npm run dev`).
// It speaks the part of docs/dashboard-protocol.md that the page reads, and serves the built page too. No dependencies.

import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const port = Number(process.env.PORT ?? 8080);
const root = join(import.meta.dirname, "../../streamweaver_dashboard/static");
const epoch = randomUUID();
const symbols = ["AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "TSLA"];
const services = ["auth_api", "orders_api", "payments", "search", "mailer"];
const levels = ["INFO", "WARN", "ERROR", "DEBUG"];
const option = (name, value, help, secret = false) => ({ name, value, help, is_default: false, secret });
const panel = (id, title, from, kind, more) => ({
  id, title, from, kind, y: null, by: null, split: null, fields: null, where: {}, show: null, top: 6, limit: null,
  span_seconds: null, unit: null, decimals: null, min: null, max: null, warn: null, bad: null, wide: false, ...more,
});
const plugin = (use, summary, options = []) => ({ use, summary, options });
const stage = (name, kind, inputs, output, use, steps = []) => ({
  name, kind, inputs, output, delivery: "exactly_once", plugin: use, steps: steps.map((step) => ({ name: step.use, plugin: step, concurrency: 1 })),
  key: kind === "producer" ? "symbol" : null, rate: kind === "producer" ? 500 : null, count: null, timeout_seconds: null, on_error: "dead_letter",
  retry: { attempts: 5, initial_seconds: 0.2, longest_seconds: 10 }, restart: { attempts: 5, initial_seconds: 1, longest_seconds: 60, reset_seconds: 300 },
  replay_topic: kind === "producer" ? null : `demo.${name}.replay`, group: kind === "producer" ? null : `demo.${name}`,
});
const topic = (name, role = "data") => ({ name, partitions: 4, codec: "json", retention_ms: 86400000, retention_bytes: null, cleanup: "delete", role });
const stages = [
  stage("stocks", "producer", [], "stock_trades", plugin("stock_trades", "Simulated trades of well-known shares.", [option("seed", 7, "makes runs repeatable"), option("token", "***", "what the exchange asks for", true)])),
  stage("social", "producer", [], "social_feed", plugin("social_feed", "Simulated posts.")),
  stage("logs", "producer", [], "server_logs", plugin("server_logs", "Simulated log lines.")),
  stage("prices", "flow", ["stock_trades"], "stock_prices", null, [plugin("moving_average", "Mean of the last values of a field.", [option("field", "price", "what to average"), option("size", 20, "values to average")]), plugin("stamp", "Adds the time of processing.")]),
  stage("posts", "flow", ["social_feed"], "social_posts", null, [plugin("keywords", "Scores text by words.")]),
  stage("lines", "flow", ["server_logs"], "log_lines", null, [plugin("stamp", "Adds the time of processing.")]),
  stage("levels", "flow", ["server_logs"], "log_levels", null, [plugin("count_by", "Counts by fields.")]),
  stage("live", "sink", ["stock_prices", "social_posts", "log_lines", "log_levels"], null, plugin("websocket", "Shows records to WebSocket clients.")),
];
const topics = ["stock_trades", "social_feed", "server_logs", "stock_prices", "social_posts", "log_lines", "log_levels"].map((name) => topic(name)).concat(topic("demo.dead_letters", "dead_letters"));
const panels = [
  panel("prices", "Prices", "stock_prices", "line", { y: ["price", "moving_average"], by: "symbol", show: "last", span_seconds: 300, unit: "USD", decimals: 2 }),
  panel("posts", "Posts", "social_posts", "feed", { fields: ["user", "relevance", "content"], limit: 200 }),
  panel("levels", "Log lines", "log_lines", "bar", { by: "service", split: "level", span_seconds: 60 }),
  ...(process.env.PANELS === "three" ? [] : [
    panel("rate", "Trades", "stock_trades", "number", { show: "rate", span_seconds: 10 }),
    panel("errors", "Error share", "log_lines", "gauge", { min: 0, max: 100, warn: 40, bad: 70, unit: "%", decimals: 1, show: "mean", span_seconds: 60 }),
    panel("last", "Last trades", "stock_trades", "table", { by: "symbol", fields: ["price", "quantity", "side"], limit: 50, decimals: 2 }),
    panel("heat", "Levels by service", "log_lines", "heatmap", { by: "service", split: "level", span_seconds: 300 }),
    panel("range", "Latency", "log_lines", "line", { y: ["ms"], show: "range", span_seconds: 300, unit: "ms" }),
  ]),
];
const rules = [
  { id: "lag-of-prices", name: "prices is behind", when: "lag of prices > 10 s for 30 s", level: "warning" },
  { id: "errors", name: "errors in lines", when: "error rate of lines > 1 for 10 s", level: "critical" },
];
const begun = Date.now() - 600_000;
const wave = (time, index, scale = 1) => 100 + index * 37 + scale * (6 * Math.sin(time / 47_000 + index) + 2.5 * Math.sin(time / 7300 + 2 * index) + Math.sin(time / 900 + index));
const round = (value) => Math.round(value * 100) / 100;
const post = (offset) => ({ user: `user_${(offset * 7919) % 83}`, relevance: (offset * 31) % 50 / 10, content: ["AI and the cloud, again", "security release is out, patch now", "<script>alert(1)</script>", "data \u202egnp.exe and \u001b[31mred\u001b[0m"][offset % 4] });
const records = (first, many, make = post) => {
  const offset = Array.from({ length: many }, (_, index) => first + index);
  return { partition: offset.map((at) => at % 4), offset, time: offset.map((at) => begun + at * 40), key: offset.map((at) => symbols[at % 6]), value: offset.map(make) };
};
const newest = () => Math.floor((Date.now() - begun) / 40);
const letter = (id) => ({ id: String(id), stage: id % 5 ? "prices" : "lines", step: "moving_average", error: id % 7 ? "BadRecord" : "Timeout", reason: "field 'price': got text, expected a number", tries: 1, failed_at: Date.now() - (1800 - id) * 4000, topic: "stock_trades", partition: id % 4, offset: 900 + id, time: Date.now() - (1800 - id) * 4100, key: symbols[id % 6], state: "waiting" });
const gone = new Set();
const letters = () => Array.from({ length: 230 }, (_, index) => letter(1742 - index)).filter((of) => !gone.has(of.id));
const alerts = () => ({
  states: [{ id: "lag-of-prices", subject: "prices", state: "firing", since: begun + 500_000, value: 12.5 }, { id: "errors", subject: "lines", state: "pending", since: Date.now() - 4000, value: 1.4 }],
  events: Array.from({ length: 12 }, (_, index) => ({ ...rules[index % 2], subject: index % 2 ? "lines" : "prices", state: index % 3 ? "resolved" : "firing", time: Date.now() - index * 300_000 - 60_000, value: 12.5 + index })),
});
const percentiles = (base) => ({ p50: base, p90: base * 2, p99: base * 4 + Math.random(), max: base * 17 });
const metricsOf = (of) => ({
  kind: of.kind, health: of.name === "levels" ? "stuck" : "ok", activity: of.name === "levels" ? "writing" : "waiting for input", activity_seconds: 0.1, error: null, delivery: of.delivery,
  in: 12000, out: 12000, added: 0, filtered: 3, dead_lettered: of.name === "prices" ? 200 : 0, skipped: 0, in_flight: 12, lost: 0, errors: 0, retries: 1, restarts: 0, units: 800,
  in_per_second: 500 + Math.random() * 6, out_per_second: 500 + Math.random() * 6, errors_per_second: 0, lag_records: of.kind === "producer" ? null : of.name === "levels" ? 8123 : 4,
  lag_seconds: of.kind === "producer" ? null : of.name === "levels" ? 16.2 : 0.02, processing_ms: percentiles(2.1), latency_ms: percentiles(3), counters: {}, gauges: {},
});
const metrics = () => ({
  time: Date.now(), workers: 1, stale_seconds: 0.4, stages: Object.fromEntries(stages.map((of) => [of.name, metricsOf(of)])),
  topics: Object.fromEntries(topics.map((of) => [of.name, { per_second: of.role === "data" ? 500 + Math.random() * 5 : 0, records: 120000 }])),
});
const lineSeries = (id) => (id === "range" ? [{ key: null, y: "ms" }] : symbols.flatMap((key) => [{ key, y: "price" }, { key, y: "moving_average" }]));
const lineData = (id, start, step, many) => {
  const at = (index) => start + index * step;
  const column = (make) => lineSeries(id).map((series, index) => Array.from({ length: many }, (_, point) => (at(point) % 90_000 < 3000 && index === 2 ? null : round(make(at(point), index)))));
  if (id === "range") return { start, step, min: column((time) => wave(time, 0) - 9), mean: column((time) => wave(time, 0)), max: column((time) => wave(time, 0) + 14) };
  return { start, step, last: column((time, index) => wave(time, index >> 1, index % 2 ? 0.8 : 1)) };
};
const seqs = {};
const part = (of, snapshot, fixed) => {
  const seq = fixed ?? (seqs[of.id] = (seqs[of.id] ?? 0) + 1);
  const data = {
    line: () => {
      const end = Math.floor(Date.now() / 500) * 500;
      return snapshot ? { ...lineData(of.id, end - 599 * 500, 500, 600), series: lineSeries(of.id), hidden: 14, points: 600, gaps: [[end - 120_000, end - 110_000, 42]] } : lineData(of.id, end, 500, 1);
    },
    bar: () => ({ keys: services, parts: levels, values: levels.map((_, p) => services.map((__, k) => Math.round((100 - 18 * k) * (p ? 0.2 : 1) + Math.random() * 5))), other: 12 }),
    feed: () => ({ records: records(newest() - (snapshot ? 100 : 2), snapshot ? 100 : 2), hidden: snapshot ? 0 : 12 }),
    number: () => ({ value: 500 + Math.random() * 10, trend: Array.from({ length: 60 }, (_, index) => 500 + 9 * Math.sin(index / 4)), trend_step: 1000 }),
    gauge: () => ({ value: 45 + 8 * Math.sin(Date.now() / 9000), trend: [], trend_step: 1000 }),
    table: () => ({ keys: symbols, time: symbols.map(() => Date.now()), columns: ["price", "quantity", "side"], values: [symbols.map((_, index) => round(wave(Date.now(), index))), symbols.map((_, index) => 100 * index), symbols.map((_, index) => (index % 2 ? "buy" : "sell"))], hidden: 3, unusable: 2 }),
    heatmap: () => ({ x: services, y: levels, cells: services.flatMap((_, x) => levels.map((__, y) => [x, y, Math.round((400 - 60 * x) / (1 + 3 * y) + Math.random() * 4)])), other: 0 }),
  }[of.kind]();
  return { id: of.id, kind: of.kind, seq, snapshot: snapshot || !["line", "feed"].includes(of.kind), time: Date.now(), data };
};

const answers = {
  session: () => ({ protocol: 1, role: "admin", login: false, version: "0.1.0", pipeline: "demo" }),
  pipeline: () => ({ protocol: 1, pipeline: "demo", delivery: "exactly_once", time: Date.now(), role: "observer", broker: { use: "embedded", delivery: "exactly_once", options: [] }, stages, topics, panels, alerts: rules }),
  stages: (name) => {
    const time = Array.from({ length: 600 }, (_, index) => Date.now() - (600 - index) * 1000);
    const make = (base, spread) => time.map((at) => base + spread * Math.sin(at / 20_000));
    return { stage: stages.find((of) => of.name === name), now: metricsOf(stages.find((of) => of.name === name)), inputs: [0, 1, 2, 3].map((partition) => ({ topic: "stock_trades", partition, begin: 0, end: 12000, committed: 11990 })),
      history: { time, in_per_second: make(500, 20), out_per_second: make(498, 20), lag_records: make(10, 5), lag_seconds: make(0.05, 0.04), errors: make(0, 0), dead_lettered: make(200, 0), restarts: make(0, 0), processing_p50: make(2.1, 0.2), processing_p99: make(9, 2), latency_p50: make(3, 0.3), latency_p99: make(12, 3) } };
  },
  topics: (name, rest, query) => rest === "records"
    ? { topic: name, records: records(Math.max(0, query.has("offset") ? Number(query.get("offset")) : newest() - 50), Number(query.get("limit") ?? 50)), next: "0:1", scanned: 200, more: false }
    : { topic: topics.find((of) => of.name === name), records: 4800, time: Date.now(), partitions: [0, 1, 2, 3].map((partition) => ({ partition, begin: 0, end: 1200, records: 1200 })), readers: stages.filter((of) => of.inputs.includes(name)).map((of) => of.name), writers: stages.filter((of) => of.output === name).map((of) => of.name) },
  panels: (id, _, query) => {
    const of = panels.find((candidate) => candidate.id === id);
    const start = Number(query.get("start"));
    const step = (Number(query.get("end")) - start) / 600;
    return { ...part(of, true, 0), ...(of.kind === "line" ? { data: { ...lineData(id, start, step, 600), series: lineSeries(id), points: 600 } } : {}), complete: false };
  },
  "dead-letters": (id, _, query, body) => {
    if (body) {
      const ids = body.ids ?? letters().filter((of) => !body.where.stage || of.stage === body.where.stage).map((of) => of.id);
      if (!body.dry_run) ids.forEach((each) => gone.add(each));
      return { action: id, dry_run: body.dry_run, matched: ids.length, done: ids.length, refused: [], stages: { prices: ids.length } };
    }
    if (id) return { ...letter(Number(id)), value: { symbol: "AAPL", price: "n/a", quantity: 10, nested: { tags: ["a", "b"], deep: { more: true } } }, headers: [["source", "demo"]], editable: true };
    const found = letters().filter((of) => ["stage", "error"].every((name) => !query.get(name) || of[name] === query.get(name)) && of.reason.includes(query.get("reason") ?? "") && (!query.get("before") || Number(of.id) < Number(query.get("before"))));
    return { letters: found.slice(0, 100), next: found[99]?.id ?? null, more: found.length > 100, scanned: 230, counts: { waiting: letters().length, stages: { prices: 184, lines: 46 }, errors: { BadRecord: 197, Timeout: 33 } } };
  },
  alerts,
};

const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const server = createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  const [, api, name, ...rest] = pathname.split("/").map(decodeURIComponent);
  response.setHeader("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'");
  if (api === "api") {
    let body = "";
    for await (const chunk of request) body += chunk;
    const answer = answers[name];
    response.setHeader("Content-Type", "application/json");
    response.writeHead(answer ? 200 : 404).end(JSON.stringify(answer ? answer(rest[0], rest[1], searchParams, body ? JSON.parse(body) : null) : { error: { code: "unknown_path", message: "no such path" } }));
    return;
  }
  try {
    const file = pathname === "/" ? "/index.html" : normalize(pathname);
    response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
    response.end(await readFile(join(root, file)));
  } catch {
    response.writeHead(404).end();
  }
});

server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const send = (message) => {
    const body = Buffer.from(JSON.stringify(message));
    const head = body.length < 126 ? Buffer.from([0x81, body.length]) : body.length < 65536 ? Buffer.from([0x81, 126, body.length >> 8, body.length & 255]) : Buffer.concat([Buffer.from([0x81, 127, 0, 0, 0, 0]), Buffer.from(Uint32Array.of(body.length).buffer).reverse()]);
    socket.write(Buffer.concat([head, body]));
  };
  let watch = { panels: {}, tails: [], metrics: false };
  let known = new Set();
  let tick = 0;
  let held = Buffer.alloc(0);
  send({ type: "hello", protocol: 1, epoch, pipeline: "demo", time: Date.now(), tick_ms: 100, role: "admin" });
  socket.on("data", (chunk) => {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 6) {
      const short = held[1] & 127;
      const at = short === 126 ? 4 : 2;
      const length = short === 126 ? held.readUInt16BE(2) : short;
      if (held.length < at + 4 + length) return;
      const body = held.subarray(at + 4, at + 4 + length).map((byte, index) => byte ^ held[at + (index & 3)]);
      if ((held[0] & 15) === 8) return socket.end();
      held = held.subarray(at + 4 + length);
      watch = JSON.parse(Buffer.from(body).toString());
      known = new Set([...known].filter((id) => watch.panels[id] !== undefined && watch.panels[id] !== null));
      if (watch.alerts) send({ type: "frame", tick, time: Date.now(), alerts: alerts() });
    }
  });
  const timer = setInterval(() => {
    tick += 1;
    const frame = { type: "frame", tick, time: Date.now(), panels: [] };
    for (const of of panels) {
      if (watch.panels[of.id] === undefined) continue;
      frame.panels.push(part(of, !known.has(of.id)));
      known.add(of.id);
    }
    if (watch.metrics && tick % 10 === 1) frame.metrics = metrics();
    if (watch.tails.length) frame.tails = watch.tails.map((tail) => ({ id: tail.id, records: records(newest() - 2, 2), hidden: 8 }));
    send(frame);
  }, 100);
  socket.on("close", () => clearInterval(timer)).on("error", () => clearInterval(timer));
});
server.listen(port, "127.0.0.1", () => console.log(`stand-in on http://127.0.0.1:${port}`));
