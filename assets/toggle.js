// The button that changes between light and dark.

const isDark = () => {
  const chosen = document.documentElement.dataset.theme
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
}

export function watchTheme () {
  const button = document.querySelector('[data-theme-toggle]')
  if (!button) return
  const show = () => button.setAttribute('aria-pressed', String(isDark()))
  button.addEventListener('click', () => {
    const theme = isDark() ? 'light' : 'dark'
    document.documentElement.dataset.theme = theme
    localStorage.setItem('lungo-theme', theme)
    show()
    document.dispatchEvent(new CustomEvent('lungo:theme'))
  })
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show)
  show()
}
