import { useEffect, useSyncExternalStore, type AnchorHTMLAttributes, type MouseEvent } from 'react';

/** The path of the page, kept in the browser's history. */

const listeners = new Set<() => void>();
/** Asks whether a page with unsaved changes may be left; set by that page. */
let guard: ((go: () => void) => void) | null = null;
let here = window.location.pathname;

function changed(): void {
  here = window.location.pathname;
  listeners.forEach((listener) => listener());
}

export function go(path: string, replace = false): void {
  const move = () => {
    if (replace) window.history.replaceState(null, '', path);
    else window.history.pushState(null, '', path);
    changed();
  };
  if (guard && path !== here) guard(move);
  else move();
}

window.addEventListener('popstate', () => {
  if (!guard) {
    changed();
    return;
  }
  // Stay until the guard lets go: the browser has moved already.
  const wanted = window.location.pathname + window.location.search;
  window.history.pushState(null, '', here);
  guard(() => {
    window.history.pushState(null, '', wanted);
    changed();
  });
});

export function usePath(): string {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, () => here);
}

/** While `ask` is there, leaving the page asks first; closing the tab makes the browser ask. */
export function useGuard(ask: ((go: () => void) => void) | null): void {
  useEffect(() => {
    if (!ask) return undefined;
    const unload = (event: BeforeUnloadEvent) => event.preventDefault();
    guard = ask;
    window.addEventListener('beforeunload', unload);
    return () => {
      guard = null;
      window.removeEventListener('beforeunload', unload);
    };
  }, [ask]);
}

/** A link within the console. */
export function Link({ href, onClick, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey)
      return;
    event.preventDefault();
    go(href);
  };
  return <a href={href} onClick={follow} {...rest} />;
}
