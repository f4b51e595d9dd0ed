/** What stands where nothing can stand yet: loading, empty, refused, broken. */

import { Alert, Bullseye, Button, EmptyState, EmptyStateActions, EmptyStateBody, EmptyStateFooter, List, ListItem, Skeleton } from '@patternfly/react-core';
import LockIcon from '@patternfly/react-icons/dist/esm/icons/lock-icon';
import SearchIcon from '@patternfly/react-icons/dist/esm/icons/search-icon';
import type { ComponentType, ReactNode } from 'react';
import { ApiError } from '../api/client';
import type { FieldProblem } from '../api/types';

/** Grey bars of the size of what comes, so that nothing jumps when it comes. */
export function Loading({ rows = 6, what = 'Loading' }: { rows?: number; what?: string }) {
  return (
    <div role="status" aria-label={what} className="occm-loading">
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height="1.5rem" screenreaderText={row === 0 ? what : ''} />
      ))}
    </div>
  );
}

type EmptyProps = { title: string; children?: ReactNode; icon?: ComponentType; actions?: ReactNode };

export function Empty({ title, children, icon = SearchIcon, actions }: EmptyProps) {
  return (
    <Bullseye className="occm-empty">
      <EmptyState titleText={title} headingLevel="h2" icon={icon} variant="sm">
        {children && <EmptyStateBody>{children}</EmptyStateBody>}
        {actions && (
          <EmptyStateFooter>
            <EmptyStateActions>{actions}</EmptyStateActions>
          </EmptyStateFooter>
        )}
      </EmptyState>
    </Bullseye>
  );
}

export function NoPermission({ what }: { what: string }) {
  return (
    <Empty title="No permission" icon={LockIcon}>
      You may not see {what}. A role in the namespace gives that right; whoever runs this cluster or host can grant it.
    </Empty>
  );
}

/** A failed answer: what is wrong, where, what is allowed, and the id under which the logs have it. */
export function ProblemAlert({ error, title, onRetry }: { error: unknown; title?: string; onRetry?: () => void }) {
  if (!error) return null;
  const problem = error instanceof ApiError ? error.problem : undefined;
  const text = problem?.detail ?? (error instanceof Error ? error.message : String(error));
  return (
    <Alert
      variant="danger"
      isInline
      title={title ?? (problem ? headline(problem.status, problem.title) : 'Something went wrong')}
      actionLinks={
        onRetry && (
          <Button variant="link" isInline onClick={onRetry}>
            Try again
          </Button>
        )
      }
    >
      <p>{text}</p>
      <FieldProblems errors={problem?.errors ?? []} />
      {problem?.requestId && <p className="occm-muted">Request {problem.requestId}</p>}
    </Alert>
  );
}

export function FieldProblems({ errors }: { errors: FieldProblem[] }) {
  if (errors.length === 0) return null;
  return (
    <List isPlain>
      {errors.map((error) => (
        <ListItem key={`${error.field} ${error.problem}`}>
          <code>{error.field}</code>: {error.problem}
          {error.allowed && <span className="occm-muted"> Allowed: {error.allowed}</span>}
        </ListItem>
      ))}
    </List>
  );
}

function headline(status: number, title: string): string {
  switch (status) {
    case 0:
      return 'No answer from the server';
    case 403:
      return 'No permission';
    case 404:
      return 'Not found';
    case 409:
      return 'It exists already, or was changed at the same time';
    case 412:
      return 'It was changed since you read it';
    case 429:
      return 'Too many requests';
    default:
      return title;
  }
}

type Answer<Data> = { data: Data | undefined; error: unknown; isPending: boolean; refetch: () => unknown };

/** The states that every screen has; the children are drawn when there is data. */
export function Answered<Data>(props: {
  query: Answer<Data>;
  what: string;
  rows?: number;
  children: (data: Data) => ReactNode;
}) {
  const { query, what, rows, children } = props;
  if (query.data !== undefined) {
    return (
      <>
        {query.error ? <ProblemAlert error={query.error} title={`Cannot read ${what} again; this is what was last read`} /> : null}
        {children(query.data)}
      </>
    );
  }
  if (query.isPending) return <Loading rows={rows ?? 6} what={`Loading ${what}`} />;
  if (query.error instanceof ApiError && query.error.status === 403) return <NoPermission what={what} />;
  return <ProblemAlert error={query.error} onRetry={() => void query.refetch()} />;
}
