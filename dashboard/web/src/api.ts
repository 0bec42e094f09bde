/** The server's requests, each with its error as one `ApiError` whose message is for people. */

import type {
  Alerts, LetterAction, LetterDetail, LetterFilter, LetterResult, LettersPage, Part, Pipeline, RecordsPage, Session,
  StageDetail, TopicDetail, Where,
} from "./protocol";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...init });
  } catch {
    throw new ApiError(0, "unreachable", "the server does not answer");
  }
  const body: unknown = await answer.json().catch(() => null);
  if (answer.ok) return body as T;
  const error = (body as { error?: { code?: string; message?: string } } | null)?.error;
  throw new ApiError(answer.status, error?.code ?? "internal", error?.message ?? `the server answered ${answer.status}`);
}

function send<T>(method: "POST" | "DELETE", path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { "X-StreamWeaver": "1" };
  if (body === undefined) return ask<T>(path, { method, headers });
  headers["Content-Type"] = "application/json";
  return ask<T>(path, { method, headers, body: JSON.stringify(body) });
}

type Parameters_ = Record<string, string | number | null | undefined>;

function query(parameters: Parameters_): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  const text = search.toString();
  return text ? `?${text}` : "";
}

export interface RecordsWish {
  limit?: number;
  partition?: number;
  offset?: number;
  time?: number;
  from?: "start" | "end";
  where?: Where;
  text?: string;
  next?: string;
}

const name = encodeURIComponent;

export const api = {
  session: () => ask<Session>("api/session"),
  logIn: (token: string) => send<Session>("POST", "api/session", { token }),
  logOut: () => send<Session>("DELETE", "api/session"),
  pipeline: () => ask<Pipeline>("api/pipeline"),
  stage: (stage: string, minutes = 10) => ask<StageDetail>(`api/stages/${name(stage)}${query({ minutes })}`),
  topic: (topic: string) => ask<TopicDetail>(`api/topics/${name(topic)}`),
  records: (topic: string, { where, ...wish }: RecordsWish) =>
    ask<RecordsPage>(
      `api/topics/${name(topic)}/records` +
        query({ ...wish, where: where && Object.keys(where).length ? JSON.stringify(where) : undefined }),
    ),
  panelHistory: (id: string, start: number, end: number) =>
    ask<Part>(`api/panels/${name(id)}/history${query({ start: Math.round(start), end: Math.round(end) })}`),
  letters: (filter: LetterFilter & { limit?: number; before?: string; state?: string }) =>
    ask<LettersPage>(`api/dead-letters${query({ ...filter })}`),
  letter: (id: string) => ask<LetterDetail>(`api/dead-letters/${name(id)}`),
  replay: (action: LetterAction) => send<LetterResult>("POST", "api/dead-letters/replay", action),
  discard: (action: LetterAction) => send<LetterResult>("POST", "api/dead-letters/discard", action),
  alerts: () => ask<Alerts>("api/alerts"),
};

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
