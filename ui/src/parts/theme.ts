/** Light, dark, or as the system has it. PatternFly's dark values hang on a class of <html>. */

export type Theme = 'auto' | 'light' | 'dark';

const key = 'postern.theme';
const system = window.matchMedia('(prefers-color-scheme: dark)');

export function chosenTheme(): Theme {
  const kept = localStorage.getItem(key);
  return kept === 'light' || kept === 'dark' ? kept : 'auto';
}

function apply(): void {
  const theme = chosenTheme();
  const dark = theme === 'dark' || (theme === 'auto' && system.matches);
  document.documentElement.classList.toggle('pf-v6-theme-dark', dark);
  document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
}

export function chooseTheme(theme: Theme): void {
  localStorage.setItem(key, theme);
  apply();
}

export function followTheme(): void {
  system.addEventListener('change', apply);
  apply();
}
