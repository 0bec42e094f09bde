/** When a panel draws: not more often than it can be read, not while paused, not out of sight. */

import { effect } from "@preact/signals";
import { useEffect, useReducer, useRef } from "preact/hooks";
import { onNextFrame } from "../live/flush";
import type { PanelFeed } from "../live/store";

/** Calls `draw` when the feed has changed, at most every `every` ms, while `live`. */
export function useDraw(feed: PanelFeed, live: boolean, every: number, draw: () => void): void {
  const latest = useRef(draw);
  latest.current = draw;
  useEffect(() => {
    if (!live) return;
    let last = 0;
    let timer: ReturnType<typeof setTimeout> | null = null;
    const run = (): void => {
      timer = null;
      last = performance.now();
      latest.current();
    };
    const stop = effect(() => {
      void feed.version.value;
      if (timer !== null) return;
      const wait = last + every - performance.now();
      if (wait <= 4) run();
      else timer = setTimeout(() => onNextFrame(run), wait);
    });
    return () => {
      stop();
      if (timer !== null) clearTimeout(timer);
    };
  }, [feed, live, every]);
}

/** What `read` gave when the panel last drew. */
export function useShown<T>(feed: PanelFeed, live: boolean, every: number, read: () => T): T {
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const shown = useRef<{ feed: PanelFeed; value: T } | null>(null);
  if (shown.current?.feed !== feed) shown.current = { feed, value: read() };
  useDraw(feed, live, every, () => {
    shown.current = { feed, value: read() };
    redraw(0);
  });
  return shown.current.value;
}
