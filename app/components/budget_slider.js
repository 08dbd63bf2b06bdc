// The live budget. Every step of the slider is drawn from a table that lies in the browser; Python
// hears that a gesture began ("moved") and where it ended ("row"), and nothing in between.

const STEPPING = ["Arrow", "Home", "End", "Page"]
const HELP = "Click a bar to lock or unlock its layer, Shift-click to choose it."

// One board a component, kept over the reruns that hand it new data.
const boards = new WeakMap()

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".budget")
  if (!boards.has(root)) boards.set(root, new Board(root))
  const board = boards.get(root)
  board.setState = setStateValue
  board.tell = setTriggerValue
  board.receive(data)
}

class Board {
  constructor(root) {
    this.root = root
    this.find = selector => root.querySelector(selector)
    this.slider = this.find("input")
    this.table = null
    this.row = -1 // the row that is drawn; -1: none of this table
    this.sent = -1 // the row that Python sent last, or was sent
    this.turn = null // the commit that Python has not answered yet
    this.gesture = "" // "pointer" or "key" while one is down
    this.moved = 0 // when a gesture first moved the slider; 0: it has not yet
    this.under = -1 // the layer under the pointer, or in focus
    put(this.find(".help"), HELP)
    this.listenToSlider()
    this.listenToBars()
  }

  receive(data) {
    const table = data.table
    if (this.table?.id !== table.id) this.build(table)
    this.paint(data.colours)
    this.mark(data.locked, data.chosen)
    const answered = this.turn === null || this.turn === data.turn
    if (answered) this.turn = null
    if (answered && !this.gesture) this.slider.value = this.sent = data.row
    this.draw(Number(this.slider.value)) // the slider keeps its value within the rows
    this.root.dataset.committed = data.row
  }

  // What only a new table changes.

  build(table) {
    this.table = table
    this.row = -1
    const last = table.values.length - 1
    const ends = this.root.querySelectorAll(".ends span")
    this.slider.max = last
    this.slider.setAttribute("aria-label", table.label)
    put(this.find(".name"), table.label)
    put(ends[0], table.values[0])
    put(ends[1], table.values[last])
    this.buildFigures(table)
    // Bars stay where they can: a rebuilt one would lose the focus.
    const shape = JSON.stringify([table.layers, table.blocks, table.kinds, !table.activation])
    if (shape !== this.shape) this.buildBars(table)
    this.shape = shape
    for (const bar of this.bars) bar.table = table
  }

  buildFigures(table) {
    const labels = table.columns.map(column => column.label)
    const cells = labels.concat(table.top1).map(label => make("th", "", label))
    cells.forEach((cell, index) => {
      cell.scope = "col"
      cell.title = table.columns[index]?.help ?? ""
    })
    const scale = make("td", "scale"), ends = make("div")
    ends.append(...(table.scale ?? []).map(end => make("span", "", end + " %")))
    scale.append(ends)
    this.find("thead").replaceChildren(make("tr"))
    this.find("thead tr").append(make("td"), ...cells, scale)
    this.lines = ["mixed", "uniform", "plain"].filter(name => table.lines[name])
      .map(name => new Line(table, name))
    this.find("tbody").replaceChildren(...this.lines.map(line => line.node))
  }

  buildBars(table) {
    const alike = !table.activation
    this.root.classList.toggle("separate", !alike)
    put(this.find(".what"), alike
      ? "Bits of each layer, weights and activations alike"
      : "Bits of each layer: weights upwards, activations downwards")
    this.bars = table.layers.map((name, index) => new Bar(table, index))
    this.locked = new Set()
    this.chosen = null
    this.starts = []
    let first = 0
    const blocks = table.blocks.map(([label, count]) => {
      const block = make("div", "block"), bars = make("div", "bars")
      block.style.setProperty("--count", count)
      bars.append(...this.bars.slice(first, first + count).map(bar => bar.node))
      block.append(bars, make("span", "label", label))
      this.starts.push(first)
      first += count
      return block
    })
    const group = this.find(".blocks")
    group.setAttribute("aria-label", this.find(".what").textContent)
    group.style.setProperty("--layers", this.bars.length)
    group.style.setProperty("--tall", table.tall)
    group.style.setProperty("--groups", blocks.length)
    group.replaceChildren(...blocks)
    this.under = -1
    this.reach(0)
  }

  paint(colours) {
    const painted = JSON.stringify(colours)
    if (painted === this.painted) return
    this.painted = painted
    const swatches = colours.map(([bits, fill, ink, name]) => {
      this.root.style.setProperty("--fill-" + bits, fill)
      this.root.style.setProperty("--ink-" + bits, ink)
      const swatch = make("span", "swatch", name)
      swatch.dataset.bits = bits
      return swatch
    })
    this.find(".key").replaceChildren(...swatches, make("span", "", "bits"))
  }

