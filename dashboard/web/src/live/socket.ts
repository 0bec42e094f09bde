/**
 * The one WebSocket: connects, listens, and connects anew when it closes or falls silent.
 *
 * It knows nothing of what the messages mean beyond telling that they come.
 */

import type { FromServer, Watch } from "../protocol";
import { backoff, SILENCE_MS } from "./backoff";

export interface Listener {
  message(message: FromServer): void;
  open(): void;
  /** The line is down or silent; `since` is when the last message came. */
  lost(since: number): void;
  /** The server refuses: log in (again). */
  refused(): void;
}

const SESSION_ENDED = 1008;

export class LiveSocket {
  private socket: WebSocket | null = null;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | null = null;
  private heard = 0;
  private opened = false;
  private stopped = true;
  private readonly watchdog: ReturnType<typeof setInterval>;

  constructor(
    private readonly address: string,
    private readonly listener: Listener,
  ) {
    this.watchdog = setInterval(() => this.listen(), 1000);
    addEventListener("online", () => this.now());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.now();
    });
  }

  start(): void {
    this.stopped = false;
    this.connect();
  }

  stop(): void {
    this.stopped = true;
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = null;
    this.drop();
  }

  close(): void {
    this.stop();
    clearInterval(this.watchdog);
  }

  send(watch: Watch): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(watch));
    return true;
  }

  /** Connects at once if the next try is still ahead: the page was shown, or the network came back. */
  now(): void {
    if (this.retry !== null && !this.stopped) {
      clearTimeout(this.retry);
      this.retry = null;
      this.connect();
    }
  }

  private connect(): void {
    this.drop();
    this.opened = false;
    const socket = new WebSocket(this.address);
    this.socket = socket;
    this.heard = this.heard || Date.now();
    const begun = Date.now();
    socket.onopen = () => {
      this.opened = true;
      this.heard = Date.now();
      this.listener.open();
    };
    socket.onmessage = (event: MessageEvent<string>) => {
      this.heard = Date.now();
      this.attempt = 0;
      this.listener.message(JSON.parse(event.data) as FromServer);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (this.stopped) return;
      // A handshake that is refused at once may be a session that has ended: the listener asks.
      if (event.code === SESSION_ENDED || (!this.opened && Date.now() - begun < 5000)) this.listener.refused();
      this.lose();
    };
  }

  private listen(): void {
    if (this.socket && !this.stopped && Date.now() - this.heard > SILENCE_MS && this.opened) {
      this.drop();
      this.lose();
    }
  }

  private lose(): void {
    this.listener.lost(this.heard);
    if (this.retry !== null) return;
    const seconds = backoff(this.attempt, Math.random);
    this.attempt += 1;
    this.retry = setTimeout(() => {
      this.retry = null;
      this.connect();
    }, seconds * 1000);
  }

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
