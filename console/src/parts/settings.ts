/** What a person chose in this browser: theme, time zone. */

import { useSyncExternalStore } from 'react';

const DEFAULTS = { theme: 'system', zone: 'utc' };
type Name = keyof typeof DEFAULTS;

const listeners = new Set<() => void>();
const values = { ...DEFAULTS };
for (const name of Object.keys(DEFAULTS) as Name[]) values[name] = stored(name) ?? DEFAULTS[name];

function stored(name: Name): string | undefined {
  try {
    return localStorage.getItem(`occm.${name}`) ?? undefined;
  } catch {
    return undefined;
  }
}

export function set(name: Name, value: string) {
  values[name] = value;
  try {
    localStorage.setItem(`occm.${name}`, value);
  } catch {
    // It holds until the page is closed.
  }
  if (name === 'theme') applyTheme();
  for (const listener of listeners) listener();
}

export function useSetting(name: Name): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => values[name],
  );
}

export const zone = () => values.zone;

const prefersDark = typeof matchMedia === 'function' ? matchMedia('(prefers-color-scheme: dark)') : undefined;
prefersDark?.addEventListener('change', applyTheme);

function applyTheme() {
  const dark = values.theme === 'dark' || (values.theme === 'system' && Boolean(prefersDark?.matches));
  document.documentElement.classList.toggle('pf-v6-theme-dark', dark);
}
