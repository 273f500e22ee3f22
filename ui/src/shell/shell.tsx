import { Suspense, useCallback, useEffect, useState } from 'react';
import { Button } from 'pf/Button';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { Masthead, MastheadBrand, MastheadContent, MastheadLogo, MastheadMain, MastheadToggle } from 'pf/Masthead';
import { Nav, NavGroup, NavItem, NavList } from 'pf/Nav';
import { Page, PageSection, PageSidebar, PageSidebarBody, PageToggleButton } from 'pf/Page';
import { SkipToContent } from 'pf/SkipToContent';
import type { Status } from '../api/types';
import { pages, type PageEntry } from '../pages';
import { Boundary } from '../parts/boundary';
import { useQuery } from '../parts/query';
import { Link, usePath } from '../parts/router';
import { Loading } from '../parts/states';
import { Account } from './account';
import { Mark } from './mark';
import { PendingChange, usePendingChanged } from './pending';

const STATUS_MS = 5000;
const MAIN = 'main';

/** Pages that stand one after the other in the same group are one group of the navigation. */
function grouped(): { title?: string; pages: PageEntry[] }[] {
  const groups: { title?: string; pages: PageEntry[] }[] = [];
  for (const page of pages) {
    const last = groups.at(-1);
    if (last && last.title === page.group) last.pages.push(page);
    else groups.push({ title: page.group, pages: [page] });
  }
  return groups;
}

function Navigation({ path, onSelect }: { path: string; onSelect: () => void }) {
  const item = (page: PageEntry) => (
    <NavItem key={page.id} itemId={page.id} isActive={page.path === path}>
      <Link href={page.path} onClick={onSelect} aria-current={page.path === path ? 'page' : undefined}>{page.title}</Link>
    </NavItem>
  );
  return (
    <Nav aria-label="Pages">
      {grouped().map((group) => group.title
        ? <NavGroup key={group.title} title={group.title}>{group.pages.map(item)}</NavGroup>
        : <NavList key={group.pages[0]?.id}>{group.pages.map(item)}</NavList>)}
    </Nav>
  );
}

const words = { green: 'All is well', yellow: 'Needs attention', red: 'Something is wrong' };

function Health({ status, lost }: { status: Status | undefined; lost: boolean }) {
  const health = lost || !status ? 'red' : status.health;
  if (!status && !lost) return null;
  return (
    <Link href="/overview" className={`pt-health pt-health--${health}`}>
      <span className="pt-health__dot" aria-hidden="true" />
      <span className="pt-health__text">{lost ? 'The gateway does not answer' : words[health]}</span>
    </Link>
  );
}

export function Shell({ onLeave }: { onLeave: () => void }) {
  const path = usePath();
  const page = pages.find((one) => one.path === path);
  const status = useQuery<Status>('/status', STATUS_MS);
  const [open, setOpen] = useState(() => window.innerWidth >= 1200);
  const pending = status.data?.pending ?? null;
  const reload = useCallback(() => status.reload(), [status.reload]);

  usePendingChanged(reload);
  useEffect(() => { document.title = `${page?.title ?? 'Not found'} · Postern`; }, [page]);

  const masthead = (
    <Masthead>
      <MastheadMain>
        <MastheadToggle>
          <PageToggleButton isHamburgerButton aria-label="Navigation" isSidebarOpen={open} onSidebarToggle={() => setOpen(!open)} />
        </MastheadToggle>
        <MastheadBrand>
          <MastheadLogo component={(props: object) => <Link href="/connections" {...props} />} aria-label="Postern, start">
            <Mark /> <span className="pt-brand">Postern</span>
          </MastheadLogo>
        </MastheadBrand>
      </MastheadMain>
      <MastheadContent>
        <div className="pt-masthead">
          <span className="pt-host">{status.data?.hostname}</span>
          <span className="pt-masthead__end">
            <Health status={status.data} lost={!!status.error && status.error.status !== 401} />
            <Account onLeave={onLeave} />
          </span>
        </div>
      </MastheadContent>
    </Masthead>
  );
  const narrow = () => { if (window.innerWidth < 1200) setOpen(false); };
  return (
    <Page masthead={masthead} mainContainerId={MAIN} mainAriaLabel={page?.title}
      skipToContent={<SkipToContent href={`#${MAIN}`} onClick={(event) => { event.preventDefault(); document.getElementById(MAIN)?.focus(); }}>Skip to content</SkipToContent>}
      sidebar={<PageSidebar isSidebarOpen={open}><PageSidebarBody><Navigation path={path} onSelect={narrow} /></PageSidebarBody></PageSidebar>}
      banner={pending && <PendingChange key={pending.confirm_by} pending={pending} onEnded={reload} />}>
      <Boundary key={path}>
        <Suspense fallback={<Loading what={page?.title ?? 'the page'} />}>
          {page ? <page.component /> : <NotFound />}
        </Suspense>
      </Boundary>
    </Page>
  );
}

function NotFound() {
  return (
    <PageSection>
      <EmptyState titleText="There is no such page" headingLevel="h1">
        <EmptyStateBody><Button component={(props: object) => <Link href="/connections" {...props} />}>To the connections</Button></EmptyStateBody>
      </EmptyState>
    </PageSection>
  );
}
