/** The last record of each key, sorted by any column. */

import { useState } from "preact/hooks";
import type { Json } from "../protocol";
import type { PanelFeed } from "../live/store";
import { clock, measure, plural } from "../ui/format";
import { inert, oneLine } from "../ui/inert";
import { Empty } from "../ui/notice";
import { useShown } from "./shown";

const SHOWN = 200;

export function TablePanel({ feed, live, search }: { feed: PanelFeed; live: boolean; search: string }) {
  const { panel } = feed.model;
  const [order, setOrder] = useState({ column: -1, descending: false });
  const table = useShown(feed, live, 500, () => {
    const held = feed.model.table;
    return held ? { rows: held.sorted(order.column, order.descending), columns: held.columns, hidden: held.hidden } : null;
  });
  const held = feed.model.table;
  if (!table || !held) return null;
  // A click on a heading sorts at once, also while paused.
  const sorted = held.sorted(order.column, order.descending);
  const shown = (live ? table.rows : sorted).filter(
    (row) => search === "" || `${JSON.stringify(row.key)} ${JSON.stringify(row.cells)}`.toLowerCase().includes(search.toLowerCase()),
  );
  if (sorted.length === 0) return <Empty title="No records yet">One row for each key appears here.</Empty>;
  const heads = [
    { column: -1, name: panel.by ?? "key", number: false },
    ...table.columns.map((name, column) => ({ column, name, number: typeof sorted[0]?.cells[column] === "number" })),
    { column: -2, name: "time", number: true },
  ];
  const cell = (value: Json) => (typeof value === "number" ? measure(value, Number.isInteger(value) ? null : panel.decimals) : oneLine(value, 200));
  return (
    <div class="table-box" tabIndex={0} role="region" aria-label={`${panel.title}: table`}>
      <table class="data">
        <thead>
          <tr>
            {heads.map(({ column, name, number }) => (
              <th key={column} scope="col" class={number ? "is-number" : ""} aria-sort={order.column === column ? (order.descending ? "descending" : "ascending") : "none"}>
                <button type="button" onClick={() => setOrder({ column, descending: order.column === column && !order.descending })}>
                  {inert(name, 40)}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.slice(0, SHOWN).map((row) => (
            <tr key={JSON.stringify(row.key)}>
              <th scope="row">{oneLine(row.key, 80)}</th>
              {row.cells.map((value, at) => (
                <td key={at} class={typeof value === "number" ? "is-number" : ""}>{cell(value)}</td>
              ))}
              <td class="muted is-number">{clock(row.time)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {table.hidden > 0 || shown.length > SHOWN ? (
        <p class="panel-foot">{plural(table.hidden + Math.max(0, shown.length - SHOWN), "more key")} not shown</p>
      ) : null}
    </div>
  );
}
