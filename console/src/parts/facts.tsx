/** Names and values of one thing, in a grid that fills the width. */

import { Card, CardBody, CardTitle, DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm } from '@patternfly/react-core';
import type { ReactNode } from 'react';

export type Fact = [term: string, value: ReactNode];

/** Facts without a value are left out. */
export function Facts({ facts, wide }: { facts: Fact[]; wide?: boolean }) {
  const shown = facts.filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false);
  return (
    <DescriptionList isCompact isHorizontal horizontalTermWidthModifier={{ default: '16ch' }} columnModifier={wide ? { xl: '2Col' } : {}}>
      {shown.map(([term, value]) => (
        <DescriptionListGroup key={term}>
          <DescriptionListTerm>{term}</DescriptionListTerm>
          <DescriptionListDescription>{value}</DescriptionListDescription>
        </DescriptionListGroup>
      ))}
    </DescriptionList>
  );
}

export function Panel({ title, children, className, actions }: { title: string; children: ReactNode; className?: string; actions?: ReactNode }) {
  return (
    <Card isCompact className={`occm-panel ${className ?? ''}`} component="section">
      <CardTitle component="h2">
        <span className="occm-panel__title">
          <span>{title}</span>
          {actions}
        </span>
      </CardTitle>
      <CardBody>{children}</CardBody>
    </Card>
  );
}

/** Texts one below the other, in the letters of code. */
export function Lines({ lines }: { lines: string[] | undefined }) {
  if (!lines?.length) return null;
  return (
    <ul className="occm-lines">
      {lines.map((line) => (
        <li key={line}>
          <code>{line}</code>
        </li>
      ))}
    </ul>
  );
}
