// How far the image can be trusted: ages on the server's clock, and what the page says about them.

import { duration } from "./panels.js";

const STALE_PERIODS = 3;
const TICK_MS = 250;
const element = (id) => document.getElementById(id);

export class Health {
  constructor(link, pane, state) {
    this.link = link;
    this.pane = pane;
    this.state = state;
    this.offsetMs = -Infinity; // server's monotonic clock minus ours
  }

  greet(message) {
    this.offsetMs = message.now_ms - performance.now();
  }

  now() {
    return performance.now() + this.offsetMs;
  }

  start() {
    this.tick();
    setInterval(() => this.tick(), TICK_MS);
  }

  // Returns the level of trust and what to say; "ok" alone needs no banner.
  judge() {
    const { link, pane } = this;
    if (!link.open) {
      const since = link.lostAt === null ? "" : ` for ${duration((performance.now() - link.lostAt) / 1000)}`;
      if (link.refused) return ["gone", "refused", `${link.refused} Trying again…`];
      return pane.shown || link.lostAt !== null
        ? ["gone", "server gone", `The display server has not answered${since}. The image is old. Reconnecting…`]
        : ["wait", "connecting", ""];
    }
    const state = this.state();
    if (!state?.daemon && state?.display.rejected_version) {
      return ["wait", "other version", "What is published there is of another version than this display understands: update the older of the two."];
    }
    if (!state?.daemon) return ["wait", "no reducer yet", "Waiting for the reducer: no status has been heard."];
    const silent = this.now() - state.status_heard_ms;
    if (silent > STALE_PERIODS * state.daemon.period_ms) {
      return ["stale", "stale", `No sign of the reducer for ${duration(silent / 1000)}. The image is old.`];
    }
    if (state.daemon.state !== "running") return ["wait", state.daemon.state, ""];
    return ["ok", "live", ""];
  }

  tick() {
    const [level, word, words] = this.judge();
    element("health").dataset.level = level;
    element("health-text").textContent = word;
    element("banner").hidden = !words;
    element("banner").dataset.level = level;
    if (element("banner").textContent !== words) element("banner").textContent = words;
    element("app").dataset.health = level;
    const tiles = this.pane.shown?.tiles ?? [];
    const ages = tiles.filter((tile) => tile.shown).map((tile) => this.now() - tile.shown.published_ms);
    element("age").textContent = ages.length ? duration(Math.max(0, Math.min(...ages)) / 1000) : "–";
    element("utc").textContent = new Date().toISOString().slice(11, 19);
  }
}
