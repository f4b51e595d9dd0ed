/** Log in by what the server offers: single sign-on, user and password, token. */

import { ActionGroup, Alert, Button, Divider, Form, FormGroup, Tab, Tabs, TabTitleText, TextInput, Title } from '@patternfly/react-core';
import { useEffect, useRef, useState, type FormEvent } from 'react';
import { BASE, call } from '../api/client';
import { queryClient } from '../api/queries';
import type { Session } from '../api/types';
import { ProblemAlert } from '../parts/states';

export function Login({ session }: { session: Session }) {
  const { login, banner } = session;
  const [way, setWay] = useState<string | number>(login.local ? 'local' : 'token');
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    document.title = 'Log in · occm';
  }, []);
  const logIn = async (body: Record<string, unknown>) => {
    setBusy(true);
    setError(undefined);
    try {
      await call({ method: 'POST', path: '/session', body });
      queryClient.removeQueries({ predicate: (query) => query.queryKey[0] !== 'session' });
      await queryClient.invalidateQueries({ queryKey: ['session'] });
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    void logIn(Object.fromEntries(new FormData(event.currentTarget)));
  };
  const asked = useRef(false);
  useEffect(() => {
    const token = printedLogin();
    if (!token || asked.current) return;
    asked.current = true;
    void logIn({ token });
  });
  const both = login.local && login.token;
  const form = (
    <Form onSubmit={submit} key={way}>
      {way === 'local' && login.local ? <LocalFields /> : <TokenField />}
      <ActionGroup>
        <Button type="submit" isBlock isLoading={busy} isDisabled={busy}>
          Log in
        </Button>
      </ActionGroup>
    </Form>
  );
  return (
    <main className="occm-login">
      <div className="occm-login__box">
        <div className="occm-brand occm-brand--large">
          <img src="/occm.svg" alt="" width="40" height="40" />
          <span>occm</span>
        </div>
        <Title headingLevel="h1" size="xl">
          Log in
        </Title>
        {banner && (
          <Alert variant="info" isInline isPlain title="Notice">
            <p className="occm-banner">{banner}</p>
          </Alert>
        )}
        {login.oidc && (
          <Button variant={login.local || login.token ? 'secondary' : 'primary'} isBlock component="a" href={`${BASE}/oidc/login?return=${encodeURIComponent(location.pathname + location.search)}`}>
            Log in with {login.oidcName ?? 'single sign-on'}
          </Button>
        )}
        {login.oidc && (login.local || login.token) && <Divider />}
        <ProblemAlert error={error} title="Not logged in" />
        {both ? (
          <Tabs activeKey={way} onSelect={(_, key) => setWay(key)} aria-label="Ways to log in" isFilled>
            <Tab eventKey="local" title={<TabTitleText>User and password</TabTitleText>}>
              {way === 'local' && form}
            </Tab>
            <Tab eventKey="token" title={<TabTitleText>Token</TabTitleText>}>
              {way === 'token' && form}
            </Tab>
          </Tabs>
        ) : (
          (login.local || login.token) && form
        )}
      </div>
    </main>
  );
}

/** The token of a printed login, `/login#token=...`: taken out of the address, so that it stays nowhere. */
function printedLogin(): string | undefined {
  if (location.pathname !== '/login') return undefined;
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
  if (token) history.replaceState(null, '', '/login');
  return token;
}

function LocalFields() {
  return (
    <>
      <FormGroup label="User" fieldId="user" isRequired>
        <TextInput id="user" name="user" autoComplete="username" isRequired autoFocus />
      </FormGroup>
      <FormGroup label="Password" fieldId="password" isRequired>
        <TextInput id="password" name="password" type="password" autoComplete="current-password" isRequired />
      </FormGroup>
    </>
  );
}

function TokenField() {
  return (
    <FormGroup label="Token" fieldId="token" isRequired>
      <TextInput id="token" name="token" type="password" autoComplete="off" isRequired autoFocus />
    </FormGroup>
  );
}
