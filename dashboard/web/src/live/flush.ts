/**
 * One requestAnimationFrame for everything that moves.
 *
 * Data only marks things as changed; drawing happens here. After a flush the next one waits at least nine times as long
 * as it took, so that drawing never takes more than about a tenth of the main thread, whatever the machine.
 */

const pending = new Set<() => void>();
let requested = false;
let earliest = 0;

const SHARE = 9;
/** No more often than this, whatever else is asked for: panels have rates of their own, far lower. */
const SHORTEST_MS = 25;

export function onNextFrame(draw: () => void): void {
  pending.add(draw);
  request();
}

function request(): void {
  if (requested || pending.size === 0) return;
  requested = true;
  const wait = earliest - performance.now();
  if (wait > 8) setTimeout(() => requestAnimationFrame(flush), wait);
  else requestAnimationFrame(flush);
}

function flush(): void {
  requested = false;
  const begun = performance.now();
  const draws = [...pending];
  pending.clear();
  for (const draw of draws) draw();
  const ended = performance.now();
  earliest = begun + Math.max(SHORTEST_MS, (ended - begun) * (1 + SHARE));
  request();
}