  mark(locked, chosen) {
    const now = new Set(locked)
    this.bars.forEach((bar, index) => {
      if (now.has(index) !== this.locked.has(index)) bar.lock(now.has(index))
      if ((index === chosen) !== (index === this.chosen)) bar.choose(index === chosen)
    })
    this.locked = now
    if (chosen !== this.chosen && chosen !== null) this.reach(chosen)
    this.chosen = chosen
    this.read()
  }

  // What every step changes: text and attributes are written, the layout is never read.

  draw(row) {
    if (row === this.row) return
    const { table, slider } = this
    this.row = row
    slider.style.setProperty("--filled", 100 * row / (table.values.length - 1) + "%")
    slider.setAttribute("aria-valuetext", this.spoken())
    put(this.find(".value"), table.values[row])
    put(this.find(".bought"), table.steps[row])
    for (const line of this.lines) line.draw(row)
    for (const bar of this.bars) bar.draw(row)
    this.read()
  }

  spoken() {
    const { columns, lines, values } = this.table
    const { cells, top1 } = lines.mixed
    const texts = [0, 1].map(index => cells[index][this.row] + columns[index].said)
    if (top1) texts.push(`predicted ${top1[this.row].split(" ")[1]} %`)
    return `${values[this.row]}: ${texts.join(", ")}`
  }

  read() {
    const index = this.under >= 0 ? this.under : this.chosen ?? -1
    const bar = this.bars[index]
    put(this.find(".readout"), bar ? `${bar.described()} (${bar.kind})` : "")
  }

  // Gestures.

  listenToSlider() {
    const { slider } = this
    slider.oninput = () => {
      if (this.gesture && !this.moved) this.tell("moved", this.moved = Date.now())
      this.draw(Number(slider.value))
    }
    slider.onpointerdown = () => {
      this.gesture = "pointer"
      // A slider that is let go where it began fires no "change": look once that has passed.
      const later = () => setTimeout(() => this.gesture === "pointer" && this.release(), 0)
      window.addEventListener("pointerup", later, { once: true })
      window.addEventListener("pointercancel", later, { once: true })
    }
    slider.onkeydown = event => {
      if (STEPPING.some(key => event.key.startsWith(key))) this.gesture = "key"
    }
    // A key that is held fires "change" at every step; it commits when it is let go.
    slider.onchange = () => { if (this.gesture !== "key") this.release() }
    slider.onkeyup = () => { if (this.gesture === "key") this.release() }
    slider.onblur = () => { if (this.gesture) this.release() }
  }

  release() {
    const { moved } = this
    this.gesture = ""
    this.moved = 0
    if (!moved && this.row === this.sent) return
    this.sent = this.row
    this.turn = moved || Date.now() // else a row that Python heard of last would be no news
    this.setState("row", [this.row, this.turn])
    put(this.find(".said"), `${this.spoken()}. Latest bought: ${this.table.steps[this.row]}`)
  }

  listenToBars() {
    const group = this.find(".blocks")
    const hit = event => Number(event.target.closest?.("button")?.dataset.index ?? -1)
    const look = index => {
      this.under = index
      this.read()
    }
    group.onclick = event => {
      const name = this.table.layers[hit(event)]
      if (name !== undefined) this.tell(event.shiftKey ? "chosen" : "lock", name)
    }
    group.onpointerover = event => look(hit(event))
    group.onpointerleave = () => look(-1)
    group.onfocusout = () => look(-1)
    group.onfocusin = event => {
      this.reach(hit(event))
      look(hit(event))
    }
    group.onkeydown = event => {
      const next = this.beside(hit(event), event.key)
      if (next === null) return
      event.preventDefault()
      this.bars[next].node.focus()
    }
  }

  // Arrows step through layers and, upwards and downwards, through blocks.
  beside(index, key) {
    const last = this.bars.length - 1
    const { starts } = this
    const block = starts.findLastIndex(start => start <= index)
    const next = {
      ArrowLeft: index - 1,
      ArrowRight: index + 1,
      ArrowUp: starts[Math.max(0, block - 1)],
      ArrowDown: starts[Math.min(starts.length - 1, block + 1)],
      Home: 0,
      End: last,
    }[key]
    return next === undefined ? null : Math.max(0, Math.min(last, next))
  }

  // One bar at a time is on the way of the Tab key.
  reach(index) {
    this.bars.forEach((bar, i) => { bar.node.tabIndex = i === index ? 0 : -1 })
  }
}
