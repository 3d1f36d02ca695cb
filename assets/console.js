// What every page of the console can do beyond what HTML does by itself. Pages work without it.
import { watchTheme } from './toggle.js'
import { watchNotices } from './notices.js'
import { watchStreams } from './streams.js'
import { watchSuggestions } from './suggest.js'
import { watchTables } from './cards.js'
import { watchUnfolded } from './unfolded.js'

watchTheme()
watchNotices()
watchStreams()
watchSuggestions()
watchTables()
watchUnfolded()

// On a phone the sections are wider than the window: where one is has to be seen.
document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' })
