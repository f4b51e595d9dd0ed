/** Log level, limits, session, and how this console looks. */

import { Button, Form, FormGroup, FormSelect, FormSelectOption, ToggleGroup, ToggleGroupItem } from '@patternfly/react-core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { call, type Request } from '../api/client';
import { queryClient, useHealth, useLimits, useLogLevel, useVersion } from '../api/queries';
import type { LogLevel } from '../api/types';
import { Facts, Panel } from '../parts/facts';
import { AsCodeButton } from '../parts/operation';
import { Screen } from '../parts/screen';
import { may, useMe } from '../parts/session';
import { Answered, ProblemAlert } from '../parts/states';
import { duration, When } from '../parts/time';
import { set, useSetting } from '../parts/settings';
import { toast } from '../parts/toasts';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
const MINUTES: [string, string][] = [
  ['15', 'for 15 minutes'],
  ['60', 'for an hour'],
  ['480', 'for 8 hours'],
  ['', 'until the next start'],
];

export function Settings() {
  return (
    <Screen title="Settings">
      <div className="occm-columns">
        <LogPanel />
        <Look />
        <Session />
        <About />
      </div>
    </Screen>
  );
}

function LogPanel() {
  const me = useMe();
  const query = useLogLevel();
  const [level, setLevel] = useState<string | undefined>();
  const [minutes, setMinutes] = useState('15');
  const wanted = level ?? query.data?.level ?? 'info';
  const request: Request = { method: 'PUT', path: '/log-level', version: '*', body: { level: wanted, ...(minutes ? { minutes: Number(minutes) } : {}) } };
  const change = useMutation({
    mutationFn: () => call<LogLevel | undefined>(request),
    onSuccess: () => {
      toast(`Log level ${wanted}`);
      setLevel(undefined);
      void queryClient.invalidateQueries({ queryKey: ['log-level'] });
    },
  });
  const mayChange = may(me, 'Admin');
  return (
    <Panel title="Log level" actions={<AsCodeButton title="Log level" yaml={[{ see: 'the setting RUST_LOG of occm serve' }]} requests={[{ method: 'GET', path: '/log-level' }, request]} />}>
      <Answered query={query} what="the log level" rows={2}>
        {(now) => (
          <div className="occm-stack">
            <Facts
              facts={[
                ['Level', now.level],
                ['Holds for', `the replica ${now.replica}`],
                ['Until', now.until && <When key="until" time={now.until} />],
              ]}
            />
            {mayChange ? (
              <Form
                isHorizontal
                onSubmit={(event) => {
                  event.preventDefault();
                  change.mutate();
                }}
              >
                <FormGroup label="New level" fieldId="level">
                  <FormSelect id="level" value={wanted} onChange={(_, value) => setLevel(value)}>
                    {[...new Set([...LEVELS, now.level])].map((each) => (
                      <FormSelectOption key={each} value={each} label={each} />
                    ))}
                  </FormSelect>
                </FormGroup>
                <FormGroup label="How long" fieldId="minutes">
                  <FormSelect id="minutes" value={minutes} onChange={(_, value) => setMinutes(value)}>
                    {MINUTES.map(([value, label]) => (
                      <FormSelectOption key={value} value={value} label={label} />
                    ))}
                  </FormSelect>
                </FormGroup>
                <ProblemAlert error={change.error} title="Not changed" />
                <div>
                  <Button type="submit" variant="secondary" isLoading={change.isPending} isDisabled={change.isPending}>
                    Set level
                  </Button>
                </div>
              </Form>
            ) : (
              <p className="occm-muted">Changing it needs the role Admin.</p>
            )}
          </div>
        )}
      </Answered>
    </Panel>
  );
}

function Look() {
  const theme = useSetting('theme');
  const zone = useSetting('zone');
  return (
    <Panel title="This browser">
      <Facts
        facts={[
          [
            'Theme',
            <ToggleGroup key="theme" aria-label="Theme">
              {['system', 'light', 'dark'].map((each) => (
                <ToggleGroupItem key={each} text={each.charAt(0).toUpperCase() + each.slice(1)} isSelected={theme === each} onChange={() => set('theme', each)} />
              ))}
            </ToggleGroup>,
          ],
          [
            'Times',
            <ToggleGroup key="zone" aria-label="Times">
              <ToggleGroupItem text="UTC" isSelected={zone === 'utc'} onChange={() => set('zone', 'utc')} />
              <ToggleGroupItem text="Local" isSelected={zone === 'local'} onChange={() => set('zone', 'local')} />
            </ToggleGroup>,
          ],
        ]}
      />
    </Panel>
  );
}

const KINDS: Record<string, string> = { Bearer: 'token', Oidc: 'single sign-on', Local: 'local user' };

function Session() {
  const me = useMe();
  const roles = Object.entries(me.roles).map(([namespace, role]) => `${namespace}: ${role}`);
  return (
    <Panel title="Session">
      <Facts
        facts={[
          ['User', me.user],
          ['Logged in by', KINDS[me.kind] ?? me.kind],
          ['Ends', <When key="ends" time={me.expires} />],
          ['Ends when idle for', me.idleTimeoutSeconds && duration(me.idleTimeoutSeconds * 1000)],
          ['Roles', roles.slice(0, 20).join(', ') + (roles.length > 20 ? ` and ${roles.length - 20} more` : '')],
        ]}
      />
    </Panel>
  );
}

function About() {
  const version = useVersion();
  const health = useHealth();
  const limits = useLimits();
  return (
    <Panel title="Server">
      <Facts
        facts={[
          ['Version', version.data?.version],
          ['Features', version.data?.features.join(', ')],
          ['Objects', version.data?.apiVersion],
          ['Store', health.data?.store],
          ['Leader', health.data?.holder],
          ['API', <a key="api" href="/api/v1/openapi.json">openapi.json</a>],
          ...Object.entries(limits.data ?? {}).map(([name, value]): [string, string] => [words(name), typeof value === 'number' ? value.toLocaleString('en') : String(value)]),
        ]}
      />
    </Panel>
  );
}

/** `maxBodyBytes` as `Max body bytes`. */
function words(name: string): string {
  const text = name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
