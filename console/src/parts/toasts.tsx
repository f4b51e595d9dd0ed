/** What was done, said once, in a corner. */

import { Alert, AlertActionCloseButton, AlertGroup } from '@patternfly/react-core';
import { useSyncExternalStore } from 'react';

type Toast = { id: number; title: string; variant: 'success' | 'danger' | 'info' };

const SHOWN_MS = 6000;
let toasts: Toast[] = [];
let count = 0;
const listeners = new Set<() => void>();

function change(next: Toast[]) {
  toasts = next;
  for (const listener of listeners) listener();
}

export function toast(title: string, variant: Toast['variant'] = 'success') {
  const id = ++count;
  change([...toasts, { id, title, variant }].slice(-4));
  if (variant !== 'danger') setTimeout(() => dismiss(id), SHOWN_MS);
}

const dismiss = (id: number) => change(toasts.filter((each) => each.id !== id));

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <AlertGroup isToast isLiveRegion>
      {shown.map(({ id, title, variant }) => (
        <Alert key={id} variant={variant} title={title} actionClose={<AlertActionCloseButton onClose={() => dismiss(id)} />} />
      ))}
    </AlertGroup>
  );
}
