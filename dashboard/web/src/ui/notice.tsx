/** What stands where there is nothing to show yet, or nothing could be had. */

import type { ComponentChildren } from "preact";

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children ? <p>{children}</p> : null}
    </div>
  );
}

export function Trouble({ message, retry }: { message: string; retry?: () => void }) {
  return (
    <div class="trouble" role="alert">
      <p>{message}</p>
      {retry ? (
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      ) : null}
    </div>
  );
}
