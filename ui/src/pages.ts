import { lazy, type ComponentType, type LazyExoticComponent } from 'react';
import list from '../pages.json';

/**
 * The pages. Their paths, titles and groups stand in ui/pages.json, from which the build also tells
 * the console which paths there are; each is a module of its own, loaded when it is gone to.
 */
const modules: Record<string, () => Promise<{ default: ComponentType }>> = {
  overview: () => import('./pages/overview'),
  connections: () => import('./pages/connections'),
  live: () => import('./pages/live'),
  queue: () => import('./pages/queue'),
  history: () => import('./pages/history'),
  administrators: () => import('./pages/administrators'),
  audit: () => import('./pages/audit'),
};

export interface PageEntry {
  id: string;
  path: string;
  title: string;
  group?: string;
  component: LazyExoticComponent<ComponentType>;
}

export const pages: PageEntry[] = (list as Omit<PageEntry, 'component'>[]).map((page) => {
  const load = modules[page.id];
  if (!load) throw new Error(`no module for the page ${page.id}`);
  return { ...page, component: lazy(load) };
});
