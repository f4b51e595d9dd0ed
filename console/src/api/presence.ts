/** Whether somebody is there: the idle time of a session counts from what people do, not from what this page reads by itself. */

const AWAY_MS = 60_000;

let last = Date.now();

export function watchPresence() {
  for (const kind of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart']) {
    addEventListener(kind, () => (last = Date.now()), { passive: true, capture: true });
  }
}

export const isAttended = () => Date.now() - last < AWAY_MS;
