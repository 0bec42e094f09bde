/** Counts by two fields, darker where there are more, with the number in each cell. */

import { useShown } from "./shown";
import type { PanelFeed } from "../live/store";
import { count } from "../ui/format";
import { oneLine } from "../ui/inert";
import { Empty } from "../ui/notice";

export function HeatmapPanel({ feed, live, search }: { feed: PanelFeed; live: boolean; search: string }) {
  const data = useShown(feed, live, 500, () => feed.model.heatmap);
  if (!data) return null;
  const [xs, ys, values] = data.cells;
  if (values.length === 0) return <Empty title="No records in this span" />;
  const wanted = search.toLowerCase();
  const cells = new Map(values.map((value, at) => [(ys[at] ?? 0) * data.x.length + (xs[at] ?? 0), value]));
  const highest = Math.max(...values);
  return (
    <div class="heatmap" tabIndex={0} role="region" aria-label={`${feed.model.panel.title}: table`}>
      <table>
        <thead>
          <tr>
            <td />
            {data.x.map((name) => (
              <th key={String(name)} scope="col">{oneLine(name, 24)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {data.y.map((name, y) =>
            oneLine(name, 60).toLowerCase().includes(wanted) || data.x.some((x) => oneLine(x, 60).toLowerCase().includes(wanted)) ? (
              <tr key={String(name)}>
                <th scope="row">{oneLine(name, 24)}</th>
                {data.x.map((_, x) => {
                  const value = cells.get(y * data.x.length + x) ?? 0;
                  // The square root keeps small counts apart from none.
                  const depth = highest > 0 ? Math.sqrt(value / highest) : 0;
                  return (
                    <td key={x} class={depth > 0.62 ? "deep" : ""} style={{ "--depth": `${Math.round(depth * 100)}%` }}>
                      {value ? count(value) : "\u00b7"}
                    </td>
                  );
                })}
              </tr>
            ) : null,
          )}
        </tbody>
      </table>
      {data.other > 0 ? <p class="small muted">and {count(data.other)} in others</p> : null}
    </div>
  );
}
