// Updates the list of exchanges, and an exchange that is under way, while the page is open; copies links and commands.

const words = document.documentElement.lang.startsWith("zh")
  ? { live: "实时更新", reconnecting: "正在重新连接", copied: "已复制" }
  : { live: "Live", reconnecting: "Reconnecting", copied: "Copied" };
const live = document.querySelector("[data-news]");
const list = document.getElementById("exchanges");

if (live && list) {
  const refresh = async () => {
    const response = await fetch(location.href, { cache: "no-store" });
    if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
  };

  const show = (next) => {
    const rows = next.querySelectorAll("#exchanges > ol > li");
    const current = list.querySelector("ol");
    if (!rows.length || !current) {
      list.replaceChildren(...(next.getElementById("exchanges")?.childNodes ?? []));
    } else {
      // Rows that stay keep their element, and so the focus.
      const wanted = new Set([...rows].map((row) => row.id));
      for (const row of [...current.children]) if (!wanted.has(row.id)) row.remove();
      let place = current.firstElementChild;
      for (const row of rows) {
        if (place?.id === row.id) {
          update(place, row);
          place = place.nextElementSibling;
        } else {
          row.classList.add("new");
          current.insertBefore(row, place);
        }
      }
    }
    showExchange(next);
    const count = document.getElementById("count");
    const text = next.getElementById("count")?.textContent;
    if (count && text && count.textContent !== text) count.textContent = text;
  };

  // A row keeps its link and its summary, which may have the focus, and stays open.
  const update = (row, next) => {
    if (row.dataset.level === next.dataset.level && row.textContent === next.textContent) return;
    row.dataset.level = next.dataset.level;
    const [link, folded] = row.children;
    const [nextLink, nextFolded] = next.cloneNode(true).children;
    link.replaceChildren(...nextLink.childNodes);
    if (!folded || !nextFolded) {
      folded?.remove();
      row.append(...[nextFolded].filter(Boolean));
    } else {
      folded.firstElementChild.textContent = nextFolded.firstElementChild.textContent;
      folded.lastElementChild.replaceWith(nextFolded.lastElementChild);
    }
  };

  // An exchange goes on in stages; between them only its seconds change, and what was opened stays open.
  const showExchange = (next) => {
    const exchange = document.querySelector("article[data-stage]");
    const now = next.querySelector("article.exchange");
    if (!exchange || !now) return;
    if (exchange.dataset.stage === now.dataset.stage) {
      exchange.querySelector(".pill").textContent = now.querySelector(".pill").textContent;
      return;
    }
    const opened = new Set([...exchange.querySelectorAll(".step[open] h2")].map((title) => title.textContent));
    for (const title of now.querySelectorAll(".step h2")) {
      if (opened.has(title.textContent)) title.closest("details").open = true;
    }
    exchange.replaceWith(now);
    copyFrom(now);
  };

  const say = (state, text) => {
    live.hidden = false;
    live.dataset.state = state;
    if (live.textContent !== text) live.textContent = text;
  };

  let seen;
  const ask = async () => {
    try {
      const response = await fetch(live.dataset.news, { cache: "no-store" });
      if (!response.ok) throw new Error(response.statusText);
      const news = await response.text();
      say("on", words.live);
      // The seconds of an exchange that is under way go on without news.
      if (news !== seen || document.querySelector("[data-level=busy]")) await refresh();
      seen = news;
    } catch {
      seen = undefined; // another process may answer next, and count anew
      say("off", words.reconnecting);
    }
    setTimeout(ask, 1000);
  };
  ask();
}

const copied = async (link, text) => {
  const label = link.textContent;
  await navigator.clipboard.writeText(text);
  link.textContent = words.copied;
  setTimeout(() => (link.textContent = label), 1500);
};

function copyFrom(part) {
  for (const link of part.querySelectorAll("[data-copy], [data-link]")) {
    link.addEventListener("click", async (event) => {
      if (!navigator.clipboard || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      try {
        await copied(link, "link" in link.dataset ? link.href : (await (await fetch(link.href)).text()).trim());
      } catch {
        location.href = link.href;
      }
    });
  }
}

copyFrom(document);
