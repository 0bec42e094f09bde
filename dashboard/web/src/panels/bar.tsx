/** Counts or sums by a field, stacked by another. */

import { useRef } from "preact/hooks";
import type { BarData } from "../protocol";
import type { PanelFeed } from "../live/store";
import { count, measure } from "../ui/format";
import { oneLine } from "../ui/inert";
import { colourName } from "../ui/palette";
import { Empty } from "../ui/notice";
import { niceCeil } from "./scale";
import { Settled } from "./settle";
import { useShown } from "./shown";

interface Bar {
  key: string;
  total: number;
  parts: number[];
}

function bars(data: BarData): Map<string, Bar> {
  return new Map(
    data.keys.map((key, index) => {
      const parts = data.values.map((part) => part[index] ?? 0);
      const name = oneLine(key, 60);
      return [name, { key: name, parts, total: parts.reduce((sum, value) => sum + value, 0) }];
    }),
  );
}

export function BarPanel({ feed, live, search }: { feed: PanelFeed; live: boolean; search: string }) {
  const data = useShown(feed, live, 400, () => feed.model.bar);
  const order = useRef(new Settled());
  const { panel } = feed.model;
  if (!data) return null;
  const all = bars(data);
  if (all.size === 0) return <Empty title="No records in this span" />;
  const show = (value: number): string => (panel.y?.length ? measure(value, panel.decimals) : count(value));
  const names = order.current
    .arrange([...all.keys()], performance.now())
    .filter((name) => name.toLowerCase().includes(search.toLowerCase()));
  const longest = niceCeil(Math.max(...[...all.values()].map((bar) => bar.total)));
  const parts = data.parts.map((part) => (part === null ? null : oneLine(part, 40)));
  const split = parts.length > 1 || parts[0] !== null;
  // A part keeps its colour whichever others are there.
  const coloured = [...parts].sort();
  return (
    <div class="bars">
      <ul class="bars-list">
        {names.map((name) => {
          const bar = all.get(name);
          return bar ? (
            <li key={name} class="bar">
              <span class="bar-name">{name}</span>
              <span class="bar-track" aria-hidden="true">
                {coloured.map((part, at) => {
                  const value = bar.parts[parts.indexOf(part)] ?? 0;
                  return value > 0 ? (
                    <span
                      key={part}
                      class={`bar-part texture-${at % 4}`}
                      title={`${part ?? name}: ${show(value)}`}
                      style={{ width: `${(100 * value) / longest}%`, backgroundColor: `var(${colourName(at)})` }}
                    />
                  ) : null;
                })}
              </span>
              <span class="bar-value">{show(bar.total)}</span>
              {split ? <span class="unseen">{bar.parts.map((value, at) => `${parts[at] ?? ""}: ${show(value)}`).join(", ")}</span> : null}
            </li>
          ) : null;
        })}
        {data.other > 0 && search === "" ? (
          <li class="bar bar-other">
            <span class="bar-name">all others</span>
            <span class="bar-track" />
            <span class="bar-value">{show(data.other)}</span>
          </li>
        ) : null}
      </ul>
      {split ? (
        <ul class="keys">
          {coloured.map((part, at) => (
            <li key={part}>
              <span class={`key-box texture-${at % 4}`} style={{ backgroundColor: `var(${colourName(at)})` }} />
              {part}
            </li>
          ))}
        </ul>
      ) : null}
    </div>
  );
}
