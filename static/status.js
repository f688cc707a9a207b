// Keeps the status page live; the page is whole without it. A stream brings each fresh <main>; where none comes (WeChat's
// browsers hold streams back, and so do some proxies), the page is fetched every PERIOD instead.
(() => {
  "use strict";
  const PERIOD = 2000; // ms between two fetches, where no stream is alive
  const PATIENCE = 5000; // ms; a fetch that takes longer counts as no answer
  const SILENCE = 20000; // ms; a stream that said nothing for so long (its heartbeat takes ten seconds) is not alive
  const AGAIN = 5000; // ms until a stream that failed is tried again, and a minute where it was only silent
  const AGAIN_SILENT = 60000;
  const lost = document.getElementById("lost");
  let shownAt = performance.now();
  let timer = 0; // of the next fetch
  let fetching = false;
  let stream = null;
  let heardAt = -Infinity; // when the stream said anything
  let listenAt = 0; // when to try the next stream
  let pressed = null; // the button whose POST is under way
  let files = ""; // that belong to what the stream brings

  // --- showing

  // "1:02:03" or "0:34", as daemon/operator/figures.py writes it.
  const clock = (seconds) => {
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    return (hours ? hours + ":" + two(minutes % 60) : minutes) + ":" + two(seconds % 60);
  };

  const count = () => {
    const passed = Math.floor((performance.now() - shownAt) / 1000);
    for (const element of document.querySelectorAll("[data-seconds]")) {
      const left = Math.max(0, Number(element.dataset.seconds) - passed);
      if (element.localName === "progress") element.value = left;
      else if (element.textContent !== clock(left)) element.textContent = clock(left);
    }
  };

  const say = (isLost) => {
    if (lost.hidden === !isLost) return;
    lost.hidden = !isLost;
    lost.textContent = isLost ? lost.dataset.text : "";
    document.body.classList.toggle("old", isLost);
  };

  const isSelecting = (main) => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && main.contains(selection.anchorNode);
  };

  // What tells an element from others of its kind, "" where nothing does: a button of one key must never become another
  // key's under the finger, and a card is its key's.
  const keyOf = (button) => button.getAttribute("formaction").replace(/[^/]*$/, "");
  const mark = (node) => {
    if (!node.getAttribute) return "";
    const own = ["id", "formaction", "href", "aria-labelledby"].map((name) => node.getAttribute(name)).find(Boolean);
    if (own) return own;
    if (node.localName === "summary") return node.parentNode.id;
    const button = /^(li|tr)$/.test(node.localName) && node.querySelector("[formaction]");
    return button ? keyOf(button) : "";
  };
  const isSame = (node, fresh) => node.nodeName === fresh.nodeName && mark(node) === mark(fresh);

  // Makes `node` look like `fresh` and leaves alone what is so already, so that focus, scrolling and clicks survive.
  const patch = (node, fresh) => {
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.data !== fresh.data) node.data = fresh.data;
      return;
    }
    if (node === pressed) return;
    for (const { name } of [...(node.attributes || [])]) if (!fresh.hasAttribute(name)) node.removeAttribute(name);
    for (const { name, value } of fresh.attributes || []) {
      if (node.getAttribute(name) !== value) node.setAttribute(name, value);
    }
    const children = [...fresh.childNodes];
    const marks = new Set(children.map(mark).filter(Boolean));
    let place = node.firstChild;
    for (const child of children) {
      const match = find(place, child);
      if (!match) {
        node.insertBefore(child, place);
        continue;
      }
      while (place !== match && !marks.has(mark(place))) place = drop(place);
      if (place === match) place = match.nextSibling;
      else node.insertBefore(match, place);
      patch(match, child);
    }
    while (place) place = drop(place);
  };

  // What has a mark is found wherever it has moved to.
  const find = (place, child) => {
    if (!mark(child)) return place && isSame(place, child) ? place : null;
    while (place && !isSame(place, child)) place = place.nextSibling;
    return place;
  };

  const drop = (node) => {
    const next = node.nextSibling;
    node.remove();
    return next;
  };

  // The focus belongs to the same thing, or to the button that stands in its place at the same key.
  const keepFocus = (main, change) => {
    const focused = document.activeElement;
    const name = main.contains(focused) ? mark(focused) : "";
    const key = name && focused.hasAttribute("formaction") ? keyOf(focused) : "";
    const buttons = () => [...main.querySelectorAll("[formaction]")].filter((each) => keyOf(each) === key);
    const place = buttons().indexOf(focused);
    change();
    if (!name || document.activeElement === focused) return;
    const same = [...main.querySelectorAll("a, button, summary")].find((each) => mark(each) === name);
    const next = same || buttons()[Math.min(place, buttons().length - 1)];
    if (next) next.focus({ preventScroll: true });
  };

  // `page` holds a fresh <main>.
  const show = (page, title) => {
    const main = document.querySelector("main");
    document.title = title;
    if (isSelecting(main)) return; // somebody is copying a request id
    const fresh = page.querySelector("main");
    const open = new Set([...main.querySelectorAll("details[open]")].map((details) => details.id));
    for (const details of fresh.querySelectorAll("details")) details.open = open.has(details.id);
    keepFocus(main, () => patch(main, fresh));
    shownAt = performance.now();
  };

  const parsed = (html) => new DOMParser().parseFromString(html, "text/html");
  const filesOf = (page) =>
    [...page.querySelectorAll("script[src], link[rel=stylesheet]")]
      .map((file) => file.getAttribute("src") || file.getAttribute("href"))
      .join("\n");

  // --- the stream

  const listen = () => {
    if (stream || document.hidden || !window.EventSource) return;
    stream = new EventSource("/status/events" + location.search);
    stream.addEventListener("main", (event) => {
      const fresh = JSON.parse(event.data);
      hear();
      files = files || fresh.files;
      if (files !== fresh.files) return location.reload(); // the daemon was upgraded
      show(parsed(fresh.main), fresh.title);
    });
    stream.addEventListener("beat", hear);
    stream.addEventListener("error", () => hangUp(AGAIN));
    listenAt = performance.now() + SILENCE; // should it never say anything
  };

  const hear = () => {
    heardAt = performance.now();
    clearTimeout(timer);
    say(false);
  };

  const hangUp = (wait) => {
    if (stream) stream.close();
    stream = null;
    heardAt = -Infinity;
    listenAt = performance.now() + wait;
    refresh();
  };

  const isAlive = () => stream !== null && performance.now() - heardAt < SILENCE;

  const watch = () => {
    count();
    const now = performance.now();
    if (document.hidden) return;
    if (stream && !isAlive() && now >= Math.max(listenAt, heardAt + SILENCE)) hangUp(AGAIN_SILENT);
    else if (!stream && now >= listenAt) listen();
  };

  // --- the fetch

  const refresh = async () => {
    clearTimeout(timer);
    if (fetching || document.hidden) return;
    fetching = true;
    const abort = new AbortController();
    const patience = setTimeout(() => abort.abort(), PATIENCE);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: abort.signal });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = parsed(await answer.text());
      if (filesOf(page) !== filesOf(document)) return location.reload(); // signed out, or the daemon was upgraded
      show(page, page.title);
      say(false);
    } catch {
      say(true);
    } finally {
      clearTimeout(patience);
      fetching = false;
      if (!document.hidden && !isAlive()) timer = setTimeout(refresh, PERIOD);
    }
  };

  // --- the buttons

  const press = async (event) => {
    const button = event.submitter;
    if (!button || !button.hasAttribute("formaction")) return;
    event.preventDefault();
    if (pressed) return;
    pressed = button;
    const words = button.textContent;
    button.textContent = words + " …";
    button.setAttribute("aria-busy", "true");
    try {
      const body = new URLSearchParams(new FormData(event.target));
      const answer = await fetch(button.formAction, { method: "POST", body, headers: { Accept: "application/json" } });
      if (answer.status === 401 || answer.status === 403) return location.reload(); // signed out, or in anew
      if (!answer.ok && answer.status !== 404) throw new Error(String(answer.status));
      await refresh();
    } catch {
      say(true);
    } finally {
      button.textContent = words;
      button.removeAttribute("aria-busy");
      pressed = null;
    }
  };

  const begin = () => {
    listen();
    timer = setTimeout(refresh, PERIOD); // unless the stream is heard before
  };

  document.getElementById("act").addEventListener("submit", press);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) return begin();
    if (stream) stream.close(); // a browser has six connections to a server, for all of its tabs
    stream = null;
    heardAt = -Infinity;
  });
  setInterval(watch, 250);
  begin();
})();
