/* Tables that can be sorted and downloaded, panels of data sets, folded chapters. Nothing is fetched. */
(() => {
  "use strict";
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };

  // Value of a cell: what the table says in data-sort, else its text; numbers are compared as numbers.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = !cell ? "" : (cell.dataset.sort ?? cell.innerText).trim();
    const number = Number(text.replace(/,/g, "").replace(/^[+–-](?=\d)/, (sign) => (sign === "+" ? "" : "-")));
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text.toLowerCase() : number;
  };

  // Sort the rows within each part of a table. Controls and rows without a value stay last, whatever the direction.
  const sortBody = (body, column, ascending) => {
    const rows = [...body.rows].filter((row) => !isPart(row)).map((row, place) => ({ row, place, value: valueOf(row, column) }));
    const last = ({ row, value }) => (isControl(row) ? 2 : value === null ? 1 : 0);
    rows.sort((a, b) => {
      const group = last(a) - last(b);
      if (group !== 0 || a.value === null || b.value === null) return group || a.place - b.place;
      const mixed = typeof a.value !== typeof b.value;
      const [x, y] = mixed ? [String(a.value), String(b.value)] : [a.value, b.value];
      return (x < y ? -1 : x > y ? 1 : 0) * (ascending ? 1 : -1) || a.place - b.place;
    });
    body.append(...rows.map(({ row }) => row));
  };
  const sortBy = (table, column, ascending) => {
    [...table.tBodies].forEach((body) => sortBody(body, column, ascending));
    shorten(table);
  };

  // Of a long table the first rows of the present order are shown, and the first controls; a button shows the others.
  const LIMITS = { long: 14, rows: 10, controls: 4 };
  const OVERVIEW = { long: 26, rows: 20, controls: 4 };
  const limitsOf = (table) => (table.classList.contains("scfm-overview") ? OVERVIEW : LIMITS);
  const isPart = (row) => row.classList.contains("scfm-part");
  const isControl = (row) => row.classList.contains("scfm-control");
  const bodyRows = (table) => [...table.tBodies].flatMap((body) => [...body.rows]);
  function shorten(table) {
    const short = table.classList.contains("scfm-short");
    const { rows, controls } = limitsOf(table);
    const seen = { rows: 0, controls: 0 };
    bodyRows(table).filter((row) => !isPart(row)).forEach((row) => {
      row.hidden = short && (isControl(row) ? ++seen.controls > controls : ++seen.rows > rows);
    });
    let title = null; // of a part: hidden where all of its rows are
    bodyRows(table).forEach((row) => {
      if (isPart(row)) {
        title = row;
        title.hidden = short;
      } else if (title && !row.hidden) title.hidden = false;
    });
  }
  const enableMore = (table, tools) => {
    const count = bodyRows(table).filter((row) => !isPart(row)).length;
    if (count <= limitsOf(table).long) return;
    const button = make("button", { type: "button", className: "scfm-tool scfm-more" });
    const choose = (short) => {
      table.classList.toggle("scfm-short", short);
      button.textContent = short ? `Show all ${count} rows` : "Show fewer rows";
      shorten(table);
    };
    button.addEventListener("click", () => choose(!table.classList.contains("scfm-short")));
    tools.prepend(button);
    choose(true);
  };

  const enableSort = (table) => {
    all("thead th", table).forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = make("button", { type: "button", className: "scfm-sort" });
      button.append(...head.childNodes);
      if (head.title) button.title = head.title;
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.ariaSort === "descending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.ariaSort = ascending ? "ascending" : "descending";
        sortBy(table, column, ascending);
      });
    });
  };

  const asTsv = (table) =>
    [...table.rows]
      .filter((row) => !isPart(row))
      .map((row) => [...row.cells].map((cell) => cell.textContent.trim().replace(/\s+/g, " ") || cell.dataset.sort).join("\t"))
      .join("\n") + "\n";

  const enableDownload = (table, scroll) => {
    const button = make("button", { type: "button", className: "scfm-tool" }, "Download this table (TSV)");
    button.addEventListener("click", () => {
      const link = make("a", { href: URL.createObjectURL(new Blob([asTsv(table)], { type: "text/tab-separated-values" })) });
      link.download = `${(table.closest(".mqc-section")?.querySelector(".scfm-heading")?.id ?? "table")}.tsv`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
    const tools = make("p", { className: "scfm-tools" }, button);
    scroll.after(tools);
    return tools;
  };

  // A box that is wider than the page says so, and can be scrolled with the keyboard.
  const enableScroll = (box) => {
    const wide = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scfm-wide", wide);
    if (wide) {
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      const heading = box.closest(".mqc-section")?.querySelector(".scfm-heading")?.id ?? "table";
      box.setAttribute("aria-label", `${heading} ${all(".scfm-scroll").indexOf(box) + 1}: scroll sideways`);
    }
  };
  const enableScrolls = () => all(".scfm-scroll").filter((box) => box.clientWidth).forEach(enableScroll);

  // Panels with titles become tabs.
  const enableTabs = (box) => {
    const panels = all(":scope > .scfm-panel", box);
    const choose = (chosen) => {
      panels.forEach((panel) => (panel.hidden = panel !== chosen));
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(panels[i] === chosen)));
      refresh();
    };
    const buttons = panels.map((panel) => {
      const button = make("button", { type: "button", className: "scfm-tool" }, panel.dataset.title);
      button.addEventListener("click", () => choose(panel));
      return button;
    });
    const group = make("div", { className: "scfm-switch" }, ...buttons);
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Shown");
    box.prepend(group);
    box.classList.add("scfm-on");
    choose(panels[0]);
  };

  // One switch for all panels of data sets: the first is shown, the choice holds for the whole page.
  const names = [...new Set(all(".scfm-dataset").map((panel) => panel.dataset.dataset))];
  const show = (name) => {
    all(".scfm-dataset").forEach((panel) => {
      const siblings = all(".scfm-dataset", panel.closest(".scfm-chapter"));
      const has = siblings.some((other) => other.dataset.dataset === name);
      panel.hidden = has ? panel.dataset.dataset !== name : panel !== siblings[0];
    });
    all(".scfm-switch button[data-dataset]").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.dataset === name));
    });
    refresh();
  };
  const enableSwitches = () => {
    all(".scfm-chapter").forEach((chapter) => {
      const panels = all(".scfm-dataset", chapter);
      if (panels.length < 2) return;
      const buttons = panels.map((panel) => {
        const button = make("button", { type: "button", className: "scfm-tool" }, panel.dataset.dataset);
        button.dataset.dataset = panel.dataset.dataset;
        button.addEventListener("click", () => show(panel.dataset.dataset));
        return button;
      });
      const group = make("div", { className: "scfm-switch" }, make("span", {}, "Data set:"), ...buttons);
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", "Data set");
      panels[0].before(group);
      chapter.classList.add("scfm-on");
    });
    if (names.length > 1) show(names[0]);
  };

  // MultiQC draws the plots that can be seen when the page opens; the others are drawn when they appear.
  const drawPlots = () => {
    all(".hc-plot.not_loaded")
      .filter((plot) => plot.offsetParent !== null && window.mqc_plots?.[plot.id])
      .forEach((plot) => {
        plot.classList.remove("not_loaded");
        window.renderPlot(plot.id);
      });
  };

  // Plots and scroll hints are measured again when a part of the page appears: once a frame, however many did.
  let waiting = false;
  function refresh() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawPlots();
      window.dispatchEvent(new Event("resize"));
    });
  }

  // A link into a closed chapter, or into the panel of another data set, opens it.
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) {
      if (node.tagName === "DETAILS") node.open = true;
      if (node.classList?.contains("scfm-folded")) node.hidden = false;
      if (node.tagName === "TR") node.hidden = false;
      if (node.classList?.contains("scfm-dataset") && node.hidden) show(node.dataset.dataset);
    }
    const own = target.closest("summary")?.parentElement;
    if (own) own.open = true;
    target.scrollIntoView();
  };

  // What is folded takes no time: browsers lay out closed details, but nothing that is hidden.
  const enableFold = (fold) => {
    const content = fold.querySelector(".scfm-folded");
    content.hidden = !fold.open;
    fold.addEventListener("toggle", () => (content.hidden = !fold.open));
  };

  const start = () => {
    all(".scfm-fold").forEach(enableFold);
    all(".scfm-chapter table").filter((table) => table.tHead && table.tBodies.length).forEach((table) => {
      if ([...table.tBodies].some((body) => body.rows.length > 1)) enableSort(table);
      enableMore(table, enableDownload(table, table.closest(".scfm-scroll") ?? table));
    });
    all(".scfm-tabs").forEach(enableTabs);
    enableSwitches();
    refresh();
    all("details").forEach((fold) => fold.addEventListener("toggle", refresh));
    // a change of the page's width or of a table's, as when the fonts have loaded
    const sizes = new ResizeObserver(enableScrolls);
    all(".scfm-scroll").forEach((box) => [box, box.firstElementChild].forEach((part) => part && sizes.observe(part)));
    window.addEventListener("hashchange", reveal);
    window.addEventListener("beforeprint", () => {
      all(".scfm-chapter details").forEach((fold) => (fold.open = true));
      all(".scfm-folded").forEach((content) => (content.hidden = false));
      all(".scfm-short").forEach((table) => (table.classList.remove("scfm-short"), shorten(table)));
    });
    reveal();
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
