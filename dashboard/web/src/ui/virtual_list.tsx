/** A long list of rows of one height, of which only those in view exist. */

import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useReducer, useRef } from "preact/hooks";

interface Props<T> {
  items: readonly T[];
  rowHeight: number;
  label: string;
  keyOf: (item: T) => string;
  render: (item: T, index: number) => ComponentChildren;
  /** Told whether the first row is in view. */
  onTop?: (atTop: boolean) => void;
  class?: string;
}

export function VirtualList<T>(props: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const made = useRef<Virtualizer<HTMLDivElement, HTMLDivElement> | null>(null);
  const options = {
    count: props.items.length,
    getScrollElement: () => box.current,
    estimateSize: () => props.rowHeight,
    getItemKey: (index: number) => {
      const item = props.items[index];
      return item === undefined ? index : props.keyOf(item);
    },
    overscan: 4,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    initialRect: { width: 600, height: 400 },
    onChange: (of: Virtualizer<HTMLDivElement, HTMLDivElement>) => {
      props.onTop?.((of.scrollOffset ?? 0) < props.rowHeight / 2);
      redraw(0);
    },
  };
  made.current ??= new Virtualizer(options);
  const virtual = made.current;
  virtual.setOptions(options);
  useLayoutEffect(() => virtual._didMount(), []);
  useLayoutEffect(() => virtual._willUpdate());

  return (
    <div class={`virtual ${props.class ?? ""}`} ref={box} tabIndex={0} role="region" aria-label={props.label}>
      <div role="list" aria-label={props.label} class="virtual-all" style={{ height: `${virtual.getTotalSize()}px` }}>
        {virtual.getVirtualItems().map((at) => {
          const item = props.items[at.index];
          return item === undefined ? null : (
            <div
              key={at.key}
              role="listitem"
              aria-setsize={props.items.length}
              aria-posinset={at.index + 1}
              class="virtual-row"
              style={{ height: `${props.rowHeight}px`, transform: `translateY(${at.start}px)` }}
            >
              {props.render(item, at.index)}
            </div>
          );
        })}
      </div>
    </div>
  );
}
