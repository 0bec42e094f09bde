/** Asks for the token. */

import { useSignal } from "@preact/signals";
import { api, messageOf } from "../api";
import { useSession } from "../live/store";

export function LogIn() {
  const failure = useSignal<string | null>(null);
  const busy = useSignal(false);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const token = new FormData(event.currentTarget as HTMLFormElement).get("token");
    busy.value = true;
    try {
      useSession(await api.logIn(String(token ?? "")));
    } catch (error) {
      failure.value = messageOf(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <main class="log-in">
      <form onSubmit={(event) => void submit(event)}>
        <h1>StreamWeaver</h1>
        <p class="muted">This dashboard asks for its token. It was set with the dashboard's option <code>token</code>.</p>
        <label for="token">Token</label>
        <input id="token" name="token" type="password" class="input" autocomplete="current-password" required autofocus />
        {failure.value ? <p class="failure" role="alert">{failure.value}</p> : null}
        <button type="submit" class="button button-main" disabled={busy.value}>
          Log in
        </button>
      </form>
    </main>
  );
}
