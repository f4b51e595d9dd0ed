/** The frame of a screen: where one is, its title, what can be done, and its content. */

import { Breadcrumb, BreadcrumbItem, Content, PageSection, Title } from '@patternfly/react-core';
import { useEffect, type ReactNode } from 'react';
import { Link } from 'react-router';

type Props = {
  title: string;
  /** Beside the title, for example labels. */
  beside?: ReactNode;
  about?: ReactNode;
  actions?: ReactNode;
  trail?: { title: string; to: string }[];
  /** The content fills the window and scrolls by itself. */
  filled?: boolean;
  children: ReactNode;
};

export function Screen({ title, beside, about, actions, trail, filled, children }: Props) {
  useEffect(() => {
    document.title = `${title} · occm`;
  }, [title]);
  return (
    <div className={filled ? 'occm-screen occm-screen--filled' : 'occm-screen'}>
      <PageSection className="occm-head" hasBodyWrapper={false}>
        {trail && (
          <Breadcrumb>
            {trail.map(({ title: name, to }) => (
              <BreadcrumbItem key={to} render={({ className }) => <Link className={className ?? ''} to={to}>{name}</Link>} />
            ))}
            <BreadcrumbItem isActive>{title}</BreadcrumbItem>
          </Breadcrumb>
        )}
        <div className="occm-headline">
          <div className="occm-headline__title">
            <Title headingLevel="h1" size="xl" className="occm-title">
              {title}
            </Title>
            {beside}
          </div>
          {actions && <div className="occm-headline__actions">{actions}</div>}
        </div>
        {about && <Content component="p" className="occm-about">{about}</Content>}
      </PageSection>
      <PageSection className="occm-body" hasBodyWrapper={false} isFilled>
        {children}
      </PageSection>
    </div>
  );
}
