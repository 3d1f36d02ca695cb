// Before anything is drawn: the theme that was chosen, if one was. Without one the system's choice counts.
{
  const chosen = localStorage.getItem('lungo-theme')
  if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen
}
