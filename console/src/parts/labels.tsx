/** The two axes, readiness and expiry, and what else has a state: always colour, icon and word. */

import { Label, type LabelProps } from '@patternfly/react-core';
import BanIcon from '@patternfly/react-icons/dist/esm/icons/ban-icon';
import CheckCircleIcon from '@patternfly/react-icons/dist/esm/icons/check-circle-icon';
import ClockIcon from '@patternfly/react-icons/dist/esm/icons/clock-icon';
import ExclamationCircleIcon from '@patternfly/react-icons/dist/esm/icons/exclamation-circle-icon';
import ExclamationTriangleIcon from '@patternfly/react-icons/dist/esm/icons/exclamation-triangle-icon';
import HourglassHalfIcon from '@patternfly/react-icons/dist/esm/icons/hourglass-half-icon';
import InfoCircleIcon from '@patternfly/react-icons/dist/esm/icons/info-circle-icon';
import MinusCircleIcon from '@patternfly/react-icons/dist/esm/icons/minus-circle-icon';
import SyncAltIcon from '@patternfly/react-icons/dist/esm/icons/sync-alt-icon';
import TrashIcon from '@patternfly/react-icons/dist/esm/icons/trash-icon';
import UserIcon from '@patternfly/react-icons/dist/esm/icons/user-icon';
import type { ComponentType } from 'react';

type Look = { color: NonNullable<LabelProps['color']>; icon: ComponentType; word: string };

const look = (color: Look['color'], icon: ComponentType, word: string): Look => ({ color, icon, word });

const STATES: Record<string, Look> = {
  Ready: look('green', CheckCircleIcon, 'Ready'),
  Issuing: look('blue', SyncAltIcon, 'Issuing'),
  Pending: look('blue', HourglassHalfIcon, 'Pending'),
  Failed: look('red', ExclamationCircleIcon, 'Failed'),
  Blocked: look('orange', BanIcon, 'Blocked'),
  NotReady: look('red', ExclamationCircleIcon, 'Not ready'),
  Deleting: look('grey', TrashIcon, 'Deleting'),
  Unknown: look('grey', InfoCircleIcon, 'Not looked at yet'),
  Expired: look('red', ExclamationCircleIcon, 'Expired'),
  Late: look('orange', ExclamationTriangleIcon, 'Late'),
  Drift: look('orange', ExclamationTriangleIcon, 'Drift'),
};

/** Days until the end, in the bands that operators know; first match counts. */
const BANDS: Record<string, Look> = {
  expired: look('red', ExclamationCircleIcon, 'Expired'),
  '7': look('red', ExclamationTriangleIcon, '≤ 7 days'),
  '30': look('orangered', ExclamationTriangleIcon, '≤ 30 days'),
  '90': look('orange', ClockIcon, '≤ 90 days'),
  '180': look('yellow', ClockIcon, '≤ 180 days'),
  ok: look('green', CheckCircleIcon, '> 180 days'),
};

const SYNC: Record<string, Look> = {
  InSync: look('green', CheckCircleIcon, 'In sync'),
  Pending: look('blue', HourglassHalfIcon, 'Pending'),
  Drifted: look('orange', ExclamationTriangleIcon, 'Drifted'),
  Missing: look('red', MinusCircleIcon, 'Missing'),
  Foreign: look('grey', InfoCircleIcon, 'Foreign'),
  Unreadable: look('red', BanIcon, 'Unreadable'),
};

/** Not an Event of occm, but something that a person did. */
const PERSON: Record<string, Look> = { Person: look('purple', UserIcon, 'Person') };

const SEVERITIES: Record<string, Look> = {
  Normal: look('grey', InfoCircleIcon, 'Normal'),
  Warning: look('orange', ExclamationTriangleIcon, 'Warning'),
};

const VERDICTS: Record<string, Look> = {
  Valid: look('green', CheckCircleIcon, 'Valid'),
  Invalid: look('red', ExclamationCircleIcon, 'Invalid'),
  Unknown: look('grey', InfoCircleIcon, 'Unknown'),
};

const RESULTS: Record<string, Look> = {
  WouldChange: look('blue', InfoCircleIcon, 'Would change'),
  WouldAdopt: look('blue', InfoCircleIcon, 'Would adopt'),
  Changed: look('green', CheckCircleIcon, 'Changed'),
  Adopted: look('green', CheckCircleIcon, 'Adopted'),
  Created: look('green', CheckCircleIcon, 'Created'),
  Unchanged: look('grey', MinusCircleIcon, 'Unchanged'),
  Failed: look('red', ExclamationCircleIcon, 'Failed'),
};

function Chip({ table, value, title }: { table: Record<string, Look>; value: string; title?: string | undefined }) {
  const { color, icon: Icon, word } = table[value] ?? look('grey', InfoCircleIcon, spaced(value));
  return (
    <Label color={color} icon={<Icon />} isCompact variant="filled" title={title}>
      {word}
    </Label>
  );
}

/** `OutputDeleted` as `Output deleted`, for words that have no look of their own. */
function spaced(word: string): string {
  const text = word.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const StatusLabel = ({ state, title }: { state: string; title?: string }) => (
  <Chip table={STATES} value={state} title={title} />
);
export const ExpiryLabel = ({ band, title }: { band: string | undefined; title?: string }) =>
  band && BANDS[band] ? <Chip table={BANDS} value={band} title={title} /> : <span className="occm-muted">–</span>;
export const SyncLabel = ({ state }: { state: string }) => <Chip table={SYNC} value={state} />;
export const SeverityLabel = ({ severity }: { severity: string }) => <Chip table={SEVERITIES} value={severity} />;
export const PersonLabel = () => <Chip table={PERSON} value="Person" />;
export const VerdictLabel = ({ verdict }: { verdict: string }) => <Chip table={VERDICTS} value={verdict} />;
export const ResultLabel = ({ result }: { result: string }) => <Chip table={RESULTS} value={result} />;

export const bandWord = (band: string) => BANDS[band]?.word ?? band;
export const STATE_NAMES = ['Ready', 'Issuing', 'Failed', 'Blocked'];
export const BAND_NAMES = Object.keys(BANDS);
