/** Records as rows: what feeds, tails and pages of a topic share. */

import type { Columns, Json, Raw, TableData } from "../protocol";

export interface Row {
  id: string;
  partition: number;
  offset: number;
  time: number;
  key: Json;
  value: Json;
  raw: Raw | undefined;
  headers: [string, string][] | undefined;
}

export function rows(columns: Columns): Row[] {
  return columns.offset.map((offset, index) => ({
    id: `${columns.partition[index] ?? 0}:${offset}`,
    partition: columns.partition[index] ?? 0,
    offset,
    time: columns.time[index] ?? 0,
    key: columns.key[index] ?? null,
    value: columns.value[index] ?? null,
    raw: columns.raw?.[index],
    headers: columns.headers?.[index],
  }));
}

/** `held` and `fresh` behind it, at most the newest `limit`, none twice. */
export function append(held: readonly Row[], fresh: readonly Row[], limit: number): Row[] {
  if (fresh.length === 0) return held as Row[];
  const known = new Set(held.slice(-limit).map((row) => row.id));
  const all = held.concat(fresh.filter((row) => !known.has(row.id)));
  return all.length > limit ? all.slice(all.length - limit) : all;
}

/** Whether a row holds `text`, whatever its case, in its key or value. */
export function holds(row: Row, text: string): boolean {
  if (text === "") return true;
  const content = row.raw ? row.raw.text : JSON.stringify(row.value);
  return `${JSON.stringify(row.key)} ${content}`.toLowerCase().includes(text.toLowerCase());
}

export interface TableRow {
  key: Json;
  time: number;
  cells: Json[];
}

/** The last record of each key. */
export class TableRows {
  columns: string[] = [];
  hidden = 0;
  private byKey = new Map<string, TableRow>();

  take(data: TableData, snapshot: boolean): void {
    if (snapshot) this.byKey = new Map();
    this.columns = data.columns;
    if (data.hidden !== undefined) this.hidden = data.hidden;
    for (const key of data.removed ?? []) this.byKey.delete(JSON.stringify(key));
    data.keys.forEach((key, index) => {
      this.byKey.set(JSON.stringify(key), {
        key,
        time: data.time[index] ?? 0,
        cells: data.columns.map((_, column) => data.values[column]?.[index] ?? null),
      });
    });
  }

  /** All rows, by `column` (-2: time, -1: key), numbers as numbers. */
  sorted(column: number, descending: boolean): TableRow[] {
    const pick = (row: TableRow): Json => (column === -2 ? row.time : column === -1 ? row.key : (row.cells[column] ?? null));
    const sign = descending ? -1 : 1;
    return [...this.byKey.values()].sort((a, b) => sign * compare(pick(a), pick(b)));
  }
}

/** Numbers as numbers, the rest as text; null last in ascending order. */
export function compare(a: Json, b: Json): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}
