/** Masthead, navigation and what is the same on every screen. */

import {
  Button,
  Divider,
  Dropdown,
  DropdownGroup,
  DropdownItem,
  DropdownList,
  Masthead,
  MastheadBrand,
  MastheadContent,
  MastheadMain,
  MastheadToggle,
  MenuToggle,
  Nav,
  NavGroup,
  NavItem,
  NavList,
  Page,
  PageSidebar,
  PageSidebarBody,
  PageToggleButton,
  SkipToContent,
  Toolbar,
  ToolbarContent,
  ToolbarGroup,
  ToolbarItem,
} from '@patternfly/react-core';
import BarsIcon from '@patternfly/react-icons/dist/esm/icons/bars-icon';
import QuestionCircleIcon from '@patternfly/react-icons/dist/esm/icons/question-circle-icon';
import UserIcon from '@patternfly/react-icons/dist/esm/icons/user-icon';
import { useRef, useState } from 'react';
import { Link, Outlet, useLocation, useNavigate } from 'react-router';
import { call } from './api/client';
import { useLive } from './api/live';
import { queryClient, useHealth, useVersion } from './api/queries';
import { Help } from './help';
import { SEARCH_ID, useKeys } from './parts/keys';
import { may, useMe } from './parts/session';
import { set, useSetting } from './parts/settings';
import { zoneName } from './parts/time';
import { toast, Toasts } from './parts/toasts';

const NAVIGATION = [
  { title: '', items: [['/', 'Overview']] },
  {
    title: 'Certificates',
    items: [
      ['/certificates', 'Certificates'],
      ['/calendar', 'Expiry calendar'],
      ['/secrets', 'Secrets'],
      ['/migration', 'Migration'],
    ],
  },
  {
    title: 'Authorities',
    items: [
      ['/issuers', 'Issuers'],
      ['/identities', 'CMP identities'],
      ['/chains', 'CA certificates'],
    ],
  },
  {
    title: 'Operation',
    items: [
      ['/activity', 'Activity'],
      ['/settings', 'Settings'],
    ],
  },
] as const;

/** `g` and then one of these. */
const GO: Record<string, string> = { o: '/', c: '/certificates', i: '/issuers', s: '/secrets', a: '/activity', e: '/calendar' };
const GO_WITHIN_MS = 1500;

export function Shell() {
  const [help, setHelp] = useState(false);
  const navigate = useNavigate();
  const goAt = useRef(0);
  const letters = Object.fromEntries(
    Object.keys(GO).map((key) => [
      key,
      () => {
        const path = GO[key];
        if (path && Date.now() - goAt.current < GO_WITHIN_MS) void navigate(path);
        goAt.current = 0;
      },
    ]),
  );
  useKeys({
    '?': () => setHelp(true),
    '/': () => document.getElementById(SEARCH_ID)?.focus(),
    g: () => {
      goAt.current = Date.now();
    },
    ...letters,
  });
  return (
    <Page
      masthead={<Top onHelp={() => setHelp(true)} />}
      sidebar={<Side />}
      isManagedSidebar
      isContentFilled
      mainContainerId="main"
      mainAriaLabel="Content"
      skipToContent={<SkipToContent href="#main">Skip to content</SkipToContent>}
    >
      <Outlet />
      <Toasts />
      {help && <Help onClose={() => setHelp(false)} />}
    </Page>
  );
}

function Side() {
  const { pathname } = useLocation();
  const me = useMe();
  const isActive = (path: string) => (path === '/' ? pathname === '/' : pathname.startsWith(path));
  const groups = NAVIGATION.map((group) => ({
    ...group,
    items: group.items.filter(([path]) => path !== '/migration' || may(me, 'Edit')),
  }));
  return (
    <PageSidebar>
      <PageSidebarBody>
        <Nav aria-label="Screens">
          {groups.map(({ title, items }) => {
            const links = items.map(([path, name]) => (
              <NavItem key={path} itemId={path} isActive={isActive(path)}>
                <Link to={path}>{name}</Link>
              </NavItem>
            ));
            return title ? (
              <NavGroup key={title} title={title}>
                {links}
              </NavGroup>
            ) : (
              <NavList key="top">{links}</NavList>
            );
          })}
        </Nav>
      </PageSidebarBody>
    </PageSidebar>
  );
}

