// Where the window is narrow, the rows of wide tables are shown as cards, by the style sheet: each value then stands
// beside the name of its column, which is taken from the table's head. Without this script they scroll sideways.

export function watchTables () {
  name(document)
  document.body.addEventListener('htmx:afterSwap', event => name(event.target))
}

function name (place) {
  for (const table of place.querySelectorAll('.scroll > table')) {
    const columns = [...table.tHead?.rows[0]?.cells ?? []].map(cell => cell.textContent.trim())
    table.classList.add('cards-if-narrow')
    // What is no longer laid out as a table is still one to whoever listens.
    table.setAttribute('role', 'table')
    for (const row of table.rows) {
      row.setAttribute('role', 'row')
      let at = 0
      for (const cell of row.cells) {
        cell.setAttribute('role', cell.tagName === 'TH' ? 'columnheader' : 'cell')
        if (cell.colSpan === 1 && cell.tagName === 'TD') cell.dataset.column = columns[at] ?? ''
        at += cell.colSpan
      }
    }
  }
}
