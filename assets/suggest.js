// Completes the word that is being typed into a field with `data-suggest`, the address that knows what there is.
// The field stays an ordinary one: whoever ignores the list types on.

const WAIT_MS = 120

export function watchSuggestions () {
  suggestIn(document)
  // Parts of the page that came later.
  document.body.addEventListener('htmx:load', event => suggestIn(event.detail.elt))
}

function suggestIn (part) {
  for (const input of part.querySelectorAll('[data-suggest]:not([role])')) suggestFor(input)
}

function suggestFor (input) {
  const list = document.createElement('ul')
  list.id = 'suggestions'
  list.setAttribute('role', 'listbox')
  list.setAttribute('aria-label', 'Suggestions')
  list.hidden = true
  input.after(list)
  for (const [name, value] of Object.entries({ role: 'combobox', 'aria-autocomplete': 'list', 'aria-controls': list.id, 'aria-expanded': 'false' })) {
    input.setAttribute(name, value)
  }
  let asked = 0
  let timer

  const close = () => {
    asked++
    list.hidden = true
    input.setAttribute('aria-expanded', 'false')
    input.removeAttribute('aria-activedescendant')
  }
  const chosen = () => list.querySelector('[aria-selected="true"]')
  const choose = option => {
    chosen()?.setAttribute('aria-selected', 'false')
    option?.setAttribute('aria-selected', 'true')
    if (option) input.setAttribute('aria-activedescendant', option.id)
  }
  const take = option => {
    const { start } = wordAt(input)
    const text = option.textContent
    const space = /[:><]$/.test(text) ? '' : ' '
    input.setRangeText(text + space, start, input.selectionEnd, 'end')
    close()
    if (!space) ask()
  }
  const ask = async () => {
    const mine = ++asked
    const { word } = wordAt(input)
    const answer = await fetch(`${input.dataset.suggest}?token=${encodeURIComponent(word)}`, { headers: { accept: 'application/json' } }).catch(() => null)
    // A late answer is about what was typed before; a failed one only leaves the field as it is.
    if (mine !== asked || !answer?.ok || answer.redirected) return
    const options = await answer.json()
    // What was chosen meanwhile stays chosen if it is still there: Enter is already on its way to it.
    const kept = chosen()?.textContent
    list.replaceChildren(...options.map((text, i) => {
      const option = document.createElement('li')
      option.id = `suggestion-${i}`
      option.setAttribute('role', 'option')
      option.setAttribute('aria-selected', 'false')
      option.textContent = text
      option.addEventListener('mousedown', event => { event.preventDefault(); take(option) })
      return option
    }))
    input.removeAttribute('aria-activedescendant')
    choose(list.children[options.indexOf(kept)])
    list.hidden = options.length === 0
    input.setAttribute('aria-expanded', String(!list.hidden))
  }

  input.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(ask, WAIT_MS) })
  input.addEventListener('focus', ask)
  input.addEventListener('blur', close)
  input.addEventListener('keydown', event => {
    if (list.hidden) return
    const options = [...list.children]
    const at = options.indexOf(chosen())
    if (event.key === 'ArrowDown') choose(options[(at + 1) % options.length])
    else if (event.key === 'ArrowUp') choose(options[(at - 1 + options.length) % options.length])
    else if (event.key === 'Escape') close()
    else if ((event.key === 'Enter' || event.key === 'Tab') && chosen()) take(chosen())
    else return
    event.preventDefault()
  })
}

// The word before the caret, quotes and all.
function wordAt (input) {
  const before = input.value.slice(0, input.selectionEnd)
  const start = before.match(/(?:[^\s"]|"[^"]*"?)*$/).index
  return { start, word: before.slice(start) }
}