function Top({ onHelp }: { onHelp: () => void }) {
  return (
    <Masthead>
      <MastheadMain>
        <MastheadToggle>
          <PageToggleButton variant="plain" aria-label="Navigation">
            <BarsIcon />
          </PageToggleButton>
        </MastheadToggle>
        <MastheadBrand>
          <Link to="/" className="occm-brand" aria-label="occm, overview">
            <img src="/occm.svg" alt="" width="28" height="28" />
            <span>occm</span>
          </Link>
        </MastheadBrand>
      </MastheadMain>
      <MastheadContent>
        <Toolbar isFullHeight>
          <ToolbarContent>
            <ToolbarGroup align={{ default: 'alignEnd' }} gap={{ default: 'gapSm' }}>
              <ToolbarItem alignSelf="center">
                <LiveSign />
              </ToolbarItem>
              <ToolbarItem>
                <Button variant="plain" aria-label="Help and keys" title="Help and keys (?)" icon={<QuestionCircleIcon />} onClick={onHelp} />
              </ToolbarItem>
              <ToolbarItem>
                <UserMenu />
              </ToolbarItem>
            </ToolbarGroup>
          </ToolbarContent>
        </Toolbar>
      </MastheadContent>
    </Masthead>
  );
}

/** Whether what is on the screen is up to date. */
function LiveSign() {
  const live = useLive();
  const health = useHealth();
  const down = live !== 'live' || health.isError;
  const words = down ? 'Connecting…' : health.data?.status === 'degraded' ? 'Degraded' : 'Live';
  const kind = down ? 'off' : health.data?.status === 'degraded' ? 'warn' : 'on';
  const title = down
    ? 'The stream of changes is interrupted; it is being opened again'
    : `Changes appear by themselves. Leader: ${health.data?.holder ?? 'unknown'}`;
  return (
    <span className={`occm-live occm-live--${kind}`} role="status" title={title}>
      <span className="occm-live__dot" aria-hidden="true" /> {words}
    </span>
  );
}

function UserMenu() {
  const me = useMe();
  const [open, setOpen] = useState(false);
  const theme = useSetting('theme');
  const zone = useSetting('zone');
  const version = useVersion();
  const logOut = async () => {
    try {
      await call({ method: 'DELETE', path: '/session' });
    } catch (error) {
      toast(`Not logged out: ${error instanceof Error ? error.message : String(error)}`, 'danger');
      return;
    }
    queryClient.clear();
    location.assign('/');
  };
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      popperProps={{ position: 'right' }}
      toggle={(ref) => (
        <MenuToggle ref={ref} variant="plainText" isExpanded={open} onClick={() => setOpen(!open)} icon={<UserIcon />}>
          {me.user}
        </MenuToggle>
      )}
    >
      <DropdownGroup label="Theme">
        <DropdownList>
          {['system', 'light', 'dark'].map((each) => (
            <DropdownItem key={each} isSelected={theme === each} onClick={() => set('theme', each)}>
              {each.charAt(0).toUpperCase() + each.slice(1)}
            </DropdownItem>
          ))}
        </DropdownList>
      </DropdownGroup>
      <DropdownGroup label="Times">
        <DropdownList>
          <DropdownItem isSelected={zone === 'utc'} onClick={() => set('zone', 'utc')}>
            UTC
          </DropdownItem>
          <DropdownItem isSelected={zone === 'local'} onClick={() => set('zone', 'local')}>
            Local{zone === 'local' ? ` (${zoneName()})` : ''}
          </DropdownItem>
        </DropdownList>
      </DropdownGroup>
      <Divider />
      <DropdownList>
        <DropdownItem isDisabled>occm {version.data?.version ?? ''}</DropdownItem>
        <DropdownItem onClick={() => void logOut()}>Log out</DropdownItem>
      </DropdownList>
    </Dropdown>
  );
}
