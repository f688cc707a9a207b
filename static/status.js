// Keeps the status page fresh. The page is whole without it: every PERIOD this fetches the same URL and swaps <main>.
(() => {
  "use strict";
  const PERIOD = 2000; // ms
  const PATIENCE = 5000; // ms; a fetch that takes longer counts as no answer
  const lost = document.getElementById("lost");
  let shownAt = performance.now();
  let timer = 0;
  let running = false;

  // "1:02:03" or "0:34", as daemon/operator/context.py writes it.
  const clock = (seconds) => {
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    return (hours ? hours + ":" + two(minutes % 60) : minutes) + ":" + two(seconds % 60);
  };

  const tick = () => {
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

  const show = (fresh) => {
    const main = document.querySelector("main");
    const script = (page) => page.querySelector("script[src]")?.getAttribute("src");
    if (script(fresh) !== script(document)) return location.reload(); // signed out, or the daemon was upgraded
    document.title = fresh.title;
    if (isSelecting(main)) return; // somebody is copying a request id
    main.replaceWith(document.adoptNode(fresh.querySelector("main")));
    shownAt = performance.now();
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (running || document.hidden) return;
    running = true;
    const abort = new AbortController();
    const patience = setTimeout(() => abort.abort(), PATIENCE);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: abort.signal });
      if (!answer.ok) throw new Error(String(answer.status));
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      say(false);
    } catch {
      say(true);
    } finally {
      clearTimeout(patience);
      running = false;
      if (!document.hidden) timer = setTimeout(refresh, PERIOD);
    }
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  setInterval(tick, 250);
  timer = setTimeout(refresh, PERIOD);
})();
