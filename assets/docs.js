// The reference works without a script; this adds the choice of the theme.
import { watchTheme } from './toggle.js'

watchTheme()
