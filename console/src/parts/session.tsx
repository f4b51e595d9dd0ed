/** Who is logged in and what they may do. */

import { createContext, useContext } from 'react';
import type { Role, Session } from '../api/types';

export const SessionContext = createContext<Session | undefined>(undefined);

export function useMe(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('no session here');
  return session;
}

const ORDER: Role[] = ['View', 'Edit', 'Admin'];

/** Whether the role in that namespace, or in any, is enough. */
export function may(session: Session, role: Role, namespace?: string): boolean {
  const enough = (has: Role | undefined) => has !== undefined && ORDER.indexOf(has) >= ORDER.indexOf(role);
  const roles = session.roles;
  if (namespace === undefined) return Object.values(roles).some(enough);
  return enough(roles[namespace] ?? roles['*']);
}

/** Namespaces where the role is enough, sorted. */
export function namespacesFor(session: Session, role: Role): string[] {
  return session.namespaces.filter((namespace) => may(session, role, namespace)).sort();
}
