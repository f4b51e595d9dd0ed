/** Which screen is shown: login, or the screen of the address. */

import { useEffect, useMemo } from 'react';
import { createBrowserRouter, Navigate, RouterProvider } from 'react-router';
import { setCsrfToken, setOnUnauthenticated } from './api/client';
import * as live from './api/live';
import { queryClient, useSession } from './api/queries';
import { Activity } from './screens/activity';
import { Broken } from './screens/broken';
import { Calendar } from './screens/calendar';
import { CertificateDetail } from './screens/certificate';
import { EditCertificate } from './screens/certificate-edit';
import { Certificates } from './screens/certificates';
import { Chains } from './screens/chains';
import { Identities } from './screens/identities';
import { IssuerDetail } from './screens/issuer';
import { EditIssuer } from './screens/issuer-edit';
import { Issuers } from './screens/issuers';
import { Login } from './screens/login';
import { Migration } from './screens/migration';
import { NotFound } from './screens/not-found';
import { OverviewScreen } from './screens/overview';
import { Secrets } from './screens/secrets';
import { Settings } from './screens/settings';
import { SessionContext } from './parts/session';
import { Answered } from './parts/states';
import { Shell } from './shell';

const routes = [
  {
    element: <Shell />,
    children: [
      {
        errorElement: <Broken />,
        children: [
          { path: '/', element: <OverviewScreen /> },
          { path: '/login', element: <Navigate to="/" replace /> },
          { path: '/certificates', element: <Certificates /> },
          { path: '/certificates/new', element: <EditCertificate /> },
          { path: '/certificates/:namespace/:name/edit', element: <EditCertificate /> },
          { path: '/certificates/:namespace/:name/:tab?', element: <CertificateDetail /> },
          { path: '/issuers', element: <Issuers /> },
          { path: '/issuers/new', element: <EditIssuer /> },
          { path: '/issuers/:namespace/:name/edit', element: <EditIssuer /> },
          { path: '/issuers/:namespace/:name/:tab?', element: <IssuerDetail /> },
          { path: '/identities', element: <Identities /> },
          { path: '/chains', element: <Chains /> },
          { path: '/secrets', element: <Secrets /> },
          { path: '/calendar', element: <Calendar /> },
          { path: '/activity', element: <Activity /> },
          { path: '/migration/:tab?', element: <Migration /> },
          { path: '/settings', element: <Settings /> },
          { path: '*', element: <NotFound /> },
        ],
      },
    ],
  },
];

export function App() {
  const session = useSession();
  const user = session.data && session.data.kind !== 'None' ? session.data : undefined;
  const router = useMemo(() => createBrowserRouter(routes), []);
  setCsrfToken(session.data?.csrfToken);
  useEffect(() => {
    setOnUnauthenticated(() => void queryClient.invalidateQueries({ queryKey: ['session'] }));
  }, []);
  const name = user?.user;
  useEffect(() => {
    if (name === undefined) return;
    live.start();
    return live.stop;
  }, [name]);
  return (
    <Answered query={session} what="the session" rows={1}>
      {(data) =>
        user ? (
          <SessionContext value={user}>
            <RouterProvider router={router} />
          </SessionContext>
        ) : (
          <Login session={data} />
        )
      }
    </Answered>
  );
}
