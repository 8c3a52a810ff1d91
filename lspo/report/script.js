"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (query, within) => [...(within || document).querySelectorAll(query)];
  const by = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  // What is shown is in the address: a link leads to it again.
  const usual = { tab: "overview", x: "iterations", theme: "", run: "0", pool: "judged", i: "", at: "", reason: "", show: "", find: "" };
  let state = { ...usual };
  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    state = { ...usual };
    for (const name of Object.keys(usual)) if (given.has(name)) state[name] = given.get(name);
    if (!by("tab-" + state.tab)) state.tab = usual.tab;
    if (!["iterations", "tokens", "seconds"].includes(state.x)) state.x = usual.x;
    if (!data.runs[state.run]) state.run = "0";
  };
  const set = (changes) => {
    Object.assign(state, changes);
    const words = Object.entries(state).filter(([name, value]) => value !== usual[name]);
    history.replaceState(null, "", "#" + new URLSearchParams(words));
    show();
  };

  const el = (tag, kind, text) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const draw = (tag, attributes, text) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const digits = (value, count) => (value === null || value === undefined ? "–" : value.toFixed(count));
  const numbers = (text) => text.split(",").map(Number);
  const label = (reason) => (data.reasons[reason] || [reason.replaceAll("_", " "), "r-other"])[0];
  const colour = (reason) => (data.reasons[reason] || ["", "r-other"])[1];
  const chip = (reason, text) => {
    const made = el("span", "chip " + colour(reason));
    made.append(el("i"), el("span", "", text));
    return made;
  };

  const show = () => {
    const dark = state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "dark" : "light";
    root.dataset.x = state.x;
    root.dataset.pool = state.pool === "all" ? "all" : "judged";
    by("theme").textContent = dark ? "Light" : "Dark";
    for (const tab of all("main > section")) tab.hidden = tab.id !== "tab-" + state.tab;
    for (const link of all(".tabs a")) {
      link.classList.toggle("on", link.dataset.tab === state.tab);
      link.setAttribute("aria-current", link.dataset.tab === state.tab ? "page" : "false");
    }
    for (const part of all("[data-run]")) part.hidden = part.dataset.run !== state.run;
    for (const button of all("#axis button")) {
      button.classList.toggle("on", button.value === state.x);
      button.setAttribute("aria-pressed", button.value === state.x);
    }
    for (const button of all(".pool button")) {
      button.classList.toggle("on", button.value === root.dataset.pool);
      button.setAttribute("aria-pressed", button.value === root.dataset.pool);
    }
    by("pick-axis").hidden = ["lengths", "responses"].includes(state.tab);
    by("pick-run").hidden = data.runs.length < 2 || ["overview", "curves"].includes(state.tab);
    by("run").value = state.run;
    if (state.tab === "lengths") showLengths();
    if (state.tab === "responses") showResponses();
  };

  // Lengths: the slider's iteration, beside the map.
  const showLengths = () => {
    const panel = document.querySelector(`.panel[data-run="${state.run}"]`);
    const rows = data.runs[state.run].lengths;
    if (!panel || !rows.length) return;
    let place = rows.findIndex((row) => row.i >= Number(state.i));
    if (state.i === "" || place < 0) place = rows.length - 1;
    const row = rows[place];
    const slider = panel.querySelector("input");
    slider.value = place;
    slider.setAttribute("aria-valuetext", "iteration " + row.i);
    panel.querySelector("output").textContent = "iteration " + row.i;
    for (const map of all("svg.map", panel)) {
      const [x0, x1] = numbers(map.dataset.x), [left, right, top, base] = numbers(map.dataset.box);
      const x = left + ((row.i - x0) / (x1 - x0)) * (right - left);
      map.querySelector(".cursor").setAttribute("d", `M${x.toFixed(1)} ${top}V${base}`);
    }
    const map = all("svg.map", panel).find((one) => getComputedStyle(one).display !== "none");
    const narrow = map.classList.contains("narrow");
    const old = panel.querySelector("svg.histogram");
    old.replaceWith(histogram(row, numbers(map.dataset.y), numbers(map.dataset.box), map.viewBox.baseVal.height, narrow, data.runs[state.run].most, map));
    readout(panel.querySelector(".readout"), row);
  };

  const histogram = (row, [y0, y1], [, , top, base], height, narrow, most, map) => {
    // Below the map it needs no room for the map's legend.
    const ticks = all("text.tick.end", map), longest = Math.max(...ticks.map((one) => one.textContent.length));
    const width = 342, left = Math.max(34, 13 + 6.4 * longest), right = 96, cut = narrow ? top - 30 : 0;
    const svg = draw("svg", { class: "chart histogram", viewBox: `0 ${cut} ${width} ${height - cut}`, role: "img", "aria-label": "Lengths of iteration " + row.i });
    svg.append(draw("text", { x: 2, y: cut + 15, class: "title" }, `Iteration ${row.i}: groups by mean length`));
    const py = (value) => base - ((Math.min(Math.max(value, y0), y1) - y0) / (y1 - y0)) * (base - top);
    const px = (count) => left + (count / most) * (width - left - right);
    const [low, high, max] = row.bounds;
    const zone = (from, to) => {
      if (to > from) svg.append(draw("rect", { class: "kept-zone", x: left, y: py(to), width: width - left - right, height: Math.max(py(from) - py(to), 0) }));
    };
    if (low !== null && high !== null) { zone(y0, low); zone(high, max === null ? y1 : max); }
    // The same ticks as the map's, so that both can be read across.
    for (const tick of ticks) {
      const y = Number(tick.getAttribute("y"));
      svg.append(draw("path", { class: "grid", d: `M${left} ${y - 4}H${width - right}` }), draw("text", { x: left - 6, y, class: "tick end" }, tick.textContent));
    }
    const names = Object.keys(data.reasons).filter((name) => name in row.counts);
    for (const name of Object.keys(row.counts)) if (!names.includes(name)) names.push(name);
    const bins = Math.max(...names.map((name) => row.counts[name].length));
    for (let bin = 0; bin < bins; bin++) {
      let sum = 0;
      const size = (row.high - row.low) / bins;
      const upper = size > 0 ? py(row.low + (bin + 1) * size) : py(row.low) - 4, lower = size > 0 ? py(row.low + bin * size) : py(row.low) + 4;
      for (const name of names) {
        const count = row.counts[name][bin] || 0;
        if (!count) continue;
        const bar = draw("rect", { class: "bar " + colour(name), x: px(sum), y: upper + 0.5, width: Math.max(px(sum + count) - px(sum), 0.5), height: Math.max(lower - upper - 1, 0.8) });
        bar.append(draw("title", {}, `${label(name)}: ${count} groups of ${digits(row.low + bin * size, 1)} to ${digits(row.low + (bin + 1) * size, 1)} tokens`));
        svg.append(bar);
        sum += count;
      }
    }
    const words = [["short up to", "b-low"], ["long from", "b-high"], ["too long above", "b-max"]];
    const places = row.bounds.map((value) => (value === null || value === undefined ? null : py(value)));
    // Labels of bounds that are close keep a distance.
    let last = Infinity;
    const shown = places.map((y) => (y === null ? null : (last = Math.min(y + 4, last - 24))));
    row.bounds.forEach((value, which) => {
      if (places[which] === null) return;
      svg.append(draw("path", { class: "line bound " + words[which][1], d: `M${left} ${places[which]}H${width - right + 4}` }));
      svg.append(draw("text", { x: width - right + 8, y: shown[which] - 2, class: "label" }, words[which][0]));
      svg.append(draw("text", { x: width - right + 8, y: shown[which] + 10, class: "label" }, digits(value, 1) + " tokens"));
    });
    svg.append(draw("path", { class: "axis", d: `M${left} ${top}V${base}H${width - right}` }));
    const step = Math.max(1, [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000].find((one) => most / one <= 4) || Math.ceil(most / 4));
    for (let count = 0; count <= most; count += step) svg.append(draw("text", { x: px(count), y: base + 16, class: "tick middle" }, String(count)));
    svg.append(draw("text", { x: (left + width - right) / 2, y: height - 5, class: "label middle" }, "groups"));
    return svg;
  };

  const readout = (place, row) => {
    const sums = Object.entries(row.counts).map(([name, bins]) => [name, bins.reduce((sum, one) => sum + one, 0)]);
    const order = Object.keys(data.reasons);
    sums.sort((one, other) => order.indexOf(one[0]) - order.indexOf(other[0]));
    const total = sums.reduce((sum, [, count]) => sum + count, 0);
    const head = el("p");
    head.append(el("b", "", `${total} groups generated`), row.rounds ? ` in ${row.rounds} round${row.rounds > 1 ? "s" : ""}` : "");
    if (row.groups.trained) head.append(`, ${row.groups.trained} trained on`);
    const chips = el("p");
    for (const [name, count] of sums) chips.append(chip(name, `${label(name)} ${count} (${((100 * count) / total).toFixed(0)}%)`));
    place.replaceChildren(head, chips);
    for (const [side, [groups, accuracy, length, advantage]] of Object.entries(row.sides)) {
      const share = accuracy === null ? "–" : (100 * accuracy).toFixed(0) + "%";
      place.append(el("p", "soft", `${side} side, trained on: ${digits(groups, 0)} groups, mean length ${digits(length, 1)} tokens, accuracy ${share}, mean absolute advantage ${digits(advantage, 2)}`));
    }
  };

  // Responses: all of it is text of a model, and put in as text alone.
  let drawn = "";
  const showResponses = () => {
    const part = document.querySelector(`.responses[data-run="${state.run}"]`);
    const groups = data.runs[state.run].responses;
    if (!part || !groups.length) return;
    const wanted = [state.run, state.at, state.reason, state.show, state.find].join("\n");
    if (wanted === drawn) return;
    drawn = wanted;
    const choose = (name, values, words) => {
      const list = part.querySelector(`select[name=${name}]`);
      if (list.options.length < 2) for (const value of values) list.append(new Option(words(value), value));
      list.value = state[name];
    };
    choose("at", [...new Set(groups.map((group) => group.iteration))], (value) => "iteration " + value);
    const present = new Set(groups.map((group) => group.reason));
    choose("reason", [...Object.keys(data.reasons), ...present].filter((name, place, names) => present.has(name) && names.indexOf(name) === place), label);
    part.querySelector("select[name=show]").value = state.show;
    const find = part.querySelector("input");
    if (find.value !== state.find) find.value = state.find;
    const sought = state.find.toLowerCase();
    const fits = (group) =>
      (state.at === "" || group.iteration === Number(state.at)) &&
      (state.reason === "" || group.reason === state.reason) &&
      (state.show === "" || group.responses.some((one) => one.right === (state.show === "right"))) &&
      (!sought || [group.id, group.prompt, group.answer, ...group.responses.map((one) => one.text)].some((text) => text.toLowerCase().includes(sought)));
    const found = groups.filter(fits);
    part.querySelector(".count").textContent = `${found.length} of ${groups.length} groups`;
    const list = part.querySelector(".list");
    list.replaceChildren();
    const more = (from) => {
      for (const group of found.slice(from, from + 40)) list.append(card(group, from === 0 && group === found[0]));
      if (found.length > from + 40) {
        const button = el("button", "", `Show ${Math.min(40, found.length - from - 40)} more`);
        button.onclick = () => { button.remove(); more(from + 40); };
        list.append(button);
      }
    };
    more(0);
    if (!found.length) list.append(el("p", "empty", "No group is like this. Change the filters."));
  };

  const card = (group, open) => {
    const made = el("details", "group"), head = el("summary");
    const right = group.responses.filter((one) => one.right).length;
    head.append(chip(group.reason, label(group.reason)), el("span", "", `iteration ${group.iteration}`), el("span", "", `${right} of ${group.responses.length} right`), el("span", "", `${digits(group.length, 1)} tokens`), el("span", "soft", group.id));
    made.append(head);
    const fill = () => {
      if (made.children.length > 1) return;
      const inside = el("div", "inside");
      inside.append(el("p", "", group.why), el("span", "soft", "prompt"), el("pre", "", group.prompt), el("span", "soft", "answer"), el("pre", "", group.answer), el("span", "soft", "responses"));
      const shown = group.responses.filter((one) => state.show === "" || one.right === (state.show === "right"));
      const answers = el("div", "answers" + (shown.some((one) => one.text.length > 400) ? " long" : ""));
      for (const one of shown) {
        const answer = el("div", "answer" + (one.right ? " right" : "")), words = el("span", "soft");
        words.append(el("b", "", one.right ? "✓ right" : "✗ wrong"), ` · reward ${digits(one.reward, 2)}`);
        for (const [name, value] of Object.entries(one.parts)) words.append(` · ${name} ${typeof value === "number" ? digits(value, 2) : value}`);
        words.append(` · ${one.tokens} tokens${one.truncated ? " · cut at the limit" : ""}`);
        answer.append(words, el("pre", "", one.text));
        answers.append(answer);
      }
      inside.append(answers);
      made.append(inside);
    };
    made.addEventListener("toggle", fill);
    if (open) { fill(); made.open = true; }
    return made;
  };

  // Values under the pointer, read back from the drawn lines.
  const tip = el("div", "tip");
  tip.hidden = true;
  document.body.append(tip);
  const words = (value, unit) => {
    const size = Math.abs(value);
    if (unit === "share") return (100 * value).toFixed(size < 0.02 ? 2 : 1) + "%";
    if (unit === "tokens") return size >= 1e6 ? (value / 1e6).toFixed(2) + "M tokens" : Math.round(value).toLocaleString("en") + " tokens";
    if (unit === "seconds") return size >= 7200 ? (value / 3600).toFixed(2) + " h" : size >= 120 ? (value / 60).toFixed(1) + " min" : value.toFixed(1) + " s";
    if (unit === "iterations") return "iteration " + Math.round(value);
    return size !== 0 && size < 0.01 ? value.toExponential(1) : size >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
  };
  const point = (event) => {
    const svg = event.target.closest && event.target.closest("svg[data-box]:not(.map)");
    for (const line of all(".hover")) line.remove();
    tip.hidden = true;
    if (!svg) return;
    const [left, right, top, base] = numbers(svg.dataset.box), [x0, x1] = numbers(svg.dataset.x), [y0, y1] = numbers(svg.dataset.y);
    const box = svg.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    if (at < left - 4 || at > right + 4) return;
    const found = [];
    let nearest = null;
    for (const path of all("path[data-label]", svg)) {
      const points = path.getAttribute("d").slice(1).split("L").map((pair) => pair.split(" ").map(Number));
      const close = points.reduce((best, one) => (Math.abs(one[0] - at) < Math.abs(best[0] - at) ? one : best));
      nearest = nearest === null || Math.abs(close[0] - at) < Math.abs(nearest - at) ? close[0] : nearest;
      found.push([path.dataset.label, y0 + ((base - close[1]) / (base - top)) * (y1 - y0)]);
    }
    if (nearest === null) return;
    const where = words(x0 + ((nearest - left) / (right - left)) * (x1 - x0), state.x);
    tip.textContent = [where, ...found.map(([name, value]) => (found.length > 1 ? name + ": " : "") + words(value, svg.dataset.unit))].join("\n");
    svg.append(draw("path", { class: "hover", d: `M${nearest} ${top}V${base}` }));
    tip.hidden = false;
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
    tip.style.top = Math.max(event.clientY - tip.offsetHeight - 12, 4) + "px";
  };

  // A picture as a file: with its colours put in, as it has no page around it.
  const save = (link) => {
    const svg = all("svg", link.closest("figure")).find((one) => getComputedStyle(one).display !== "none");
    const copy = svg.cloneNode(true), box = svg.viewBox.baseVal, colours = getComputedStyle(root);
    for (const line of all(".hover", copy)) line.remove();
    copy.setAttribute("width", box.width);
    copy.setAttribute("height", box.height);
    const value = (name) => colours.getPropertyValue(name).trim();
    const style = draw("style", {}, by("plots").textContent.replace(/var\((--[\w-]+)\)/g, (_, name) => value(name)));
    copy.prepend(style, draw("rect", { width: "100%", height: "100%", fill: value("--surface") }));
    const text = new XMLSerializer().serializeToString(copy), name = (link.closest("figure").dataset.name || "plot");
    const offer = (address, ending) => Object.assign(el("a"), { href: address, download: `${name}.${ending}` }).click();
    const address = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
    if (link.dataset.save === "svg") return offer(address, "svg");
    const image = new Image();
    image.onload = () => {
      const canvas = Object.assign(el("canvas"), { width: 3 * box.width, height: 3 * box.height });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      offer(canvas.toDataURL("image/png"), "png");
    };
    image.src = address;
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-tab], [data-save], .pool button, #axis button, #theme");
    if (!link) return;
    event.preventDefault();
    if (link.dataset.tab) { set({ tab: link.dataset.tab }); scrollTo(0, 0); }
    else if (link.dataset.save) save(link);
    else if (link.closest(".pool")) set({ pool: link.value });
    else if (link.id === "theme") set({ theme: root.dataset.theme === "dark" ? "light" : "dark" });
    else set({ x: link.value });
  });
  document.addEventListener("input", (event) => {
    const from = event.target;
    if (from.id === "run") set({ run: from.value, i: "", at: "", reason: "" });
    else if (from.type === "range") set({ i: String(data.runs[state.run].lengths[from.value].i) });
    else if (from.name) set({ [from.name]: from.value });
  });
  document.addEventListener("pointermove", point);
  addEventListener("hashchange", () => { read(); show(); });
  addEventListener("resize", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  read();
  show();
})();
