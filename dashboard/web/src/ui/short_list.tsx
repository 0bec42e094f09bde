/**
 * A list of at most some hundred rows of one height, of which only those in view exist.
 *
 * Topics and dead letters use `VirtualList`; its library is a sixth of what the first load may weigh, and the first view
 * does without it.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { inView } from "./in_view";

interface Props<T> {
  items: readonly T[];
  rowHeight: number;
  label: string;
  keyOf: (item: T) => string;
  render: (item: T) => ComponentChildren;
  /** Told whether the first row is in view. */
  onTop: (atTop: boolean) => void;
}

export function ShortList<T>({ items, rowHeight, label, keyOf, render, onTop }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ scroll: 0, height: 400 });
  const measure = (): void => {
    const element = box.current;
    if (!element) return;
    setPlace({ scroll: element.scrollTop, height: element.clientHeight });
    onTop(element.scrollTop < rowHeight / 2);
  };
  useEffect(() => {
    const observer = new ResizeObserver(measure);
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const [first, last] = inView(place.scroll, place.height, rowHeight, items.length);
  return (
    <div class="virtual" ref={box} tabIndex={0} role="region" aria-label={label} onScroll={measure}>
      <div role="list" aria-label={label} class="virtual-all" style={{ height: `${items.length * rowHeight}px` }}>
        {items.slice(first, last).map((item, index) => (
          <div
            key={keyOf(item)}
            role="listitem"
            aria-setsize={items.length}
            aria-posinset={first + index + 1}
            class="virtual-row"
            style={{ height: `${rowHeight}px`, transform: `translateY(${(first + index) * rowHeight}px)` }}
          >
            {render(item)}
          </div>
        ))}
      </div>
    </div>
  );
}
