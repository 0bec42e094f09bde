/** Light or dark: the system's, until somebody chooses. */

import { effect, signal } from "@preact/signals";

export type Theme = "light" | "dark";

const KEY = "streamweaver.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

function remembered(): Theme | null {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null;
  }
}

const chosen = signal<Theme | null>(remembered());
const system = signal<Theme>(dark.matches ? "dark" : "light");
dark.addEventListener("change", () => (system.value = dark.matches ? "dark" : "light"));

const tokens = new Map<string, string>();

export const theme = signal<Theme>("light");

effect(() => {
  theme.value = chosen.value ?? system.value;
  document.documentElement.dataset["theme"] = theme.value;
  tokens.clear();
});

export function toggleTheme(): void {
  chosen.value = theme.value === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, chosen.value);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

/** The value of a CSS variable, for canvases. */
export function token(name: string): string {
  let value = tokens.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    tokens.set(name, value);
  }
  return value;
}
