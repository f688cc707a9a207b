// The demo's page: sends what the visitor does, and lays out what /demo/view.json says. All sentences are made by the server.
"use strict";

(() => {
  const language = document.querySelector("main").dataset.language;
  const places = ["chat", "follow", "lost", "text", "title", "tabs", "toggle", "more"];
  const [chat, follow, lost, text, title, tabs, toggle, more] = places.map((id) => document.getElementById(id));
  const visitor = (sessionStorage.visitor ??= Array.from({ length: 12 }, () => Math.floor(Math.random() * 36).toString(36)).join(""));
  const tapped = new Set(JSON.parse(sessionStorage.tapped ?? "[]")); // links, as what they send
  const shown = new Map(); // what a place shows now, as JSON: unchanged places are left alone
  let account = sessionStorage.account ?? "personal";
  let timer = 0;
  let turn = 0;

  const make = (tag, classes, ...children) => {
    const element = document.createElement(tag);
    if (classes) element.className = classes;
    element.append(...children);
    return element;
  };
  const lamp = (tone) => make("span", `lamp ${tone}`);

  const post = async (what, body = {}) => {
    const sent = fetch(`/demo/${what}?lang=${language}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ visitor, account, ...body }),
    });
    look(50);
    await sent.catch(() => {}); // the next look says that the posthouse is lost
    look(0);
  };

  const image = (classes, address, alt) => {
    const element = make("img", classes);
    element.src = address;
    element.alt = alt;
    return element;
  };

  const part = ({ text, content, id, href }) => {
    if (href !== undefined) {
      const link = make("a", "", text);
      link.href = href;
      link.target = "_blank";
      link.rel = "noopener";
      return link;
    }
    if (content === undefined) return text;
    const sends = `${id} ${content}`;
    const link = make("button", tapped.has(sends) ? "used" : "", text);
    link.type = "button";
    link.addEventListener("click", () => {
      link.className = "used";
      sessionStorage.tapped = JSON.stringify([...tapped.add(sends)]);
      post("tap", { content, id });
    });
    return link;
  };

  const entry = ({ said, photo, note, deliveries, reply, picture, served, red_line }) => {
    const element = make("div", "entry");
    if (note) element.append(make("p", "note", note));
    if (said) element.append(make("p", "bubble mine", said));
    if (photo) element.append(image("photo", photo, chat.dataset.photo));
    element.append(make("ul", "deliveries", ...deliveries.map(({ tone, text }) => make("li", "", lamp(tone), text))));
    if (served) element.append(make("p", "served", served));
    if (picture) element.append(image("picture", picture, chat.dataset.picture), make("p", "served", chat.dataset.picture));
    if (reply.length) element.append(make("p", "bubble theirs", ...reply.map(part)));
    if (red_line) element.append(make("p", "red", red_line));
    return element;
  };

  const showBar = ({ follows, typing }) => {
    follow.disabled = follows;
    follow.textContent = follow.dataset[follows ? "followed" : "follow"];
    title.textContent = title.dataset[typing ? "typing" : "name"];
  };

  const showChat = (entries) => {
    const wasAtEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 60;
    for (const sentence of chat.querySelectorAll(".greeting")) sentence.hidden = entries.length > 0 || sentence.dataset.account !== account;
    let changed = false;
    for (const each of entries) {
      const id = `entry-${each.number}`;
      const json = JSON.stringify(each);
      if (shown.get(id) === json) continue;
      const before = document.getElementById(id);
      const now = entry(each);
      now.id = id;
      if (before) before.replaceWith(now);
      else chat.append(now);
      changed ||= !before || wasAtEnd;
      shown.set(id, json);
    }
    if (changed) chat.scrollTop = chat.scrollHeight;
  };

  const showList = (id, items, build) => {
    const json = JSON.stringify(items);
    if (shown.get(id) === json) return;
    shown.set(id, json);
    const list = document.getElementById(id);
    const empty = list.dataset.empty && make("li", "empty-line", list.dataset.empty);
    list.replaceChildren(...(items.length ? items.map(build) : [empty].filter(Boolean)));
  };

  const key = ({ name, plays, tone, state, reason, left }) =>
    make("li", tone, make("strong", "", name), make("span", "faint", plays), make("span", "tone", lamp(tone), state), make("span", "faint", reason), make("span", "left", left));
  const tried = ({ key, tone, said }) => make("span", `tried ${tone}`, `${key} `, make("span", "tone", said));
  const call = (each) =>
    make("li", each.tone, make("p", "way", ...each.tried.map(tried), make("span", "result tone", each.result)), make("p", "words", each.words));
  const seen = (each) =>
    make("li", each.tone, make("span", "faint", each.time), make("span", "", each.caller), make("span", "", each.key), make("span", "tone", each.said));

  const show = (view) => {
    showBar(view);
    showChat(view.chat);
    showList("keys", view.keys, key);
    showList("calls", view.calls, call);
    showList("seen", view.seen, seen);
  };

  const look = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++turn;
      try {
        const answer = await fetch(`/demo/view.json?visitor=${visitor}&account=${account}&lang=${language}`);
        if (!answer.ok) throw new Error(answer.status);
        const view = await answer.json();
        if (mine !== turn) return; // a later look is on its way
        show(view);
        lost.hidden = true;
      } catch {
        if (mine !== turn) return;
        lost.hidden = false;
      }
      look(document.hidden ? 3000 : 400);
    }, wait);
  };

  const turnTo = (kind) => {
    account = sessionStorage.account = kind;
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", tab.dataset.account === account);
    for (const old of chat.querySelectorAll(".entry")) {
      shown.delete(old.id);
      old.remove();
    }
    turn++; // what is on its way is of the other account
    look(0);
  };

  tabs.addEventListener("click", (event) => {
    const kind = event.target.dataset.account;
    if (kind && kind !== account) turnTo(kind);
  });
  document.getElementById("quick").addEventListener("click", (event) => {
    const { say, do: gesture } = event.target.dataset;
    if (say) post("say", { text: say });
    if (gesture) post(gesture);
  });
  toggle.addEventListener("click", () => {
    more.hidden = !more.hidden;
    toggle.setAttribute("aria-expanded", !more.hidden);
    chat.scrollTop = chat.scrollHeight;
  });
  document.getElementById("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    if (text.value.trim()) post("say", { text: text.value });
    text.value = "";
  });
  follow.addEventListener("click", () => post("follow"));
  document.getElementById("call").addEventListener("click", () => post("call"));
  document.addEventListener("visibilitychange", () => look(0));
  turnTo(account);
})();
