// The bell. Browsers let a page sound only after somebody has touched it.

let audio = null

/// Called on a touch. True once the page may sound.
export async function wake () {
  try {
    audio ??= new AudioContext()
    if (audio.state !== 'running') await audio.resume()
  } catch { /* A tablet without sound still shows everything. */ }
  return canSound()
}

export const canSound = () => audio?.state === 'running'

/// Two notes.
export function ring () {
  if (!canSound()) return
  for (const [at, pitch] of [[0, 880], [0.18, 1175]]) {
    const [tone, volume] = [audio.createOscillator(), audio.createGain()]
    const start = audio.currentTime + at
    tone.frequency.value = pitch
    volume.gain.setValueAtTime(0.0001, start)
    volume.gain.exponentialRampToValueAtTime(0.4, start + 0.02)
    volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.35)
    tone.connect(volume).connect(audio.destination)
    tone.start(start)
    tone.stop(start + 0.4)
  }
}
