import "./style/tokens.css";
import "./style/base.css";
import "./style/panels.css";
import { render } from "preact";
import { App } from "./app";
import { loadSession } from "./live/store";

const page = document.getElementById("page");
if (page) render(<App />, page);
void loadSession();
