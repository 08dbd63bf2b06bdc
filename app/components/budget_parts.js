// What the board of budget_slider.js is made of; Python puts this file before that one.

const OPERANDS = { "attention product": ["second operand", "first operand"] }

// Text is written where it changed, and never as HTML: names are a user's.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text
}

function make(tag, name = "", text = "") {
  const node = document.createElement(tag)
  if (name) node.className = name
  node.textContent = text
  return node
}

// What a line says at a row: some of it is the same at all rows.
function at(texts, row) {
  return Array.isArray(texts) ? texts[row] : texts
}

// A layer: a bar of its weights' bits; under it, where some differ, one of its activations' bits.
class Bar {
  constructor(table, index) {
    this.table = table
    this.index = index
    this.kind = table.kinds[index]
    this.weight = this.activation = ""
    this.bought = this.locked = false
    this.node = make("button", "layer")
    this.node.type = "button"
    this.node.tabIndex = -1
    this.node.dataset.index = index
    this.up = make("span", "bar")
    this.down = table.activation ? make("span", "bar") : null
    const halves = [make("span", "half up"), make("span", "mark")]
    halves[0].append(this.up)
    if (this.down) {
      halves.push(make("span", "half down"))
      halves[2].append(this.down)
    }
    this.node.append(...halves)
  }

  bits(row) {
    const { weight, activation } = this.table
    return [weight[row][this.index], (activation ?? weight)[row][this.index]]
  }

  draw(row) {
    const [weight, activation] = this.bits(row)
    const [weightBefore, activationBefore] = this.bits(Math.max(0, row - 1))
    const bought = weight !== weightBefore || activation !== activationBefore
    if (bought !== this.bought) this.node.classList.toggle("new", this.bought = bought)
    if (weight === this.weight && activation === this.activation) return
    if (weight !== this.weight) this.show(this.up, weight)
    if (this.down && activation !== this.activation) this.show(this.down, activation)
    this.weight = weight
    this.activation = activation
    this.name()
  }

  // What is more than 8 bits wide has a letter that only the colours know.
  show(bar, bits) {
    bar.dataset.bits = bits
    bar.textContent = { 9: "16", f: "F" }[bits] ?? bits
  }

  lock(locked) {
    this.locked = locked
    this.node.classList.toggle("locked", locked)
    this.name()
  }

  choose(chosen) {
    this.node.classList.toggle("chosen", chosen)
  }

  name() {
    this.node.setAttribute("aria-label", this.described())
  }

  described() {
    const [second, first] = OPERANDS[this.kind] ?? ["weights", "activations"]
    const [weights, activations] = this.table.names
    const bits = `${second} ${weights[this.weight]}, ${first} ${activations[this.activation]} bits`
    return `${this.table.layers[this.index]}: ${bits}${this.locked ? ", locked" : ""}`
  }
}

// A line of the table of figures: "mixed", "uniform" or "plain", with its accuracy on a track.
class Line {
  constructor(table, name) {
    const { title, cells, top1 } = table.lines[name]
    this.texts = cells
    this.top1 = top1
    this.missing = name === "plain" ? "not measured" : "not predicted"
    this.cells = cells.map(() => make("td"))
    this.accuracy = make("td")
    this.number = make("span", "number")
    this.note = make("span", "note")
    this.accuracy.append(this.number, this.note)
    this.node = make("tr", name)
    const head = make("th", "", title), scale = make("td", "scale")
    head.scope = "row"
    if (top1 !== null) scale.append(this.makeTrack(table.scale))
    this.node.append(head, ...this.cells, this.accuracy, scale)
  }

  makeTrack([low, high]) {
    this.place = value => 100 * (value - low) / (high - low) + "%"
    this.track = make("span", "track")
    this.track.append(make("span", "band"), make("span", "dot"))
    return this.track
  }

  draw(row) {
    this.cells.forEach((cell, index) => put(cell, at(this.texts[index], row)))
    const numbers = at(this.top1, row)?.split(" ") ?? []
    const [low, middle, high] = numbers.length === 1 ? [null, ...numbers, null] : numbers
    put(this.number, middle === undefined ? "–" : middle + " %")
    put(this.note, this.said(low, middle, high))
    if (middle === undefined) return
    this.track.style.setProperty("--at", this.place(middle))
    this.track.style.setProperty("--from", this.place(low ?? middle))
    this.track.style.setProperty("--to", this.place(high ?? middle))
  }

  // What was measured and what is predicted are never said in the same words.
  said(low, middle, high) {
    if (middle === undefined) return this.missing
    return low === null ? "measured" : `predicted, ${low} to ${high} %`
  }
}
