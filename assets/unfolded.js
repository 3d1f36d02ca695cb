// Parts that are kept up to date are drawn anew again and again: what somebody has unfolded there stays unfolded.

const unfolded = new WeakMap()

export function watchUnfolded () {
  document.body.addEventListener('htmx:beforeSwap', ({ detail: { target } }) => {
    unfolded.set(target, [...target.querySelectorAll('details[id][open]')].map(({ id }) => id))
  })
  document.body.addEventListener('htmx:afterSwap', ({ detail: { target } }) => {
    for (const id of unfolded.get(target) ?? []) document.getElementById(id)?.setAttribute('open', '')
  })
}
