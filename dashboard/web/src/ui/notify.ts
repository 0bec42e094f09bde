/** The browser's own notifications for alerts, if the person allows them. */

import { signal } from "@preact/signals";
import { onAlerts } from "../live/store";
import { measure } from "./format";
import { inert } from "./inert";
import { go } from "./router";

const supported = "Notification" in globalThis;

export const permission = signal<NotificationPermission | "unsupported">(supported ? Notification.permission : "unsupported");

export async function askPermission(): Promise<void> {
  if (supported) permission.value = await Notification.requestPermission();
}

onAlerts((fresh) => {
  if (permission.value !== "granted") return;
  for (const event of fresh.slice(0, 5)) {
    const value = event.value === null ? "" : ` (${measure(event.value)})`;
    const shown = new Notification(`${event.state === "firing" ? "Alert" : "Resolved"}: ${inert(event.name, 80)}`, {
      body: inert(`${event.subject}${value}: ${event.when}`, 200),
      tag: `${event.id}/${event.subject}`,
    });
    shown.onclick = () => {
      focus();
      go("alerts");
      shown.close();
    };
  }
});
